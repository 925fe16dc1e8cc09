"""Class A from end to end: a board that drops its relays by itself, once it was told to, and that is told again."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.office import prepared
from controller import admission, config, wire
from controller.wire import Action, Event, Mode, OrderBody, Receipt, Sound, Stage, State
from firmware_bridge.device import SETUP_US, Device
from firmware_bridge.errors import BadDocument
from firmware_bridge.event import Begin, Ended, Finished, LinkDown, LinkUp, Reply, Submit, Table, Write
from firmware_bridge.machine import MS, S, Woken, earliest
from firmware_bridge.profile import OutputClass, load, load_all
from firmware_bridge.reading import Quality
from hub import keys
from simulators import site
from simulators.device import SimDevice
from simulators.field import SetPoint
from simulators.output import Cause
from simulators.world import World

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "profiles"
DEMO = ROOT / "configs" / "demo"
TRUST = admission.load(DEMO / "trust.json", None, "demo")
BOARDS = {id: p for id, p in load_all(FOLDER).items() if p.output and p.output.class_ is OutputClass.A}
every_board = pytest.mark.parametrize("board", BOARDS)
KEEP = Write(Table.HOLDING, 938, (0,))
NEVER = Write(Table.HOLDING, 8, (0,))
TIMER_READ, TIME_OUT_READ = bytes.fromhex("0300080001"), bytes.fromhex("0303aa0006")

LINE = '[[{kind}]]\nid = "{id}"\n{line} = "line-1"\nunit = {unit}\nprofile = "{profile}"\n'
SITE = """
[site]
id = "board"
profiles = "{profiles}"

[[line]]
id = "line-1"
kind = "rtu"
path = "line-1"

[[wire]]
from = "relay-1.2"
to = "amps-1.current_1"
value_on = 8.2
value_off = 0.0
"""
GATEWAY = """
[gateway]
id = "gw-1"
area = "41/01/05/001/001"
deployment = "demo"

[clock]
source = "assumed"

[journal]
path = "gw-1.db"

[mqtt]
host = "127.0.0.1"

[local]
socket = "gw-1.sock"

[trust]
list = "{demo}/trust.json"
roots = [
    "vjrv11EsyfNSifK_aEpzFk0497QvcuzFS08Lczbpal4",
    "TvBg6hB9AlhaP5SxiXiO35921gCR2BtxRderXjTA_s0",
    "imDCw2fnxeqkQHEfzv9DxJu9gbub-b9jA9mXNTHDloo",
]
threshold = 2

[profiles]
folder = "{profiles}"

[signals]
files = ["{signals}/national.toml"]

[[bus]]
id = "line-1"
link = "serial:line-1"

