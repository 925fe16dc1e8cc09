"""What is kept of crashes: the event in hand, how often, and when they are too many. A process that dies is played by
one that is not told to end."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from controller.crash import CRASHES, FORGET_US, IN_HAND_LIMIT, STRIKES, STRIKES_KEPT, WINDOW_US, Crashes, described
from controller.event import Arrived, Ask, Clock, Poisonous, Trust
from controller.trust import peek
from firmware_bridge.event import Received
from firmware_bridge.machine import S
from tests.controller.bench_orders import live, name, stop

ORDER = Arrived("siren/1/g/gw-1/order", b"{}")
LOCAL_STOP = Ask(3, 1000, "li", "stop", {"siren": "all"})


class Door:
    """The files beside one door, over several processes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sirend.sock"
        self.now_us = 1000 * S

    def start(self, after_s: float = 10, version: str = "1") -> Crashes:
        self.now_us += round(after_s * S)
        return Crashes(self.path, version, self.now_us)

    def dies_on(self, event: object, after_s: float = 10) -> None:
        crashes = self.start(after_s)
        assert crashes.hold(event) is None
        crashes.died(RuntimeError("a bug of ours"))


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def test_an_event_on_which_two_processes_died_is_refused_and_kept(door: Door) -> None:
    for _ in range(STRIKES):
        door.dies_on(ORDER)
    crashes = door.start()
    refused = crashes.hold(ORDER)
    assert isinstance(refused, Poisonous)
    assert refused.subject == ORDER.topic
    (kept,) = door.path.parent.glob("*.event-*")
    assert kept.read_bytes() == described(ORDER)
    assert str(kept) in refused.why
    assert crashes.hold(Arrived(ORDER.topic, b"[]")) is None
    assert crashes.safe_min == ""


def test_what_was_handled_is_not_what_we_died_of(door: Door) -> None:
    for _ in range(CRASHES - 1):
        crashes = door.start()
        crashes.hold(ORDER)
        crashes.clear()
    assert door.start().hold(ORDER) is None
    assert list(door.path.parent.glob("*.event-*")) == []


def test_the_same_event_is_the_same_whoever_brings_it() -> None:
    one, other = (Ask(n, 1000, "li", "read", {"device": "d", "point": "p"}) for n in (3, 4))
    assert described(one) == described(other)
    assert described(Ask(3, 1000, "li", "read", {"point": "p", "device": "d"})) == described(one)
    assert described(Ask(3, 1000, "wang", "read", {"device": "d", "point": "p"})) != described(one)
    assert described(Received("line-1", b"\x01")) != described(Received("line-2", b"\x01"))
    assert described(Clock(0, 0, Trust.TRUSTED)) is None
    assert len(described(Arrived("t", bytes(10**6))) or b"") == IN_HAND_LIMIT


def test_the_refusal_says_which_order_it_seems_to_be(door: Door) -> None:
    data = live(7)
    order = Arrived("siren/1/o/41/order", data)
    assert peek(data).body.id == name(7)
    for _ in range(STRIKES):
        door.dies_on(order)
    refused = door.start().hold(order)
    assert refused is not None
    assert refused.order == name(7)
    for rubbish in (b"", b"[]", b'{"payload": 7}', b'{"payload": "!!"}', b"\xff" * 100, b"[" * 100_000):
        bad = Arrived("siren/1/o/41/order", rubbish)
        for _ in range(STRIKES):
            door.dies_on(bad, after_s=WINDOW_US / S)
        refused = door.start().hold(bad)
        assert refused is not None
        assert refused.order is None


def test_a_stop_is_refused_only_from_afar_and_where_all_is_off_already(door: Door) -> None:
    far = Arrived("siren/1/g/gw-1/stop", stop())
    for event in (far, LOCAL_STOP):
        for _ in range(STRIKES):
            door.dies_on(event, after_s=WINDOW_US / S)
    crashes = door.start(WINDOW_US / S)
    assert (crashes.safe_min, crashes.hold(far), crashes.hold(LOCAL_STOP)) == ("", None, None)
    door.start()
    crashes = door.start()
    assert crashes.safe_min
    assert crashes.hold(LOCAL_STOP) is None
    assert crashes.hold(far) is not None


def test_three_crashes_in_five_minutes_are_safe_min_until_it_is_left(door: Door) -> None:
    door.start()
    for _ in range(CRASHES - 1):
        assert door.start(60).safe_min == ""
    crashes = door.start(60)
    assert crashes.safe_min == "3 crashes in 300 s"
    crashes.ended()
    crashes = door.start(WINDOW_US / S)
    assert crashes.safe_min, "an ordered restart does not end it"
    crashes.forgive()
    crashes.ended()
    assert door.start().safe_min == ""


