"""Roads under water at the centre: believed only while their gateway is there, and passed on to others."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from controller import wire
from controller.wire import Birth, Event, SpotCard, State, Status
from firmware_bridge.errors import BadDocument
from firmware_bridge.machine import S, Woken
from hub import flood, floodbook
from hub.event import Broker, Publish, Told
from hub.fleet import Fleet, Happened
from hub.gateway import SILENT_US
from hub.spots import AGAIN_US, SpotNews, Spots, of_spot, spots

WALL = 1_789_696_800_000_000
CARD = SpotCard(id="nongye", name="农业路下穿", depths={"yellow": 15, "red": 40},
                gauges={"press": "pressure", "sonar": "ultrasonic"})


class Centre:
    """A fleet with the machine beside it, as the centre has them."""

    def __init__(self) -> None:
        self.fleet = Fleet("demo")
        self.spots = Spots("zz")
        self.now_us = 0
        self.out: list[Publish] = []
        self.fleet.handle(0, Broker(True))
        self.tell("status", Status(gateway="gw-1", session="a", state="online", at=self.at))
        self.tell("birth", Birth(gateway="gw-1", session="a", at=self.at, version="0", area="41/01/05/001/001",
                                 deployment="demo", sirens=(), devices=(), spots=(CARD,), signals={}, trust_version=1))

    @property
    def at(self) -> str:
        return wire.to_text(WALL + self.now_us)

    def tell(self, leaf: str, message: Status | Birth | State | Event) -> list[Publish]:
        told = Told("gw-1", leaf, message, False, WALL + self.now_us)
        self.fleet.handle(self.now_us, told)
        self.out = self.spots.told(self.now_us, told, self.fleet)
        return self.out

    def state(self, colour: str, level_cm: float | None = None, why: str = "") -> list[SpotNews]:
        points = {"level_cm": level_cm, "to_red_s": 60, "gauge_press": level_cm}
        return news(self.tell("state", State(id="nongye", at=self.at, state=colour, why=why, points=points,
                                             bad={"sonar": "silent"})))

    def event(self, seq: int, what: str, subject: str = "nongye") -> list[Publish]:
        samples = {"press": ((120.0, 3.0), (60.0, 9.0), (0.0, 16.5)), "sonar": ()}
        return self.tell("event", Event(seq=seq, gateway="gw-1", at=self.at, what=what, subject=subject,
                                        detail="yellow", urgent=True,
                                        samples=samples if what == "flood-suspected" else None))

    def look(self) -> list[SpotNews]:
        return news(self.spots.look(self.now_us, WALL + self.now_us, self.fleet))


def news(out: list[Publish]) -> list[SpotNews]:
    assert all(p.retain == ("/spot/" in p.topic) for p in out)
    return [wire.decode(SpotNews, p.payload) for p in out if "/spot/" in p.topic]


@pytest.fixture
def centre() -> Centre:
    return Centre()


def test_a_spot_is_unknown_until_its_gateway_says_more(centre: Centre) -> None:
    (spot,) = spots(centre.fleet)
    assert (spot.colour, spot.why) == ("UNKNOWN", "never told")
    assert centre.out[0].topic == "siren/1/h/zz/spot/gw-1/nongye"
    (said,) = centre.state("YELLOW", 17.0)
    assert (said.colour, said.level_cm, said.to_red_s, said.area) == ("YELLOW", 17.0, 60, "41/01/05/001/001")


def test_what_a_gateway_said_that_is_gone_is_not_passed_on_as_true(centre: Centre) -> None:
    centre.state("DRY", 0.0)
    centre.now_us = SILENT_US + S
    centre.fleet.handle(centre.now_us, Woken())
    (said,) = centre.look()
    assert (said.colour, said.level_cm, said.to_red_s) == ("UNKNOWN", None, None)
    assert "said DRY" in said.why
    centre.fleet.handle(centre.now_us, Broker(False, "gone"))
    assert spots(centre.fleet)[0].why == "no broker"


def test_a_level_is_told_when_it_moved_and_now_and_then_while_wet(centre: Centre) -> None:
    assert len(centre.state("YELLOW", 17.0)) == 1
    assert centre.state("YELLOW", 18.5) == []
    assert len(centre.state("YELLOW", 19.5)) == 1
    assert len(centre.state("RED", 19.6)) == 1
    assert len(centre.state("RED", None)) == 1
    centre.now_us += AGAIN_US
    assert len(centre.look()) == 1
    assert centre.look() == []
    centre.state("DRY", 0.0)
    centre.now_us += AGAIN_US
    assert centre.look() == []


def test_events_of_a_spot_are_passed_on_once_with_their_evidence(centre: Centre) -> None:
    (said,) = centre.event(1, "flood-suspected")
    assert said.topic == "siren/1/h/zz/flood/gw-1/nongye"
    assert wire.decode(Event, said.payload).samples == {"press": ((120.0, 3.0), (60.0, 9.0), (0.0, 16.5)), "sonar": ()}
    assert centre.event(1, "flood-suspected") == [], "the same again, because somebody asked for it"
    assert len(centre.event(2, "gauge-bad", "nongye.sonar")) == 1
    assert centre.event(3, "device-silent", "relay-1") == []


def test_what_was_told_before_its_gateway_was_known_is_passed_on_afterwards(centre: Centre) -> None:
    """A broker gives a hub that comes back what it kept before what is retained: a flood that began meanwhile."""
    (card,) = centre.fleet.gateways.values()
    birth = card.birth
    assert birth is not None
    del centre.fleet.gateways["gw-1"]
    centre.spots = Spots("zz")
    assert centre.event(1, "flood-suspected") == []
    assert centre.event(2, "device-silent", "relay-1") == []
    assert [p.topic for p in centre.tell("birth", birth) if not p.retain] == ["siren/1/h/zz/flood/gw-1/nongye"]
    assert [p for p in centre.tell("birth", birth) if not p.retain] == []
    assert len(centre.event(3, "flood-confirmed")) == 1


def test_the_book_keeps_each_event_once_and_tells_the_newest(centre: Centre, tmp_path: Path) -> None:
    book = tmp_path / "run/floods.db"
    centre.event(1, "flood-suspected")
    centre.now_us += S
    centre.event(2, "link-down", "line-1")
    centre.event(3, "gauge-bad", "nongye.sonar")
    told = [h for h in centre.fleet.events if of_spot(centre.fleet, h.gateway, h.event)]
    for _ in range(2):
        floodbook.remember(book, told)
    assert floodbook.recall(book, None, 30) == told
    assert [h.event.seq for h in floodbook.recall(book, "nongye", 1)] == [3]
    assert floodbook.recall(book, "elsewhere", 30) == []


def test_what_an_officer_sees(centre: Centre) -> None:
    centre.state("YELLOW", 17.4, "sonar is silent")
    head, below = flood.shown(spots(centre.fleet)[0])
    assert "黄 yellow" in head
    assert "17 cm" in head
    assert "red in 60 s" in head
    assert "农业路下穿  [yellow 15 red 40]" in below
    assert "sonar (ultrasonic) silent!" in below
    centre.event(1, "flood-suspected")
    said = flood.told(centre.fleet.events[-1])
    assert "疑似积水 flood-suspected" in said[0]
    assert "press" in said[1]
    assert "3 → 16.5" in said[1]
    assert len(said) == 2, "a gauge that told nothing has no line"
    assert flood.strip([0, 5, 10]) == "▁▄█"
    assert flood.strip([-3.0, 0.0]) == "▁▆"


@pytest.mark.parametrize("level", [pytest.param(10**400, id="400 digits"), -1e300, 1e9 + 1, "a", True])
def test_a_figure_that_is_none_is_not_shown_or_passed_on(centre: Centre, level: float | str | bool) -> None:
    """One gateway's retained number ended the hub, and with it every operator's command, a stop among them."""
    state = State(id="nongye", at=centre.at, state="RED", points={"level_cm": level, "to_red_s": level,
                                                                  "rise_cm_min": level})
    (said,) = news(centre.tell("state", state))
    assert (said.colour, said.level_cm, said.to_red_s) == ("RED", None, None)
    assert "cm" not in flood.shown(spots(centre.fleet)[0])[0]


def test_evidence_of_any_size_is_shown_as_bars() -> None:
    assert flood.strip([-1.7e308, 0.0, 1.7e308]) == "▁▄█"


def test_an_event_that_cannot_be_read_hides_no_other(centre: Centre, tmp_path: Path) -> None:
    book = tmp_path / "floods.db"
    centre.event(1, "flood-suspected")
    floodbook.remember(book, centre.fleet.events)
    with closing(sqlite3.connect(book)) as db, db:
        db.execute("INSERT INTO event SELECT gateway, 2, at, spot, replace(body, '16.5', 'null') FROM event")
        db.execute("INSERT INTO event SELECT gateway, 3, at, spot, '{' FROM event WHERE seq = 1")
    assert floodbook.recall(book, None, 30) == list(centre.fleet.events)


def test_the_spot_that_is_meant() -> None:
    centre = Centre()
    known = spots(centre.fleet)
    assert flood.meant(known, "nongye") is known[0]
    assert flood.meant(known, "gw-1/nongye") is known[0]
    with pytest.raises(BadDocument, match="no such spot; gw-1/nongye"):
        flood.meant(known, "nowhere")
    with pytest.raises(BadDocument, match="say which"):
        flood.meant([known[0], known[0]], "nongye")


def test_the_news_are_json_that_others_can_read(centre: Centre) -> None:
    centre.state("RED", 41.0)
    said = json.loads(centre.out[-1].payload)
    assert said == {"v": 1, "gateway": "gw-1", "spot": "nongye", "name": "农业路下穿", "area": "41/01/05/001/001",
                    "at": centre.at, "colour": "RED", "why": "", "level_cm": 41.0, "to_red_s": 60.0,
                    "depths": {"yellow": 15, "red": 40}}


def test_what_a_gateway_says_once_more_answers_nothing_new() -> None:
    """An inhibit that was refused was reported as done, by the word on the one before, which somebody had asked for."""
    def said(seq: int, what: str, gateway: str = "gw-1") -> Happened:
        return Happened(gateway, Event(seq=seq, gateway=gateway, at=wire.to_text(WALL), what=what, subject="nongye"))

    again, other = said(7, "alarm-shelved"), said(10, "alarm-shelved", "gw-2")
    assert flood.answer([again, other], "gw-1", 8, "alarm-shelved") is None
    refused = said(9, "shelf-refused")
    assert flood.answer([again, other, said(10, "alarm-shelved"), refused], "gw-1", 8, "alarm-shelved") == refused.event
    assert flood.answer([again], "gw-1", None, "alarm-shelved") == again.event
