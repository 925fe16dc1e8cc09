"""The wall clock and how far the kernel believes it (shell).

`kernel`: the kernel's own figure, kept by chrony or systemd-timesyncd: disciplined or not, and the largest error.
`assumed`: the config says that the wall clock is right. For demos and tests; it shows in every status.
"""

import ctypes
import time
from typing import Literal

from controller.event import Clock, Trust

STA_UNSYNC = 0x0040
"""Kernel status bit: nobody disciplines the clock (linux/timex.h)."""
TRUSTED_ERROR_US = 2_500_000
"""Above it is no trusted time. The kernel adds 500 us a second to the largest error, ten times what a crystal drifts,
and systemd-timesyncd puts it to 0 each 2048 s: one answer may be ignored (docs/decisions/0014-trusted-time.md)."""


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), 64-bit."""

    _fields_ = [
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_long * 30),
    ]


def since_boot_us() -> int:
    """Time since the machine was booted, its sleep included: nobody sets it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def read(source: Literal["kernel", "assumed"]) -> Clock:
    """What the wall clock says now."""
    wall_us = time.time_ns() // 1000
    if source == "assumed":
        return Clock(wall_us, 0, Trust.ASSUMED)
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0 or timex.status & STA_UNSYNC or timex.maxerror > TRUSTED_ERROR_US:
        return Clock(wall_us, max(timex.maxerror, TRUSTED_ERROR_US), Trust.UNTRUSTED)
    return Clock(wall_us, timex.maxerror, Trust.TRUSTED)