def test_crashes_that_are_far_apart_are_only_restarts(door: Door) -> None:
    for _ in range(10):
        assert door.start(WINDOW_US / S / 2).safe_min == ""


def test_who_ends_in_order_has_not_crashed(door: Door) -> None:
    for _ in range(10):
        crashes = door.start(1)
        assert crashes.safe_min == ""
        crashes.ended()


def test_what_the_last_process_said_is_told(door: Door) -> None:
    for _ in range(CRASHES):
        door.dies_on(LOCAL_STOP)
    assert door.start().safe_min == "3 crashes in 300 s; RuntimeError: a bug of ours"


def test_another_boot_or_version_begins_anew(door: Door) -> None:
    for event in (ORDER, ORDER, LOCAL_STOP):
        door.dies_on(event)
    assert door.start().safe_min
    assert door.start(version="2").safe_min == ""
    for event in (ORDER, ORDER, LOCAL_STOP):
        door.dies_on(event)
    door.now_us = 0
    crashes = door.start()
    assert (crashes.safe_min, crashes.hold(ORDER)) == ("", None)


def test_what_it_remembers_is_bounded_and_fades(door: Door) -> None:
    for n in range(STRIKES_KEPT + 10):
        door.dies_on(Arrived("t", b"%d" % n), after_s=WINDOW_US / S)
    door.start()
    assert len(list(door.path.parent.glob("*.event-*"))) == STRIKES_KEPT
    door.dies_on(Arrived("t", b"0"), after_s=WINDOW_US / S)
    assert door.start().hold(Arrived("t", b"0")) is not None
    assert door.start(FORGET_US / S).hold(Arrived("t", b"0")) is None


@pytest.mark.parametrize("wrong", [b"", b"\0" * 99, b"[]", b"{}", b'{"version": "1", "what": 1}',
                                   b'{"version": "1", "strikes": {"a": 3}}', b'{"version": "1", "ends_us": ["x"]}'])
def test_rubbish_in_the_file_begins_anew(door: Door, wrong: bytes) -> None:
    door.path.with_suffix(".crashes").write_bytes(wrong)
    crashes = door.start()
    assert (crashes.wrong, crashes.safe_min) == ("", "")
    assert json.loads(door.path.with_suffix(".crashes").read_text())["running"] is True


def test_where_no_file_can_be_it_says_so_and_goes_on(door: Door) -> None:
    door.path.with_suffix(".mark").mkdir()
    crashes = door.start()
    assert "not counted" in crashes.wrong
    assert crashes.hold(ORDER) is None
    crashes.clear()
    crashes.died(RuntimeError())
    crashes.ended()


FULL = """
import sys
from pathlib import Path
from controller.crash import IN_HAND_LIMIT, Crashes
from controller.event import Arrived
folder = Path(sys.argv[1])
crashes = Crashes(folder / "sirend.sock", "1", 10**9)
with (folder / "full").open("wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError:
        pass
assert not crashes.hold(Arrived("siren/1/g/gw-1/order", bytes(IN_HAND_LIMIT)))
left = Crashes(folder / "late.sock", "1", 10**9)
assert not left.hold(Arrived("siren/1/g/gw-1/order", bytes(IN_HAND_LIMIT)))
print(crashes.wrong, left.wrong, sep="|", end="")
"""


def test_a_folder_that_fills_up_ends_nobody(tmp_path: Path) -> None:
    """A mapped page that the folder has no room for is SIGBUS, and no error that could be caught."""
    unshare = shutil.which("unshare")
    mounted = f"mount -t tmpfs -o size=512k none {tmp_path}"
    if unshare is None or subprocess.run([unshare, "-m", "sh", "-c", mounted], capture_output=True).returncode:
        pytest.skip("nobody may mount a small folder here: a full one was not tried")
    child = ["sh", "-c", f'{mounted} && exec "$0" -c "$1" {tmp_path}', sys.executable, FULL]
    done = subprocess.run([unshare, "-m", *child], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "|crashes are not counted: [Errno 28] No space left on device"


def test_its_room_is_taken_when_it_begins(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    door.dies_on(ORDER)
    mark = door.path.with_suffix(".mark")
    assert mark.stat().st_blocks * 512 >= IN_HAND_LIMIT

    def refused(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refused)
    crashes = door.start()
    assert crashes.wrong == "crashes are not counted: [Errno 28] No space left on device"
    assert crashes.hold(ORDER) is None
    monkeypatch.undo()
    # What the process before had in hand is still there.
    assert door.start().hold(ORDER) is None
    assert (door.path.parent / "sirend.crashes").read_text().count('": [1,') == 1
