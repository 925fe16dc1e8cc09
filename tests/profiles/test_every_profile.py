"""Every profile in configs/profiles is driven against its own simulation. A new file there is tested by being there.

It proves that a profile's actions and its simulation fit each other and that its output is bounded, never that the
datasheet says so: for that there are captures and other people's implementations.
"""

import re
from pathlib import Path

import pytest

from controller import signal
from firmware_bridge import modbus
from firmware_bridge.event import Read, Refused, Reply, Request, Sent, Table
from firmware_bridge.machine import MS, S, Woken
from firmware_bridge.move import Set
from firmware_bridge.plan import fetches
from firmware_bridge.point import Scalar
from firmware_bridge.profile import OutputClass, Profile, load
from firmware_bridge.reading import Value
from simulators.behaviour import same
from simulators.device import SimDevice
from simulators.output import Cause

ROOT = Path(__file__).parents[2]
PROFILES = {p.stem: load(p) for p in sorted((ROOT / "configs" / "profiles").glob("*.toml"))}
ON_PHASE_S = 6.0
HARD_LIMIT_S = 200.0
CUTS = {OutputClass.A: Cause.WATCHDOG, OutputClass.B: Cause.LEASE_END, OutputClass.B_PRIME: Cause.SELF_LIMIT,
        OutputClass.C: Cause.HARD_LIMIT}

every = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
with_output = [p for p in PROFILES.values() if p.output]
every_output = pytest.mark.parametrize("profile", with_output, ids=[p.id for p in with_output])


