"""A device to give actions to: a board of relays, a head that is armed and told its tone, and what goes out."""

from firmware_bridge.event import Begin, Ended, Outcome, Table, Write
from tests.firmware_bridge.bench_device import Bench

C = Table.COIL

BOARD = """channels = 4
[line]
timeout_ms = 100
[points]
relay = { at = "coil:0", channels = 4, write = "level" }
hours = { at = "holding:50", write = "level", multiple = true, low = 0, high = 24 }
[points.pulse]
at = "pulse:0x200"
high = 60
channels = 4
scale = 0.1
write = "level"
readable = false
[actions]
activate = [{ set = "pulse", to = "$lease_s", edge = true }, { expect = "relay", is = true, within_ms = 500 }]
renew = [{ set = "pulse", to = "$lease_s" }]
cancel = [{ set = "relay", to = false, edge = true }, { expect = "relay", is = false, within_ms = 500 }]
set_hours = [{ set = "hours", to = "$seconds" }]
"""
HEAD = """[line]
timeout_ms = 100
[points]
arm = { at = "holding:3", write = "trigger", readable = false }
tone = { at = "holding:2", write = "trigger", readable = false }
volume = { at = "holding:4", write = "level" }
active = { at = "coil:0" }
latch = { at = "coil:1", evidence = "latched" }
[actions]
activate = [
    { set = "volume", to = 30 },
    { wait_ms = 200 },
    { set = "tone", to = "$tone", edge = true },
    { expect = "active", is = true, within_ms = 1000 },
    { set = "volume", to = 10 },
]
blind = [{ set = "tone", to = "$tone", edge = true }]
latched = [{ set = "tone", to = "$tone", edge = true }, { expect = "latch", is = true, within_ms = 500 }]
armed = [
    { set = "arm", to = "$tone" },
    { set = "tone", to = "$tone", edge = true },
    { expect = "active", is = true, within_ms = 500 },
]
loud = [{ set = "volume", to = 30, edge = true }]
look = [{ expect = "active", is = true, within_ms = 1050 }]
"""


def begin(bench: Bench, action: str, token: int = 1, channel: int | None = None, **more: object) -> None:
    args = more.pop("args", {"tone": 4})
    bench.tell(Begin("dev", action, token, channel, args, **more))  # type: ignore[arg-type]


def on_write(bench: Bench, *outcomes: Outcome | None) -> None:
    """What becomes of the first writes; reads and later writes are served."""
    left = list(outcomes)
    bench.fault = lambda t: left.pop(0) if isinstance(t.request, Write) and left else None


def requests(bench: Bench) -> list[object]:
    return [t.request for _, t in bench.wire]


def end(bench: Bench) -> Ended:
    (one,) = bench.all(Ended)
    return one
