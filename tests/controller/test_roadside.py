"""The sign, the beacon and the boom: asked, confirmed, tried again, and a fault where they are not."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from controller.event import Notice
from controller.roadside import FAULT_US, FLIGHT_US, RETRY_US, Beacon, Boom, Sign
from controller.spot import BeaconSection, BoomSection, SignSection
from firmware_bridge import profile
from firmware_bridge.event import Begin, Ended, Presence
from firmware_bridge.machine import S, Woken
from firmware_bridge.reading import NoValue, Quality, Reading

PROFILES = Path(__file__).parents[2] / "configs" / "profiles"
RELAY = profile.load(PROFILES / "waveshare_rtu_relay.toml")
COILS = profile.load(PROFILES / "generic_coil_board.toml")
FED = profile.load(PROFILES / "wirenboard_mr6c.toml")
HORN = profile.load(PROFILES / "evikon_ek61.toml")


class Run:
    """One thing of the roadside, whose device does, or refuses, what it is told."""

    def __init__(self, part: Any) -> None:
        self.part = part
        self.now_us = 10 * S
        self.begun: list[Begin] = []
        self.notices: list[tuple[str, str]] = []
        self.works = True
        self.answers = True

    def take(self, effects: list[Any]) -> "Run":
        for effect in effects:
            if isinstance(effect, Notice):
                self.notices.append((effect.what, effect.detail))
            elif isinstance(effect, Begin):
                self.begun.append(effect)
                if self.answers:
                    edge_us, why = (self.now_us, "") if self.works else (None, "no answer")
                    ended = Ended(effect.device, effect.token, effect.action, self.works, why, edge_us)
                    self.take(self.part.handle(self.now_us, ended))
        assert self.part.deadline is None or self.part.deadline > self.now_us
        return self

    def wait(self, seconds: float) -> "Run":
        end_us = self.now_us + round(seconds * S)
        while (due_us := self.part.deadline) is not None and due_us <= end_us:
            self.now_us = due_us
            self.take(self.part.handle(due_us, Woken()))
        self.now_us = end_us
        return self

    @property
    def actions(self) -> list[str]:
        return [b.action for b in self.begun]


def sign() -> Run:
    return Run(Sign("spot-1", SignSection(device="sign-1"), count(1)))


def test_a_sign_is_told_once_and_again_each_minute():
    run = sign()
    run.take(run.part.show(run.now_us, "禁止通行"))
    assert (run.actions, run.part.shown) == (["show"], "禁止通行")
    assert run.begun[0].args == {"text": "禁止通行"}
    run.take(run.part.show(run.now_us, "禁止通行")).wait(59)
    assert len(run.begun) == 1
    run.wait(2)
    assert len(run.begun) == 2


def test_a_sign_that_does_not_confirm_is_a_fault_and_is_tried_for_ever():
    run = sign()
    run.works = False
    run.take(run.part.show(run.now_us, "禁止通行"))
    assert run.part.shown == ""
    run.wait(FAULT_US / S + 6)
    assert run.notices == [("sign-unconfirmed", "no answer")]
    assert len(run.begun) >= FAULT_US / RETRY_US
    run.works = True
    run.wait(6)
    assert run.part.shown == "禁止通行"
    assert [what for what, _ in run.notices] == ["sign-unconfirmed", "sign-unconfirmed-ended"]


def test_an_action_that_never_ends_is_begun_anew():
    run = sign()
    run.answers = False
    run.take(run.part.show(run.now_us, "禁止通行"))
    run.wait(FLIGHT_US / S + 1)
    assert len(run.begun) == 2
    assert [what for what, _ in run.notices] == ["sign-unconfirmed"]


def test_another_text_waits_for_the_one_under_way_and_then_goes():
    run = sign()
    run.answers = False
    run.take(run.part.show(run.now_us, "一"))
    run.take(run.part.show(run.now_us, "二"))
    run.take(run.part.show(run.now_us, "三"))
    assert len(run.begun) == 1
    run.answers = True
    run.take(run.part.handle(run.now_us, Ended("sign-1", run.begun[0].token, "show", True)))
    assert [b.args for b in run.begun] == [{"text": "一"}, {"text": "三"}]
    assert run.part.shown == "三"


def test_a_sign_that_was_without_power_is_told_again():
    run = sign()
    run.take(run.part.show(run.now_us, "禁止通行"))
    run.works = False
    run.take(run.part.handle(run.now_us, Presence("sign-1", False, "no answer")))
    assert run.part.shown == ""
    assert run.notices == [("sign-unconfirmed", "silent: no answer")]
    run.works = True
    run.take(run.part.handle(run.now_us, Presence("sign-1", True)))
    assert run.part.shown == "禁止通行"


def test_a_line_that_is_not_open_yet_at_the_start_is_no_fault_until_it_is_overdue():
    run = sign()
    run.works = False
    run.take(run.part.show(run.now_us, "前方隧桥"))
    run.take(run.part.handle(run.now_us, Presence("sign-1", False, "link down")))
    run.works = True
    run.take(run.part.handle(run.now_us + S, Presence("sign-1", True)))
    assert (run.part.shown, run.notices) == ("前方隧桥", [])
    late = sign()
    late.works = False
    late.take(late.part.show(late.now_us, "前方隧桥"))
    late.take(late.part.handle(late.now_us, Presence("sign-1", False, "link down"))).wait(FAULT_US / S + 1)
    assert late.notices == [("sign-unconfirmed", "no answer")]


def test_a_card_that_says_its_screen_is_off_shows_nothing():
    run = sign()
    run.take(run.part.show(run.now_us, "禁止通行"))
    run.works = False
    run.take(run.part.took(run.now_us, Reading("sign-1", "powered", False, Quality.GOOD, run.now_us)))
    assert run.part.shown == ""
    assert run.notices == [("sign-unconfirmed", "the card says that its screen is off")]


def test_a_beacon_on_a_relay_is_held_by_leases_and_let_go():
    run = Run(Beacon("spot-1", BeaconSection(drive="relay-1.3"), RELAY, count(1)))
    run.take(run.part.light(run.now_us, False))
    assert run.actions == ["cancel"], "what was left from before is put out"
    run.take(run.part.light(run.now_us, True)).wait(60)
    assert run.actions[1] == "activate"
    assert run.actions.count("renew") >= 25
    assert all((b.args or {})["lease_s"] == 5.0 for b in run.begun[1:])
    run.take(run.part.light(run.now_us, False))
    assert run.actions[-1] == "cancel"
    assert run.notices == []


def test_a_beacon_that_is_no_relay_has_the_actions_light_and_dark():
    assert {"light", "dark"} <= set(HORN.actions)
    run = Run(Beacon("spot-1", BeaconSection(drive="horn-1"), HORN, count(1)))
    run.take(run.part.light(run.now_us, False))
    run.take(run.part.light(run.now_us, True))
    assert run.actions == ["dark", "light"]


def test_a_beacon_that_does_not_answer_is_told():
    run = Run(Beacon("spot-1", BeaconSection(drive="relay-1.3"), RELAY, count(1)))
    run.works = False
    run.take(run.part.light(run.now_us, True)).wait(FAULT_US / S + 1)
    assert run.notices == [("beacon-unconfirmed", "the output did not acknowledge it")]
    run.works = True
    run.wait(3)
    assert [what for what, _ in run.notices] == ["beacon-unconfirmed", "beacon-unconfirmed-ended"]


def beacon(board: profile.Profile) -> Run:
    return Run(Beacon("spot-1", BeaconSection(drive="relay-1.3"), board, count(1)))


def reads(run: Run, on: bool, channel: int = 3) -> Run:
    """A poll of the board, a second later."""
    run.wait(1)
    return run.take(run.part.took(run.now_us, Reading("relay-1", f"relay_{channel}", on, Quality.GOOD, run.now_us)))


@pytest.mark.parametrize("board", [RELAY, COILS, FED], ids=lambda p: p.id)
def test_a_beacon_whose_board_lost_its_power_for_a_moment_is_lit_again(board):
    run = beacon(board)
    run.take(run.part.light(run.now_us, True)).wait(10)
    reads(run, True)
    begun = len(run.begun)
    reads(run, False).wait(3)
    assert {b.action for b in run.begun[begun:]} == {"renew"} if board is RELAY else ["activate"]
    assert reads(run, True).notices == []


@pytest.mark.parametrize("board", [RELAY, COILS, FED], ids=lambda p: p.id)
def test_a_beacon_that_stays_dark_is_told_and_so_that_it_burns_again(board):
    run = beacon(board)
    run.take(run.part.light(run.now_us, True)).wait(10)
    run.works = False
    for _ in range(round(FAULT_US / S) + 2):
        reads(run, False)
    assert run.notices == [("beacon-unconfirmed", "the output reads off")]
    run.works = True
    run.wait(6)
    reads(run, True)
    assert [what for what, _ in run.notices] == ["beacon-unconfirmed", "beacon-unconfirmed-ended"]


@pytest.mark.parametrize("lit", [True, False])
@pytest.mark.parametrize("board", [RELAY, COILS], ids=lambda p: p.id)
def test_a_beacon_whose_board_is_silent_is_not_known_until_it_is_read_again(board, lit):
    run = beacon(board)
    run.take(run.part.light(run.now_us, lit)).wait(10)
    run.works = False
    run.take(run.part.handle(run.now_us, Presence("relay-1", False, "no answer"))).wait(FAULT_US / S + 1)
    assert run.notices == [("beacon-unconfirmed", "silent: no answer")]
    run.works = True
    run.take(run.part.handle(run.now_us, Presence("relay-1", True)))
    assert [what for what, _ in reads(run, lit).notices] == ["beacon-unconfirmed", "beacon-unconfirmed-ended"]


def test_a_beacon_that_is_on_without_being_wanted_is_put_out():
    run = beacon(COILS)
    run.take(run.part.light(run.now_us, False))
    reads(run, False)
    reads(run, True)
    assert run.actions == ["cancel", "cancel"]


def test_what_is_read_just_after_an_edge_may_be_from_before_it():
    run = beacon(COILS)
    reads(run, False)
    run.take(run.part.light(run.now_us, True))
    run.take(run.part.took(run.now_us, Reading("relay-1", "relay_3", False, Quality.GOOD, run.now_us))).wait(5)
    assert run.actions == ["activate"]


def boom() -> Run:
    section = BoomSection.model_validate({"drive": "relay-1.4", "closed": "input-1.contact_1"})
    return Run(Boom("spot-1", section, RELAY, count(1)))


def contact(run: Run, closed: bool | None) -> None:
    value = closed is not None
    reading = Reading("input-1", "contact_1", closed, Quality.GOOD if value else Quality.BAD, run.now_us,
                      None if value else NoValue.SILENT)
    run.take(run.part.took(run.now_us, reading))


def test_a_boom_is_down_when_its_contact_says_so():
    run = boom()
    contact(run, False)
    run.take(run.part.close(run.now_us, True)).wait(10)
    assert run.part.closed is False
    contact(run, True)
    run.wait(60)
    assert (run.part.closed, run.notices) == (True, [])


def test_a_boom_that_does_not_come_down_or_up_or_is_lifted_is_told():
    run = boom()
    contact(run, False)
    run.take(run.part.close(run.now_us, True)).wait(25)
    contact(run, True)
    contact(run, False)
    contact(run, True)
    run.take(run.part.close(run.now_us, False)).wait(25)
    assert run.notices == [("boom-fault", "does not close"), ("boom-fault-ended", ""), ("boom-fault", "does not close"),
                           ("boom-fault-ended", ""), ("boom-fault", "does not open")]


def test_a_boom_whose_contact_cannot_be_read_is_not_taken_for_closed():
    run = boom()
    contact(run, None)
    run.take(run.part.close(run.now_us, True)).wait(25)
    assert run.part.closed is None
    assert run.notices == [("boom-fault", "its contact cannot be read")]


def test_a_boom_whose_request_fell_open_is_asked_again():
    section = BoomSection.model_validate({"drive": "relay-1.4", "closed": "input-1.contact_1"})
    run = Run(Boom("spot-1", section, COILS, count(1)))
    contact(run, False)
    run.take(run.part.close(run.now_us, True)).wait(5)
    contact(run, True)
    reads(run, False, channel=4).wait(3)
    assert run.actions == ["activate", "activate"]