class Master:
    """Runs actions as the gateway does, 20 ms a transaction, and gives up where a step does not come true."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.now_us = S
        channels = range(1, profile.channels + 1) if profile.channels else (None,)
        self.device = SimDevice("d", 1, profile, 1, hard_limit_s=dict.fromkeys(channels, HARD_LIMIT_S))

    def ask(self, request: Request) -> tuple[int, ...]:
        self.wait(20 * MS)
        match self.device.outcome(self.now_us, request):
            case Reply(values):
                return values
            case Sent():
                return ()
            case Refused(code):
                raise AssertionError(f"{request} refused: {modbus.EXCEPTIONS[code]}")
            case outcome:
                raise AssertionError(f"{outcome} to {request}")

    def wait(self, us: int) -> None:
        end_us = self.now_us + us
        while (due_us := self.device.deadline) is not None and due_us <= end_us:
            self.device.handle(due_us, Woken())
        self.device.handle(end_us, Woken())
        self.now_us = end_us

    def read(self, name: str, channel: int | None = None) -> Value:
        point = self.profile.point(name, channel)
        fetch = fetches([point], self.profile.line)[0]
        return point.decode(fetch.words(point, self.ask(fetch.request(1))))

    def act(self, action: str, channel: int | None = None, **more: Scalar) -> None:
        args: dict[str, Scalar] = {"lease_s": 5.0, "rest_s": ON_PHASE_S, "seconds": 3, "volume": 20,
                                   "track": 3, "text": "x"}
        output = self.profile.output
        args |= {"tone": next(iter(output.tones.values()), "steady")} if output else {}
        args |= more

        def filled(value: Scalar | None) -> Scalar:
            assert value is not None
            return args[value[1:]] if isinstance(value, str) and value.startswith("$") else value

        for step in self.profile.actions[action]:
            if step.set is not None:
                point = self.profile.point(step.set, channel)
                self.ask(Set(point, point.encode(filled(step.to)), step.edge, bounded=False).request(1))
            elif step.expect is not None:
                wanted, until_us = filled(step.is_), self.now_us + step.within_ms * MS
                while not same(self.read(step.expect, channel), wanted):
                    assert self.now_us < until_us, f"{action}: {step.expect} did not become {wanted!r}"
            else:
                self.wait((step.wait_ms or 0) * MS)

    def sounding(self) -> list[int | None]:
        return [channel for channel, on in self.device.outputs().items() if on]


def ends_of(profile: Profile) -> list[int | None]:
    """The first and the last channel, where an address that is one off shows."""
    return [1, profile.channels] if profile.channels else [None]


def bound_s(profile: Profile) -> float:
    assert profile.output is not None
    match profile.output.class_:
        case OutputClass.A:
            return profile.output.watchdog_s or 0.0
        case OutputClass.B:
            return profile.output.lease_max_s
        case OutputClass.B_PRIME:
            return ON_PHASE_S if profile.output.limit else profile.output.self_limit_s or 0.0
        case OutputClass.C:
            return HARD_LIMIT_S


def test_there_are_profiles():
    assert len(PROFILES) >= 21


@every
def test_the_file_names_its_schema_and_its_source(profile: Profile):
    text = Path(profile.file).read_text(encoding="utf-8")
    assert text.startswith("#:schema ../../docs/schema/profile.schema.json\n")
    assert len(profile.spec.source) > 10
    assert profile.spec.notes, "a device without a trap has not been looked at"


@every
def test_every_readable_point_answers_and_every_other_refuses(profile: Profile):
    master = Master(profile)
    shown = {(p.table, p.address) for p in profile.points.values() if p.spec.readable}
    for point in profile.points.values():
        if point.message is not None:
            assert not point.spec.readable or master.read(point.name) is not None
            continue
        request = Read(point.table, point.address, point.width)
        if point.spec.readable:
            assert len(master.ask(request)) == point.width
        elif point.table is not Table.PULSE and (point.table, point.address) not in shown:
            with pytest.raises(AssertionError, match="refused"):
                master.ask(request)
    if profile.spec.identity:
        assert profile.point(profile.spec.identity).spec.readable


@every
def test_every_action_runs(profile: Profile):
    for action in profile.actions:
        for channel in ends_of(profile):
            Master(profile).act(action, channel)


@every
def test_nothing_but_activate_and_renew_sounds(profile: Profile):
    for action in set(profile.actions) - {"activate", "renew"}:
        master = Master(profile)
        master.act(action, ends_of(profile)[0])
        master.wait(10 * S)
        assert master.device.log == [], action


@every_output
def test_activate_sounds_its_own_channel_alone_and_cancel_ends_it(profile: Profile):
    for channel in ends_of(profile):
        master = Master(profile)
        assert master.sounding() == []
        assert profile.output is not None
        for tone in profile.output.tones or {"steady": "steady"}:
            master.act("activate", channel, tone=profile.output.tones.get(tone, tone))
            assert master.sounding() == [channel], tone
            assert profile.is_on(master.read(profile.output.state, channel)) is True
            master.wait(S)
            master.act("cancel", channel)
            master.wait(S)
            assert master.sounding() == []
            assert profile.is_on(master.read(profile.output.state, channel)) is False


@every_output
def test_cancel_when_nothing_sounds_is_no_sounding(profile: Profile):
    master = Master(profile)
    master.act("cancel", ends_of(profile)[0])
    master.wait(10 * S)
    assert master.device.log == []


@every_output
def test_the_hardware_ends_it_when_nobody_speaks_any_more(profile: Profile):
    assert profile.output is not None
    for channel in ends_of(profile):
        master = Master(profile)
        master.act("activate", channel)
        master.wait(round((bound_s(profile) + 1) * S))
        on, off = master.device.log
        assert (on.on, off.on, on.channel, off.channel) == (True, False, channel, channel)
        assert off.cause == CUTS[profile.output.class_]
        assert off.t_us - on.t_us <= bound_s(profile) * S + 20 * MS


@pytest.mark.parametrize("profile", [p for p in with_output if "renew" in p.actions], ids=lambda p: p.id)
def test_renew_holds_it_without_a_gap_and_its_last_lease_ends_the_phase(profile: Profile):
    assert profile.output is not None
    master = Master(profile)
    master.act("activate", 2)
    for _ in range(10):
        master.wait(profile.output.renew_ms * MS)
        master.act("renew", 2)
    last_us = master.now_us
    master.act("renew", 2, lease_s=0.7)
    master.wait(20 * S)
    on, off = master.device.log
    assert last_us + 700 * MS <= off.t_us <= last_us + 740 * MS
    assert on.cause is Cause.WRITE


@every_output
def test_a_national_signal_can_be_lowered_to_it(profile: Profile):
    signals = signal.load(sorted((ROOT / "configs" / "signals").glob("*.toml")))
    assert profile.output is not None
    for name in ("pre-alert", "air-raid", "all-clear"):
        timeline, deviations = signal.lower(signals.timeline(name), profile.output, HARD_LIMIT_S)
        assert timeline == signals.timeline(name)
        assert deviations == ()


def test_the_siren_of_the_page_about_profiles_works(tmp_path: Path):
    page = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
    # What follows on the page are examples of their own.
    page = page[: page.index("## From datasheet to profile in 15 minutes")]
    file = tmp_path / "example_h600.toml"
    file.write_text("".join(re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)), encoding="utf-8")
    profile = load(file)
    master = Master(profile)
    master.act("activate", tone="wail")
    master.wait(S)
    assert master.sounding() == [None]
    assert master.read("running") is True
    master.act("cancel")
    assert master.sounding() == []
    master.act("activate")
    master.wait(60 * S)
    assert [(s.on, s.cause) for s in master.device.log[2:]] == [(True, Cause.WRITE), (False, Cause.SELF_LIMIT)]
    assert master.read("running") is False


# What the sources warn of, model by model.


def test_informer_zero_is_arm_and_no_action_writes_it_but_activate():
    profile = PROFILES["federal_signal_informer"]
    assert profile.point("utility").encode("arm") == (0,)
    arming = [a for a, steps in profile.actions.items() if any(s.set == "utility" and s.to == "arm" for s in steps)]
    assert arming == ["activate"]
    triggers = [n for n, p in profile.points.items() if p.spec.write == "trigger"]
    assert triggers == ["function", "message", "tone", "utility"]


def test_waveshare_has_no_flip_and_no_all_relays():
    profile = PROFILES["waveshare_rtu_relay"]
    coils = {p.address for p in profile.points.values() if p.table is Table.COIL}
    pulses = {p.address for p in profile.points.values() if p.table is Table.PULSE}
    assert coils == set(range(8))
    assert pulses == set(range(0x200, 0x208))
    assert profile.point("pulse", 3).encode(5.0) == (50,)
    for seconds in (0, 0.05, 61):
        with pytest.raises(ValueError, match="outside"):
            profile.point("pulse", 1).encode(seconds)


def test_evikon_never_writes_never():
    profile = PROFILES["evikon_ek61"]
    assert profile.point("auto_off").encode(2.7) == (2,)
    for seconds in (0, 0.4, 0.999, -1, 14401):
        with pytest.raises(ValueError, match="auto_off"):
            profile.point("auto_off").encode(seconds)
    assert [s.set for s in profile.actions["activate"][:2]] == ["auto_off", "mode"], "the bound is there first"
    for code in range(0x30):
        on = profile.is_on(profile.point("mode").decode((code,)))
        assert on is (code & 0xF in (2, 4, 5)) or (on is None and code & 0xF not in (2, 4, 5)), hex(code)


@pytest.mark.parametrize(("code", "raw", "decimals", "metres"), [
    (7, 1250, 3, 1.25), (8, 1250, 0, 1.25), (1, 1226, 2, 1.25), (4, 1226, 1, 1.25), (6, 178, 2, 1.25),
    (0, 0, 3, 0.0), (7, 0xFFFF, 3, -0.001),
])
def test_qdy30a_codes_come_to_metres_of_water(code: int, raw: int, decimals: int, metres: float):
    point = PROFILES["qdy30a"].point("level")
    assert point.spec.factor_from is not None
    factor = point.spec.factor_from.factors[str(code)] * 10**-decimals
    assert point.decode((raw,), factor) == pytest.approx(metres, abs=0.002)


def test_r4d8_off_ends_a_delay_too_and_nothing_can_toggle_or_reach_all_relays():
    profile = PROFILES["eletechsup_r4d8"]
    command = profile.point("command", 3)
    assert (command.address, command.encode("on"), command.encode("off")) == (3, (0x0100,), (0x0200,))
    sent = [profile.point("command", 1).encode(s.to) for s in profile.actions["cancel"] if s.set and s.to is not None]
    assert sent == [(0x0200,), (0x0600,)], "OFF alone does not end a running delay"
    codes = set(profile.points["command_1"].spec.values.values())
    assert not codes & {0x0300, 0x0400, 0x0500, 0x0700, 0x0800}
    assert all(p.address for p in profile.points.values()), "register 0 is all relays"


def test_a_siren_without_a_state_has_no_action_that_could_sound_it():
    profile = PROFILES["federal_signal_ss2000"]
    assert profile.output is None
    assert not profile.actions
    assert {p.spec.write for p in profile.points.values()} == {"trigger"}
    assert [profile.point("hotkey", n).address for n in (1, 60)] == [0, 59]


def test_what_counts_from_one_in_the_manual_counts_from_zero_on_the_wire():
    sentera, tower = PROFILES["sentera_alr_m1"], PROFILES["patlite_la6"]
    assert [sentera.point(n).address for n in ("status", "buzzer", "device_type", "mode")] == [0, 4, 3, 10]
    assert [tower.point(n).address for n in ("tier_1", "buzzer", "clear", "mute")] == [0, 5, 7, 8]
    assert (sentera.line.baud, sentera.line.parity) == (19200, "E")


@pytest.mark.parametrize(("model", "name", "words", "value"), [
    ("epever_tracer", "battery_current", (0xFFCE, 0xFFFF), -0.5),
    ("epever_tracer", "pv_power", (0x86A0, 0x0001), 1000.0),
    ("epever_tracer", "temperature_state", (0x0012,), "above_limit"),
    ("renogy_rover", "controller_temperature", (0x19F6,), 25),
    ("renogy_rover", "battery_temperature", (0x19F6,), -10),
    ("renogy_rover", "charge_state", (0x8002,), "mppt"),
    ("renogy_rover", "load", (0x8002,), True),
    ("aquaread_leveline", "pressure", (0xFFFF, 0xFFF6), -1.0),
    ("aquaread_leveline", "pressure", (0x0000, 0x2792), 1013.0),
    ("vega_vegapuls", "level", (0x0000, 0x3F80), 1.0),
    ("dfrobot_urm14", "distance", (30000,), 3.0),
    ("victron_vebus", "output_power", (0xFFF6,), -100.0),
    ("victron_vebus", "input", (240,), "disconnected"),
    ("eastron_sdm230", "current", (0x4120, 0x0000), 10.0),
])
def test_raw_words_mean_what_the_maker_says(model: str, name: str, words: tuple[int, ...], value: Value):
    meant = PROFILES[model].point(name).decode(words)
    assert meant == (pytest.approx(value) if isinstance(value, float) else value)


def test_pauses_wildcards_and_speeds_are_those_of_the_manuals():
    assert PROFILES["apg_mnu"].line.min_gap_ms == 300
    assert PROFILES["peacefair_pzem016"].line.wildcards == (0xF8,)
    assert PROFILES["epever_tracer"].line.baud == 115200
    for meter in ("peacefair_pzem016", "eastron_sdm230"):
        assert PROFILES[meter].point("current").spec.evidence == "sampled"
