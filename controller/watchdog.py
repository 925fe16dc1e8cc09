"""What systemd is told: ready, alive, how it goes, stopping (shell).

sd_notify(3) is one datagram to the socket named in NOTIFY_SOCKET. `beat` comes from the gateway's own loop after its
machines have handled something, and only then is the watchdog kicked: a loop that hangs, or one whose machines raise,
is restarted by systemd. Without systemd every call is nothing.
"""

import os
import socket

ASK_S = 0.5
"""How long a notification may block; systemd's socket does not, unless systemd itself hangs."""


class Watchdog:
    """Talks to systemd. The socket and the interval come from the environment that systemd gives a service."""

    def __init__(self) -> None:
        place = os.environ.get("NOTIFY_SOCKET", "")
        # systemd names an abstract socket with an @ where the kernel wants a zero byte.
        self._place = "\0" + place[1:] if place.startswith("@") else place
        asked = os.environ.get("WATCHDOG_USEC", "")
        ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        # A third of systemd's patience: two kicks may be late.
        self.interval_us = int(asked) // 3 if asked.isdigit() and ours else None
        self._kicked_us: int | None = None

    def ready(self, status: str = "") -> bool:
        """Start-up is over: outputs are known, the doors are open."""
        return self._notify(f"READY=1\nSTATUS={_line(status)}")

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self._notify(f"STATUS={_line(text)}")

    def stopping(self) -> bool:
        return self._notify("STOPPING=1")

    def beat(self, now_us: int) -> bool:
        """The gateway is alive; systemd is told when it is time. True when it was."""
        if self.interval_us is None or (self._kicked_us is not None and now_us - self._kicked_us < self.interval_us):
            return False
        if self._notify("WATCHDOG=1"):
            self._kicked_us = now_us
            return True
        return False

    def _notify(self, text: str) -> bool:
        if not self._place:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
            door.settimeout(ASK_S)
            try:
                door.sendto(text.encode(), self._place)
            except OSError:
                return False
        return True


def _line(text: str) -> str:
    return " ".join(text.split())
