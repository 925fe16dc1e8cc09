"""Two gateways under one identity: what names them, how soon, and what does not."""

import random

import pytest

from controller import wire
from controller.wire import Event, Health, JournalHead, State, Status
from firmware_bridge.machine import MS, S, Woken
from hub import screen
from hub.clone import CLEAR_US, Identity
from hub.event import Broker, Note, Publish, Told
from hub.fleet import Fleet
from tests.hub.test_fleet import WALL, birth, states, told

BEAT_US = 30 * S
NAMED_US = 60 * S
"""What is promised."""


class Centre:
    """A fleet, and what its notes said and when."""

    def __init__(self) -> None:
        self.fleet = Fleet("demo")
        self.now_us = 0
        self.said: list[tuple[int, Note]] = []
        self.asked: list[Publish] = []
        self.do(Broker(True))

    def do(self, event: Told | Broker | Woken) -> list[str]:
        effects = self.fleet.handle(self.now_us, event)
        notes = [e for e in effects if isinstance(e, Note)]
        self.said += [(self.now_us, note) for note in notes]
        self.asked += [e for e in effects if isinstance(e, Publish)]
        return [note.what for note in notes]

    def status(self, session: str, state: str = "online", last_seq: int = 0, at_us: int | None = None,
               retained: bool = False, head: JournalHead | None = None) -> list[str]:
        wall_us = WALL + (self.now_us if at_us is None else at_us)
        message = Status.model_validate({
            "gateway": "gw-1", "session": session, "state": state, "at": wire.to_text(wall_us), "last_seq": last_seq,
            "journal": head})
        return self.do(told(message, retained, WALL + self.now_us))

    def connects(self, session: str, last_seq: int = 0) -> None:
        """What a gateway says at every connect."""
        self.status(session, last_seq=last_seq)
        card = birth(session=session).model_copy(update={"at": wire.to_text(WALL + self.now_us)})
        self.do(told(card, wall_us=WALL + self.now_us))

    def clones(self) -> list[tuple[int, Note]]:
        return [(at_us, note) for at_us, note in self.said if note.what == "clone"]

    @property
    def pair(self) -> tuple[str, str] | None:
        return self.fleet.gateways["gw-1"].identity.pair


def test_two_that_beat_beside_each_other_are_named_within_a_minute() -> None:
    """A broker that lets both in: one beats, and the other."""
    for offset_us in (0, 1 * MS, 7 * S, 15 * S, 29 * S):
        centre = Centre()
        centre.connects("true", 40)
        began_us = None
        for beat in range(20):
            centre.now_us = (beat + 1) * BEAT_US
            centre.status("true", last_seq=40)
            if beat >= 4:
                centre.now_us += offset_us
                if began_us is None:
                    began_us = centre.now_us
                    centre.connects("copy", 40)
                else:
                    centre.status("copy", last_seq=40)
        ((at_us, note),) = centre.clones()
        assert began_us is not None
        assert at_us - began_us <= NAMED_US
        assert note.urgent
        assert note.gateway == "gw-1"
        assert "true" in note.detail
        assert "copy" in note.detail
        assert "同一身份两个会话" in note.detail
        assert centre.pair == ("copy", "true")


@pytest.mark.parametrize("seed", range(20))
def test_two_that_end_each_others_connection_are_named_within_a_minute(seed: int) -> None:
    """A broker that lets one in: each kicks the other out and comes back after a pause that grows to ten seconds."""
    rng, centre = random.Random(seed), Centre()
    centre.connects("true", 40)
    centre.now_us = began_us = 500 * S
    inside, outside, pause = "true", "copy", 0.5
    while not centre.clones():
        centre.status(inside, "lost", at_us=centre.now_us - 1)
        centre.connects(outside, rng.choice((40, 38, 45)))
        inside, outside = outside, inside
        centre.now_us += round(rng.uniform(0.5, 1.0) * pause * S)
        pause = min(10, 2 * pause)
        assert centre.now_us - began_us <= NAMED_US, centre.said
    assert centre.pair == ("copy", "true")
    assert len(centre.clones()) == 1


def test_a_restart_is_no_clone() -> None:
    centre = Centre()
    for n in range(40):
        centre.connects(f"start-{n}", n)
        for _ in range(n % 4):
            centre.now_us += BEAT_US
            centre.status(f"start-{n}", last_seq=n)
        if n % 3:
            centre.status(f"start-{n}", "offline", last_seq=n)
        else:
            # The will was written when the session began, and may come after the next has.
            centre.now_us += S
            centre.connects(f"start-{n}b", n)
            centre.status(f"start-{n}", "lost", at_us=0)
        centre.now_us += S
    assert centre.clones() == []
    assert centre.pair is None


def test_a_connection_that_comes_and_goes_is_no_clone() -> None:
    centre = Centre()
    for _ in range(50):
        centre.connects("true")
        centre.now_us += 2 * S
        centre.status("true", "lost", at_us=centre.now_us - S)
    assert centre.clones() == []


def test_what_the_broker_repeats_or_kept_is_no_clone() -> None:
    """A hub that was away gets again what it had not confirmed, in its order; and at each connect what is retained."""
    centre = Centre()
    instants = [k * BEAT_US for k in range(20)]
    for session, times in (("old", instants[:10]), ("new", instants[10:])):
        for at_us in times:
            centre.status(session, at_us=at_us)
    centre.now_us = 21 * BEAT_US
    for session, times in (("old", instants[5:10]), ("new", instants[10:])):
        for at_us in times:
            centre.status(session, at_us=at_us)
    centre.status("new", at_us=instants[-1], retained=True)
    assert centre.clones() == []
    fresh = Centre()
    # A birth that was not replaced, because the connection ended between the two.
    fresh.status("new", retained=True)
    fresh.do(told(birth(session="old"), retained=True))
    fresh.now_us = S
    fresh.connects("new")
    assert fresh.clones() == []


