"""Ways through the core that only whole floods and long lives take, each by itself (`tools/dev.py coverage`)."""

import json

from controller import desk
from controller.event import Activate, Alarmed, Append, Changed, Notice, Progress
from controller.ledger import Ledger
from controller.wire import Evidence, Mode, Stage
from tests.controller.bench_orders import SIGNALS, Desk, name, of, said
from tests.controller.test_gateway import City


def flood(n: int = 1, sound: str = "air-raid", sirens: tuple[str, ...] = ("s-1", "elsewhere")) -> Alarmed:
    digest = SIGNALS.digest(sound) if sound in SIGNALS else "0" * 32
    return Alarmed(name(n), "spot-1", sirens, sound, digest, 20, "policy 1: Li, Wang", ("Li", "Wang"))


def test_a_flood_sounds_once_and_its_cap_is_the_policys() -> None:
    one = Desk()
    (append,) = of(Append, asked := one.do(flood()))
    assert (append.record.body["door"], append.record.body["rank"]) == ("rule", 2)
    assert said(asked) == [("", Stage.RECEIVED, "")]
    (activate,) = of(Activate, one.written(asked))
    assert (activate.siren, activate.mode, activate.limit_us) == ("s-1", Mode.LIVE, 20_000_000)
    assert one.do(flood()) == [], "its id is its flood's"


def test_a_flood_that_asks_for_what_is_not_here_is_told() -> None:
    for asks, reason in ((flood(sound="mozart"), "unknown-signal"), (flood(sirens=("elsewhere",)), "no-target")):
        assert Desk().do(asks) == [Notice("flood-siren-refused", "spot-1", reason, urgent=True)]


def test_what_a_technician_is_shown() -> None:
    assert desk._siren(None) == {"state": "UNKNOWN", "why": "not read yet"}
    assert desk._siren(Changed("s-1", "IDLE"))["state"] == "IDLE"
    gateway = City().station("gw-jinshui").gateway
    told = json.loads(desk.recording(7, gateway.config, gateway.clock, gateway.buses["line-1"]).payload)
    assert told["kind"] == "recording"
    proof = Evidence(phases=3, commanded=3)
    lines = [json.loads(desk.line(7, Progress("s-1", "o/s-1", "o", Stage.FINISHED, Mode.LIVE, evidence=e)).payload)
             for e in (proof, None)]
    assert [one.get("evidence", {}).get("phases") for one in lines] == [3, None]


def test_what_is_known_is_counted() -> None:
    assert len(Ledger()) == 0