[[siren]]
id = "s-1"
type = "motor"
drive = "relay-1.2"
feedback = [{{ point = "amps-1.current_1", above = 2.0 }}]
"""


class Place:
    """A siren on relay 2 of a board, as a whole gateway on a simulated site. `fitted` is where the board's profile is
    from: not that of the gateway where it is another edition than the gateway believes."""

    def __init__(self, folder: Path, board: str, fitted: Path = FOLDER, believed: Path = FOLDER) -> None:
        def units(kind: str) -> str:
            line = "line" if kind == "unit" else "bus"
            return (LINE.format(kind=kind, id="relay-1", line=line, unit=1, profile=board)
                    + LINE.format(kind=kind, id="amps-1", line=line, unit=2, profile="generic_input_module"))

        names = {"profiles": believed, "signals": ROOT / "configs/signals", "demo": DEMO}
        (folder / "site.toml").write_text(SITE.format(profiles=fitted) + units("unit"))
        (folder / "gateway.toml").write_text(GATEWAY.format(**names) + units("device"))
        self.config = config.load(folder / "gateway.toml", [])
        self.world = World(site.load(folder / "site.toml"), [self.config], TRUST)
        self.world.run(8)

    def order(self, name: str = "all-clear", mode: Mode = Mode.DRILL, n: int = 1) -> None:
        now = self.world.wall_us
        body = OrderBody(
            v=1, id=f"{n:032x}", deployment="demo", issuer="test", issued_at=wire.to_text(now),
            not_before=wire.to_text(now), expires_at=wire.to_text(now + 240 * S), area="41", action=Action.SOUND,
            mode=mode, sound=Sound(name=name, digest=self.config.signals.digest(name)), sequence=n,
            trust_version=TRUST.version)
        body = prepared(body, self.config)
        signers = [keys.load_key(DEMO / "keys" / f"{name}.jwk") for name in ("operator-1", "commander")]
        self.world.order(keys.sign(body, signers), wire.order_topic("41", False))

    def sounds(self) -> list[tuple[bool, str]]:
        return [(s.on, s.cause) for s in self.world.sounds]

    def events(self, what: str) -> list[Event]:
        said = (wire.decode(Event, p.payload) for _, p in self.world.stations["gw-1"].published
                if p.topic.endswith("/event"))
        return [e for e in said if e.what == what]

    def receipts(self) -> list[Receipt]:
        return self.world.stations["gw-1"].receipts()


@every_board
def test_a_gateway_sounds_it_without_a_gap_and_ends_it(board: str, tmp_path: Path) -> None:
    p = Place(tmp_path, board)
    p.order()
    p.world.run(195)
    (on, off) = p.world.sounds
    assert (on.on, off.on, off.cause) == (True, False, Cause.WRITE), "polls feed its watchdog for three minutes"
    assert off.t_us - on.t_us == pytest.approx(180 * S, abs=S / 2)
    assert p.receipts()[-1].stage is Stage.FINISHED
    assert p.events("setup-failed") == []


@every_board
def test_the_gateway_dies_and_the_board_ends_it(board: str, tmp_path: Path) -> None:
    p = Place(tmp_path, board)
    p.order()
    p.world.run(10)
    assert p.sounds() == [(True, Cause.WRITE)]
    died_us = p.world.now_us
    p.world.restart("gw-1", away_s=60)
    p.world.run(30)
    assert p.sounds() == [(True, Cause.WRITE), (False, Cause.WATCHDOG)]
    output = BOARDS[board].output
    assert output is not None
    assert output.watchdog_s is not None
    assert p.world.sounds[1].t_us - died_us <= output.watchdog_s * S


def test_a_watchdog_that_somebody_switched_off_is_told_and_on_again_within_a_minute(tmp_path: Path) -> None:
    p = Place(tmp_path, "wirenboard_mr6c")
    p.world.field.handle(p.world.now_us, SetPoint("relay-1", "safety_timer", 0))
    p.world.run(60)  # its registers are polled each minute
    assert [(e.subject, e.urgent) for e in p.events("watchdog-off")] == [("s-1", True)]
    assert len(p.events("watchdog-armed")) == 1, "the set-up was run again, and read back"
    p.order()
    p.world.run(5)
    assert p.sounds() == [(True, Cause.WRITE)]


def test_one_lost_answer_is_no_news_of_a_watchdog_and_a_silent_board_is(tmp_path: Path) -> None:
    """Its registers are polled each minute: so long a drill would be refused for what nobody had seen change."""
    p = Place(tmp_path, "wirenboard_mr6c")

    def seen(request: bytes) -> int:
        return sum(f.seen.unit == 1 and f.seen.pdu.startswith(request) for f in p.world.frames)

    def until(request: bytes) -> None:
        before = seen(request)
        while seen(request) == before:
            p.world.run(0.001)

    p.world.run(50)
    until(TIMER_READ)
    p.world.inject("relay-1", "dropped", 1.0)
    until(TIME_OUT_READ)
    p.world.inject("relay-1", "dropped", 0)
    polls = seen(TIME_OUT_READ)
    p.world.run(5)
    assert seen(TIME_OUT_READ) == polls, "the next is a minute away"
    p.order()
    p.world.run(5)
    assert p.sounds() == [(True, Cause.WRITE)]
    p.world.inject("relay-1", "dead")
    p.world.run(20)
    told = [wire.decode(State, m.payload) for _, m in p.world.stations["gw-1"].published
            if m.topic.endswith("/s-1/state")]
    assert "watchdog not read" in told[-1].why


def test_a_board_without_its_watchdog_sounds_a_warning_and_no_drill(tmp_path: Path) -> None:
    """A profile that sets nothing up, on a board as delivered."""
    lazy = tmp_path / "profiles"
    lazy.mkdir()
    for path in FOLDER.glob("*.toml"):
        text = path.read_text(encoding="utf-8")
        if path.stem == "wirenboard_mr6c":
            text = re.sub(r"^setup = \[.*?^\]\n", "", text, flags=re.DOTALL | re.MULTILINE)
            text = "\n".join(line for line in text.splitlines() if 'set = "safety_timer"' not in line
                             and 'set = "on_timeout"' not in line)
        (lazy / path.name).write_text(text, encoding="utf-8")
    p = Place(tmp_path, "wirenboard_mr6c", believed=lazy)
    p.order()
    p.world.run(3)
    assert (p.receipts()[-1].stage, p.receipts()[-1].reason) == (Stage.REJECTED, "fault: watchdog not armed")
    assert p.sounds() == []
    p.order("air-raid", Mode.LIVE, n=2)
    p.world.run(3)
    assert p.sounds() == [(True, Cause.WRITE)]
    assert [r.reason for r in p.receipts() if r.stage is Stage.TROUBLE] == ["watchdog not armed"]


def test_a_board_that_has_no_such_settings_is_told_and_never_closed(tmp_path: Path) -> None:
    """Firmware from before the setting of what a time-out does: its relays would stay as they are."""
    fitted = tmp_path / "profiles"
    fitted.mkdir()
    for id in ("wirenboard_mr6c", "generic_input_module"):
        text = (FOLDER / f"{id}.toml").read_text(encoding="utf-8")
        kept = [re.sub(r'\{ (set|expect) = "on_timeout\w*", \w+ = "\w+" \},?', "", line) for line in text.splitlines()
                if not line.startswith("on_timeout") and 'point = "on_timeout"' not in line]
        (fitted / f"{id}.toml").write_text("\n".join(kept), encoding="utf-8")
    p = Place(tmp_path, "wirenboard_mr6c", fitted)
    p.world.run(60)
    told = p.events("setup-failed")
    assert len(told) >= 2, "told, and tried again"
    assert (told[0].subject, told[0].urgent) == ("relay-1", True)
    assert told[0].detail == "on_timeout_1 refused: illegal address (2)"
    assert p.events("device-silent") == [], "it says no to several reads in a row, and a no is an answer"
    p.order()
    p.world.run(200)
    assert p.sounds() == [], "no bound, no sound"
    assert (p.receipts()[-1].stage, p.receipts()[-1].reason) == (Stage.REJECTED, "fault: watchdog not read")


class Pair:
    """Device and simulated board; a transaction takes 20 ms. Time may jump: polls that were missed are left out."""

    def __init__(self, board: str) -> None:
        profile = load(FOLDER / f"{board}.toml")
        self.sim = SimDevice("d", 1, profile, 1)
        self.device = Device("d", "line", 1, profile)
        self.now_us = 0
        self.silent = False
        self.ended: list[Ended] = []
        self._queue: list[Submit] = []

    def tell(self, event: LinkUp | LinkDown | Begin | Finished | Woken) -> None:
        for effect in self.device.handle(self.now_us, event):
            if isinstance(effect, Submit):
                self._queue.append(effect)
            elif isinstance(effect, Ended):
                self.ended.append(effect)

    def run(self, seconds: float) -> None:
        end_us = self.now_us + round(seconds * S)
        while self.now_us < end_us:
            if not self._queue:
                self.now_us = min(max(earliest(self.device.deadline, end_us) or end_us, self.now_us), end_us)
                self.tell(Woken())
                continue
            asked = self._queue.pop(0).transaction
            sent_us, self.now_us = self.now_us, self.now_us + 20 * MS
            self.tell(Finished("line", asked, self.sim.outcome(sent_us, asked.request), sent_us))

    def by_somebody(self, write: Write) -> None:
        assert isinstance(self.sim.outcome(self.now_us, write), Reply)


@pytest.fixture
def mr6c() -> Pair:
    pair = Pair("wirenboard_mr6c")
    assert (pair.sim.value("safety_timer"), pair.sim.value("on_timeout_6")) == (10, "keep"), "as delivered"
    pair.tell(LinkUp("line"))
    pair.run(5)
    return pair


def set_up(pair: Pair) -> bool:
    return (pair.sim.value("safety_timer"), pair.sim.value("on_timeout_1"), pair.sim.value("on_timeout_6")) == (
        5, "safe_state", "safe_state")


def a_day(pair: Pair) -> None:
    pair.now_us += SETUP_US
    pair.run(5)


def a_minute_since_the_last(pair: Pair) -> None:
    pair.run(60)


def a_pulled_plug(pair: Pair) -> None:
    pair.tell(LinkDown("line", "pulled"))
    pair.tell(LinkUp("line"))
    pair.run(5)


def test_a_board_as_delivered_is_set_up_at_its_first_answer(mr6c: Pair) -> None:
    assert set_up(mr6c)
    assert [e.done for e in mr6c.ended] == [True]


@pytest.mark.parametrize("write", [NEVER, KEEP], ids=["timer off", "time-out keeps"])
@pytest.mark.parametrize("then", [a_minute_since_the_last, a_day, a_pulled_plug])
def test_what_somebody_switched_off_is_restored(mr6c: Pair, write: Write, then: Callable[[Pair], None]) -> None:
    mr6c.by_somebody(write)
    mr6c.run(5)
    assert not set_up(mr6c)
    then(mr6c)
    assert set_up(mr6c)
    assert [e.done for e in mr6c.ended] == [True, True]


@pytest.mark.parametrize("write", [NEVER, KEEP, Write(Table.HOLDING, 930, (1,))],
                         ids=["timer off", "time-out keeps", "safe state on"])
def test_a_board_whose_watchdog_is_off_drops_nothing(write: Write) -> None:
    """What the settings are for: without them the simulated board stays on, as the real one does."""
    pair = Pair("wirenboard_mr6c")
    for told in (Write(Table.HOLDING, 8, (5,)), Write(Table.HOLDING, 938, (1,)), Write(Table.HOLDING, 939, (1,)), write,
                 Write(Table.COIL, 0, (1,)), Write(Table.COIL, 1, (1,))):
        pair.by_somebody(told)
    pair.sim.handle(60 * S, Woken())
    left = pair.sim.outputs()
    assert left[1] is True
    assert left[2] is (write is NEVER), "each relay has its own setting, the timer is one for all"


def test_a_gauge_that_lost_its_mode_in_a_dip_too_short_to_be_seen_is_told_again_within_a_minute() -> None:
    """A URM14 comes up as delivered, measuring nothing; it missed two polls at most, and so was never away."""
    gauge = Pair("dfrobot_urm14")
    gauge.tell(LinkUp("line"))
    gauge.run(70)
    assert (gauge.device.readings["distance"].quality, len(gauge.ended)) == (Quality.GOOD, 1)
    for dips in (2, 3):
        gauge.by_somebody(Write(Table.HOLDING, 8, (4,)))
        gauge.run(60)
        assert gauge.device.readings["distance"].quality is Quality.GOOD
        assert [e.done for e in gauge.ended] == [True] * dips


def test_a_volume_that_an_action_changed_is_left_alone() -> None:
    """A voice module is set up to full volume once, and speaks lower by night: that is nothing to set right."""
    voice = Pair("dfplayer_voice")
    voice.tell(LinkUp("line"))
    voice.run(70)
    voice.tell(Begin("d", "play", 1, None, {"track": 1, "volume": 15}))
    voice.run(200)
    assert [(e.action, e.done) for e in voice.ended] == [("setup", True), ("play", True)]
    assert voice.device.readings["volume"].value == 15


ARMED = """
make = "m"
model = "x"
kind = "relay"
source = "test"
[points]
relay = {{ at = "coil:0", write = "level", poll_ms = 500 }}
timer = {{ at = "holding:8", write = "level", poll_ms = 60000 }}
unseen = {{ at = "holding:9" }}
[output]
class = "{class_}"
watchdog_s = 5
state = "relay"
armed = [{{ point = "{point}", is = {value} }}]
[actions]
activate = [{{ set = "relay", to = true, edge = true }}]
cancel = [{{ set = "relay", to = false, edge = true }}]
"""


@pytest.mark.parametrize(("class_", "point", "value", "key", "said"), [
    ("A", "timre", "5", "output.armed[0].point", "no such point"),
    ("A", "unseen", "5", "output.armed[0].point", "never polled"),
    ("A", "timer", "'five'", "output.armed[0].is", "not|five"),
    ("C", "timer", "5", "output", "only class A"),
])
def test_what_arms_a_watchdog_must_be_seen(tmp_path: Path, class_: str, point: str, value: str, key: str,
                                           said: str) -> None:
    file = tmp_path / "made.toml"
    file.write_text(ARMED.format(class_=class_, point=point, value=value), encoding="utf-8")
    with pytest.raises(BadDocument) as raised:
        load(file)
    (problem,) = [p for p in raised.value.problems if p.key == key]
    assert re.search(said, problem.remedy)