def test_a_clock_that_is_set_hides_no_clone_and_makes_none() -> None:
    centre = Centre()
    year_us = 365 * 24 * 3600 * S
    centre.connects("true")
    for beat, step_us in enumerate((0, -year_us, year_us, -3 * BEAT_US)):
        centre.now_us = (beat + 1) * BEAT_US
        centre.status("true", at_us=centre.now_us + step_us)
    assert centre.clones() == []
    centre.now_us += S
    centre.status("copy", at_us=centre.now_us - year_us)
    centre.now_us += S
    centre.status("true", at_us=centre.now_us - year_us)
    assert len(centre.clones()) == 1


def test_numbers_that_go_back_within_one_session_are_a_clone() -> None:
    """A copy that took over even the session's name: what it has told is behind."""
    centre = Centre()
    centre.status("true", last_seq=50)
    centre.now_us = BEAT_US
    centre.status("true", last_seq=47)
    assert len(centre.clones()) == 1
    assert centre.pair == ("true", "true")


def test_while_there_are_two_no_siren_is_believed_and_then_again() -> None:
    centre = Centre()
    centre.connects("true", 40)
    centre.do(told(State(id="s-1", at=wire.to_text(WALL), state="IDLE"), wall_us=WALL))
    assert states(centre.fleet)["s-1"] == "IDLE"
    centre.now_us = S
    centre.connects("copy", 40)
    centre.now_us = 2 * S
    centre.connects("true", 40)
    assert states(centre.fleet)["s-1"] == "UNKNOWN"
    line = next(line for line in screen.roster(centre.fleet) if "gw-1" in line)
    assert "克隆 CLONE copy true" in line
    assert centre.fleet.as_json()["gateways"][0]["clone"] == ["copy", "true"]  # type: ignore[index]
    assert screen.note(centre.clones()[0][1]).startswith("! 克隆 clone")
    # Its certificate is revoked, and the true one is there by itself.
    while centre.pair is not None:
        centre.now_us += BEAT_US
        centre.status("true", last_seq=41)
        centre.do(Woken())
        assert centre.now_us < 3 * CLEAR_US
    assert centre.said[-1][1].what == "clone-gone"
    assert states(centre.fleet)["s-1"] == "IDLE"
    deadline = centre.fleet.deadline
    assert deadline is not None
    assert deadline > centre.now_us


def test_while_there_are_two_their_numbers_are_not_taken_for_a_lost_journal() -> None:
    centre = Centre()
    centre.connects("true", 100)
    centre.do(told(Event(seq=101, gateway="gw-1", at=wire.to_text(WALL), what="x"), wall_us=WALL))
    for n in range(20):
        centre.now_us += 5 * S
        centre.connects("copy" if n % 2 else "true", 60 + n if n % 2 else 102 + n)
    whats = [note.what for _, note in centre.said]
    assert whats.count("sequence-restarted") <= 1
    assert whats.count("clone") == 1


def test_a_third_copy_is_named_too() -> None:
    centre = Centre()
    for session in ("a", "b", "a", "b", "c", "b", "a", "c"):
        centre.now_us += S
        centre.connects(session)
    assert [note.detail.split(": ")[1].split(";")[0] for _, note in centre.clones()][:2] == ["a b", "b c"]


def test_what_it_remembers_is_bounded() -> None:
    identity = Identity()
    for n in range(10_000):
        identity.heard(n, f"s-{n % 500}", str(n), n, kept=False)
    assert len(identity._seen) <= 16
    assert all(len(seen.instants) <= 64 for seen in identity._seen.values())


# The journal's head.


def head(n: int, hash: str = "a") -> JournalHead:
    return JournalHead(n=n, hash=hash * 64)


def test_a_journal_only_grows() -> None:
    centre = Centre()
    for beat, n in enumerate((10, 10, 12, 40)):
        centre.now_us = beat * BEAT_US
        assert not {"journal-shorter", "journal-altered"} & set(centre.status("one", head=head(n)))
    centre.now_us += BEAT_US
    assert "journal-shorter" in centre.status("two", head=head(39))
    centre.now_us += BEAT_US
    assert "journal-altered" in centre.status("two", head=head(39, "b"))
    known = centre.fleet.gateways["gw-1"].head
    assert known == head(39, "b")
    assert centre.fleet.as_json()["gateways"][0]["journal"] == {"n": 39, "hash": "b" * 64}  # type: ignore[index]


def test_an_old_head_that_is_repeated_is_no_shorter_journal() -> None:
    centre = Centre()
    centre.status("one", at_us=0, head=head(10))
    centre.now_us = BEAT_US
    centre.status("one", head=head(20))
    centre.now_us += S
    assert centre.status("one", at_us=0, head=head(10)) == []
    # The will carries the head of the time when it was written.
    assert "journal-shorter" not in centre.status("one", "lost", at_us=1, head=head(10))


def test_nothing_of_this_needs_a_head_or_a_session_we_knew() -> None:
    centre = Centre()
    assert centre.do(told(Health(gateway="gw-1", at=wire.to_text(WALL), outbox=0), wall_us=WALL)) == []
    assert centre.fleet.gateways["gw-1"].identity.deadline is None
