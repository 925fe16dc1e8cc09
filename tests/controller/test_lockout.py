"""The lock-out by tag and key: the machine alone, and in whole gateways against simulated hardware."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controller import beside, config, wire
from controller.agenda import LOCKED
from controller.conduct import State as Conduct
from controller.event import (
    Append,
    AppendFailed,
    Ask,
    Clock,
    Durable,
    Lock,
    Notice,
    Publish,
    Record,
    Stop,
    Trust,
    Turned,
)
from controller.journal import Journal
from controller.lockout import BESIDE, PATIENCE_US, RETRY_US, TAGS_LIMIT, Lockout
from controller.wire import Action, Event, Mode, Receipt, Stage
from firmware_bridge.machine import S, Woken
from firmware_bridge.reading import NoValue, Quality, Reading, Took
from simulators import site
from simulators.world import Station, World
from tests.controller.bench_siren import T0, Field
from tests.controller.test_gateway import CONFIGS, DEMO, TRUST, City

WALL = wire.to_wall_us("2026-11-22T08:00:00.000Z")
PEOPLE = {"li": "Li Ming", "wang": "Wang Fang"}
COMMANDERS = {"zhou": "Zhou Ping"}


@dataclass
class Cabinet:
    """A lock-out with a technician's hands and a disk that answers when it is told to."""

    records: list[Record] = field(default_factory=list)
    now: int = 100 * S

    def __post_init__(self) -> None:
        self.lockout = Lockout(("s-1", "s-2"), PEOPLE, COMMANDERS)
        self.lockout.restore(self.records)
        self.out: list[Any] = self.do(Clock(WALL, 0, Trust.TRUSTED))

    def do(self, event: Any, after_s: float = 0) -> list[Any]:
        self.now += round(after_s * S)
        out = self.lockout.handle(self.now, event)
        deadline = self.lockout.deadline
        assert deadline is None or deadline > self.now
        return out

    def ask(self, verb: str, user: str = "li", siren: object = "s-1", reason: object = "horn",
            **more: Any) -> list[Any]:
        return self.do(Ask(7, 1000, user, verb, {"siren": siren, "reason": reason} | more))

    def kept(self, out: list[Any]) -> list[Any]:
        """The disk has what `out` gave it."""
        self.records += [a.record for a in out if isinstance(a, Append)]
        return [e for a in out if isinstance(a, Append) for e in self.do(Durable(a.token))]

    def lost(self, out: list[Any]) -> list[Any]:
        return [e for a in out if isinstance(a, Append) for e in self.do(AppendFailed(a.token, "disk full"))]

    def locked(self, siren: str = "s-1") -> bool:
        return bool(self.lockout.why(siren))

    def again(self, *records: Record) -> "Cabinet":
        return Cabinet(list(records))


def of(kind: type[Any], out: list[Any]) -> list[Any]:
    return [e for e in out if isinstance(e, kind)]


def answers(out: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(p.payload) for p in of(Publish, out)]


def told(out: list[Any]) -> list[tuple[str, str]]:
    return [(n.what, n.subject) for n in of(Notice, out)]


def newest(cabinet: Cabinet) -> Record:
    return cabinet.records[-1]


def copy(record: Record) -> Record:
    """The same in the file beside the journal."""
    return Record(BESIDE, record.body)


def test_a_tag_locks_at_once_and_is_acknowledged_when_the_disk_has_it() -> None:
    c = Cabinet()
    out = c.ask("tag", reason="换喇叭 new horn")
    (lock,) = of(Lock, out)
    assert lock.siren == "s-1"
    assert lock.tags == "tagged by Li Ming since 2026-11-22T08:00:00.000Z: 换喇叭 new horn"
    assert told(out) == [("tagged", "s-1")]
    assert answers(out) == []
    (answer,) = answers(c.kept(out))
    assert answer["last"] is True
    assert "error" not in answer
    (tag,) = answer["sirens"]["s-1"]["tags"]
    assert (tag["person"], tag["since"], tag["reason"]) == ("Li Ming", "2026-11-22T08:00:00.000Z", "换喇叭 new horn")
    assert not c.locked("s-2")


def test_it_comes_off_when_the_disk_has_that() -> None:
    c = Cabinet()
    c.kept(c.ask("tag"))
    out = c.ask("untag")
    assert of(Lock, out) == []
    assert c.locked()
    out = c.kept(out)
    assert of(Lock, out) == [Lock("s-1", "")]
    assert told(out) == [("untagged", "s-1")]
    assert not c.locked()
    assert not c.again(newest(c), copy(newest(c))).locked()


def test_only_who_hung_it_takes_it_off() -> None:
    c = Cabinet()
    c.kept(c.ask("tag"))
    for user, more in (("wang", {}), ("wang", {"override": True}), ("zhou", {}), ("root", {"override": True})):
        out = c.ask("untag", user, **more)
        assert of(Append, out) == []
        assert "error" in answers(out)[0]
    assert c.locked()
    out = c.ask("untag", "wang")
    assert "Li Ming" in answers(out)[0]["error"]
    assert told(out) == [("local-refused", "wang")]


def test_a_commander_at_the_cabinet_overrides_with_a_reason_and_it_is_told() -> None:
    c = Cabinet()
    c.kept(c.ask("tag"))
    c.kept(c.ask("tag", "wang"))
    assert "error" in answers(c.ask("untag", "zhou", reason="", override=True))[0]
    out = c.kept(c.ask("untag", "zhou", reason="both at home", override=True))
    notices = of(Notice, out)
    assert {(n.what, n.detail, n.urgent) for n in notices} == {
        ("tag-overridden", f"{who}'s tag, by Zhou Ping: both at home", True) for who in PEOPLE.values()}
    assert not c.locked()


def test_each_hangs_his_own_and_the_last_one_off_frees() -> None:
    c = Cabinet()
    c.kept(c.ask("tag", siren="all"))
    c.kept(c.ask("tag", "wang"))
    (lock,) = of(Lock, c.kept(c.ask("untag", "li")))
    assert "Wang Fang" in lock.tags
    assert "Li Ming" not in lock.tags
    assert c.locked("s-1")
    assert c.locked("s-2")
    c.kept(c.ask("untag", "wang"))
    assert not c.locked("s-1")
    c.kept(c.ask("untag", siren="all"))
    assert not c.locked("s-2")


def test_the_same_tag_again_is_the_same_tag() -> None:
    c = Cabinet()
    c.kept(c.ask("tag"))
    out = c.ask("tag", reason="another word")
    assert told(out) == []
    (answer,) = answers(c.kept(out))
    (tag,) = answer["sirens"]["s-1"]["tags"]
    assert tag["reason"] == "horn"


@pytest.mark.parametrize("ask", [
    {"user": "nobody"}, {"siren": "s-9"}, {"siren": None}, {"siren": ["s-1"]}, {"reason": ""}, {"reason": "   "},
    {"reason": None}, {"reason": "x" * 61},
])
def test_what_is_no_tag_is_refused_and_locks_nothing(ask: dict[str, Any]) -> None:
    c = Cabinet()
    out = c.ask("tag", **ask)
    assert (of(Append, out), of(Lock, out)) == ([], [])
    (answer,) = answers(out)
    assert " / " in answer["error"]
    assert not c.locked()


def test_only_so_many_hang() -> None:
    sirens = [f"s-{n}" for n in range(TAGS_LIMIT + 1)]
    lockout = Lockout(sirens, PEOPLE, {})
    for siren in sirens[:-1]:
        lockout.handle(S, Ask(7, 1000, "li", "tag", {"siren": siren, "reason": "x" * 60}))
    out = lockout.handle(S, Ask(7, 1000, "li", "tag", {"siren": sirens[-1], "reason": "x"}))
    assert of(Lock, out) == []
    assert "error" in answers(out)[0]


def test_a_disk_that_refuses_does_not_unlock_and_is_said() -> None:
    c = Cabinet()
    out = c.ask("tag")
    (answer,) = answers(c.lost(out))
    assert "disk full" in answer["error"]
    assert c.locked()
    # It is tried again until the disk has it.
    out = c.do(Woken(), after_s=RETRY_US / S)
    c.kept(out)
    assert c.again(newest(c)).locked()


def test_a_disk_that_refuses_an_untag_leaves_it_locked() -> None:
    c = Cabinet()
    c.kept(c.ask("tag"))
    out = c.lost(c.ask("untag"))
    assert "disk full" in answers(out)[0]["error"]
    assert told(out) == []
    assert c.locked()
    # One of the two places may have had the book without it: it is written with it again.
    (append,) = of(Append, c.do(Woken(), after_s=RETRY_US / S))
    assert len(append.record.body["tags"]) == 1


def test_a_disk_that_hangs_is_not_waited_for_for_ever() -> None:
    c = Cabinet()
    c.ask("tag")
    (answer,) = answers(c.do(Woken(), after_s=PATIENCE_US / S))
    assert "error" in answer
    assert c.locked()


def test_taken_off_before_the_disk_had_it_waits_for_the_book_without_it() -> None:
    c = Cabinet()
    hung, off = c.ask("tag"), c.ask("untag")
    c.kept(hung)
    assert c.locked()
    c.kept(off)
    assert not c.locked()


def test_a_restart_finds_it_in_the_journal_in_the_file_or_in_both() -> None:
    c = Cabinet()
    c.kept(c.ask("tag"))
    with_tag = newest(c)
    c.kept(c.ask("untag"))
    without = newest(c)
    # Restored from before it was hung; lost and begun anew; restored from before it was taken off: one is enough.
    for records in ([with_tag], [copy(with_tag)], [without, copy(with_tag)], [with_tag, copy(without)]):
        again = c.again(*records)
        assert again.locked(), records
        # ... and the two are made to agree at once.
        (append,) = of(Append, again.out)
        assert len(append.record.body["tags"]) == 1
    assert not c.again(without, copy(without)).locked()
    assert not c.again(with_tag, without, copy(without)).locked()
    assert of(Append, c.again(without, copy(without)).out) == []


def test_a_book_of_another_version_does_not_hide_the_other() -> None:
    c = Cabinet()
    c.kept(c.ask("tag"))
    assert c.again(newest(c), Record(BESIDE, {"v": 2})).locked()
    assert c.again(Record("lock", {"tags": 3}), copy(newest(c))).locked()


def test_what_the_key_read_last_is_known_after_a_restart_and_a_chattering_one_does_not_fill_the_disk() -> None:
    c = Cabinet()
    out = [e for n in range(1000) for e in c.do(Turned("s-1", n % 2 == 0), after_s=0.02)]
    out += c.do(Turned("s-1", True))
    out += c.do(Woken(), after_s=RETRY_US / S)
    assert len(of(Append, out)) <= 1 + 30 * S // RETRY_US
    c.kept(out)
    again = c.again(newest(c), copy(newest(c)))
    assert again.lockout.key("s-1")
    assert not again.locked(), "a key is no tag"


# A siren that is locked out.


def test_a_tag_ends_what_sounds_and_refuses_what_comes_and_stop_still_works() -> None:
    f = Field().run(T0)
    f.live("all-clear")
    f.run(T0 + 5 * S)
    assert f.out.on
    f.siren_told(Lock("s-1", "tagged by Li Ming"))
    f.run(T0 + 6 * S)
    assert not f.out.on
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "isolated")
    f.live(id="o-2")
    assert (f.end("o-2").stage, f.end("o-2").reason) == (Stage.REJECTED, "isolated")
    assert "isolated; tagged by Li Ming" in f.shown[-1].why
    writes = len(f.writes)
    f.stop()
    f.run(T0 + 8 * S)
    assert [b.action for _, b in f.writes[writes:]] == ["cancel"]
    f.siren_told(Lock("s-1", ""))
    f.live(id="o-3")
    f.run(T0 + 10 * S)
    assert f.out.on


def test_what_was_armed_is_answered_at_its_time_and_not_before() -> None:
    f = Field().run(T0)
    f.clock()
    f.live(start_us=T0 + 60 * S)
    f.live(start_us=T0 + 120 * S, id="o-2")
    f.siren_told(Lock("s-1", "tagged by Li Ming"))
    f.run(T0 + 50 * S)
    assert f.stages() == f.stages("o-2") == ["trouble"]
    assert f.told[-1].reason == LOCKED
    f.run(T0 + 70 * S)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "isolated")
    assert f.writes == []
    f.siren_told(Lock("s-1", ""))
    f.run(T0 + 125 * S)
    assert f.out.on, "the next one sounds, once the tag is off"


def test_what_comes_for_later_waits_for_its_instant_and_is_looked_at_then() -> None:
    """It was refused at once, though the key was back long before."""
    f = Field(isolated=True).run(T0)
    f.clock()
    f.live(start_us=T0 + 60 * S)
    f.live(start_us=T0 + 300 * S, id="o-2")
    f.live(start_us=T0 + 600 * S, id="o-3")
    f.order(start_us=T0 + 900 * S, id="o-4")
    assert [(p.stage, p.reason) for p in f.told] == [(Stage.TROUBLE, LOCKED)] * 4
    assert f.shown[-1].state == Conduct.ARMED
    f.siren_told(Stop("s-1", "Zhang Min", "stop", "o-3"))
    assert f.end("o-3").stage is Stage.STOPPED
    f.run(T0 + 100 * S)
    assert (f.end().stage, f.end().reason) == (Stage.FAILED, "isolated")
    f.isolated = False
    f.run(T0 + 305 * S)
    assert f.out.on
    f.run(T0 + 500 * S)
    f.isolated = True
    f.run(T0 + 600 * S)
    assert f.stages("o-4") == ["trouble"], "it is told once"
    f.siren_told(Stop("s-1", "Zhang Min", "stop"))
    assert f.end("o-4").stage is Stage.STOPPED
    f.live(id="o-5")
    assert (f.end("o-5").stage, f.end("o-5").reason) == (Stage.REJECTED, "isolated"), "what is for now is refused now"


def test_the_key_and_the_tag_are_two_locks() -> None:
    f = Field(isolated=True).run(T0)
    f.siren_told(Lock("s-1", "tagged by Li Ming"))
    f.isolated = False
    f.run(T0 + S)
    f.live()
    assert f.end().reason == "isolated"
    f.isolated = True
    f.run(T0 + 2 * S)
    f.siren_told(Lock("s-1", ""))
    f.live(id="o-2")
    assert f.end("o-2").reason == "isolated"


def test_a_key_that_was_locked_before_a_restart_and_cannot_be_read_holds() -> None:
    f = Field(polled=False)
    f.siren.isolator.restore("", True)
    f.live()
    assert f.end().reason == "isolated"
    f.siren_told(Took("panel", (Reading("panel", "locked", None, Quality.BAD, f.now, NoValue.SILENT),)))
    f.live(id="o-2")
    assert f.end("o-2").reason == "isolated"
    f.siren_told(Took("panel", (Reading("panel", "locked", False, Quality.GOOD, f.now),)))
    f.live(id="o-3")
    f.run(f.now + 2 * S)
    assert f.out.on


# Whole gateways.


def people(one: config.Config) -> config.Config:
    local = one.spec.local.model_copy(update={"technicians": PEOPLE, "commanders": COMMANDERS})
    return dataclasses.replace(one, spec=one.spec.model_copy(update={"local": local}))


@pytest.fixture
def city() -> City:
    out = City()
    out.world = World(site.load(DEMO / "site.toml"), [people(c) for c in CONFIGS], TRUST)
    out.world.run(8)
    return out


def ask(city: City, verb: str, user: str = "li", siren: str = "s-102", **more: object) -> list[dict[str, Any]]:
    station = city.station("gw-jinshui")
    before = len(station.published)
    city.world.tell(station, Ask(7, 1000, user, verb, {"siren": siren, "reason": "horn"} | more))
    city.world.run(0.5)
    return [json.loads(p.payload) for _, p in station.published[before:] if p.client == 7]


def sounds(city: City) -> bool:
    return bool(city.world.field.sounding()["relay-1", 2])


def state(station: Station, siren: str) -> wire.State:
    said = [p.payload for _, p in station.published if p.topic.endswith(f"/{siren}/state")]
    return wire.decode(wire.State, said[-1])


def live(city: City, area: str = "41/01/05") -> Any:
    return city.order(area=area, name="all-clear", mode=Mode.LIVE, signers=("operator-1", "commander"))


def test_no_order_and_no_restart_sounds_a_tagged_siren(city: City) -> None:
    (answer,) = ask(city, "tag")
    assert "error" not in answer
    order = live(city)
    city.world.run(5)
    assert city.ends(order)["s-102"] == (Stage.REJECTED, "isolated")
    assert city.world.field.sounding()["relay-1", 1], "its neighbour sounds"
    assert state(city.station("gw-jinshui"), "s-102").why.startswith("isolated; tagged by Li Ming since ")
    for _ in range(2):
        city.world.restart("gw-jinshui", away_s=1)
        city.world.run(10)
        order = live(city)
        city.world.run(3)
        assert city.ends(order)["s-102"] == (Stage.REJECTED, "isolated")
        assert not sounds(city)
    (answer,) = ask(city, "untag")
    assert answer["sirens"]["s-102"]["tags"] == []
    live(city)
    city.world.run(3)
    assert sounds(city)


def test_a_warning_for_later_sounds_if_the_tag_is_off_by_then(city: City) -> None:
    ask(city, "tag")
    one, two = (city.order(area="41/01/05", name="all-clear", mode=Mode.LIVE, start_in_s=start_s,
                           signers=("operator-1", "commander")) for start_s in (30, 250))
    city.world.run(2)
    for order in (one, two):
        said = [(r.stage, r.reason) for r in city.receipts() if (r.order, r.siren) == (order.body.id, "s-102")]
        assert said == [(Stage.ACCEPTED, ""), (Stage.TROUBLE, LOCKED)]
    city.world.run(40)
    assert not sounds(city)
    assert city.ends(one)["s-102"] == (Stage.FAILED, "isolated")
    ask(city, "untag")
    city.world.run(215)
    assert sounds(city)
    city.world.run(200)
    assert city.ends(two)["s-102"][0] is Stage.FINISHED
    assert city.breaches() == {}


def test_a_tag_ends_a_warning_that_sounds_and_it_does_not_come_back_with_a_restart(city: City) -> None:
    order = live(city)
    city.world.run(5)
    assert sounds(city)
    ask(city, "tag")
    city.world.run(2)
    assert not sounds(city)
    city.world.restart("gw-jinshui", away_s=1)
    city.world.run(20)
    assert not sounds(city)
    city.world.run(180)
    assert city.ends(order)["s-102"] == (Stage.FAILED, "isolated")
    assert city.ends(order)["s-101"][0] is Stage.FINISHED


def test_what_is_shown_and_told_of_it(city: City) -> None:
    ask(city, "tag")
    status = ask(city, "status")[-1]
    locks = status["sirens"]["s-102"]["locks"]
    assert locks["key"] is False
    assert [(t["person"], t["reason"]) for t in locks["tags"]] == [("Li Ming", "horn")]
    assert locks["tags"][0]["since"].startswith("2026-09-18T")
    ask(city, "untag")
    told = [(e.what, e.subject, e.detail) for e in city.events("gw-jinshui") if "tag" in e.what]
    assert told == [("tagged", "s-102", "Li Ming: horn"), ("untagged", "s-102", "Li Ming: horn")]


def test_a_stop_of_a_tagged_siren_is_done_and_answered(city: City) -> None:
    live(city)
    city.world.run(5)
    ask(city, "tag")
    stop = city.order(Action.STOP, None, area="41/01/05", signers=("commander",), mode=Mode.LIVE)
    city.world.run(5)
    assert city.ends(stop)["s-102"][0] is Stage.FINISHED
    assert ask(city, "stop", "nobody", siren="all")[-1]["last"] is True


def test_only_a_local_word_reaches_it(city: City) -> None:
    ask(city, "tag")
    record = next(r for _, r in reversed(city.station("gw-jinshui").records) if r.kind == "lock")
    assert record.body["tags"][0]["person"] == "Li Ming"
    for topic in (wire.gateway_topic("gw-jinshui", False), wire.gateway_topic("gw-jinshui", True),
                  wire.again_topic("gw-jinshui")):
        city.world.order(json.dumps({"verb": "untag", "siren": "s-102"}).encode(), topic)
    city.world.run(2)
    assert city.station("gw-jinshui").gateway.sirens["s-102"].isolator.locked
    assert city.station("gw-jinshui").gateway.sirens["s-102"].state is Conduct.IDLE
    assert [r.kind for _, r in city.station("gw-jinshui").records].count("lock") == 1
    assert all(isinstance(r, Receipt) for r in city.receipts())
    assert all(isinstance(e, Event) for e in city.events("gw-jinshui"))


# The two places on the disk.


def test_the_newest_book_stands_beside_the_journal_and_outlives_it(tmp_path: Path) -> None:
    place = tmp_path / "gw.db"
    c = Cabinet()
    c.kept(c.ask("tag"))
    book = newest(c)

    def opened() -> tuple[Journal, list[Record], str]:
        journal = Journal(place)
        why = journal.open().why
        return journal, journal.load(), why

    journal, records, why = opened()
    assert (records, why) == ([], "")
    said: list[str | None] = []
    journal.append(Record("event", {"n": 1}), said.append)
    journal.append(book, said.append)
    journal.close()
    assert said == [None, None]
    older = place.read_bytes()
    journal, records, why = opened()
    assert [r.kind for r in records] == ["event", "lock", "lock-beside"]
    assert records[1].body == records[2].body == book.body
    journal.append(Record("lock", {"v": 1, "tags": [], "keys": []}), said.append)
    journal.close()
    # The journal is restored from its older copy: the tag in it hangs again, for it is one of the two.
    for ending in ("-wal", "-shm"):
        place.with_name(place.name + ending).unlink(missing_ok=True)
    place.write_bytes(older)
    journal, records, why = opened()
    assert c.again(*records).locked()
    journal.append(book, said.append)
    journal.close()
    # ... and it is lost altogether: the file has it.
    place.write_bytes(b"rubbish" * 1000)
    journal, records, why = opened()
    journal.close()
    assert "put aside" in why
    assert c.again(*records).locked()


def test_a_file_that_was_altered_is_named_and_the_journal_decides(tmp_path: Path) -> None:
    place = tmp_path / "gw.db"
    assert beside.write(beside.place(place, ".locks"), '{"v": 1}') is None
    assert beside.read(beside.place(place, ".locks")) == ({"v": 1}, "")
    for wrong in (b"", b"\0" * 100, b"\xff\xfe", beside.place(place, ".locks").read_bytes().replace(b"1}", b"2}")):
        beside.place(place, ".locks").write_bytes(wrong)
        found, why = beside.read(beside.place(place, ".locks"))
        assert found is None
        assert str(beside.place(place, ".locks")) in why


def test_a_file_that_cannot_be_written_is_an_answer(tmp_path: Path) -> None:
    place = tmp_path / "gw.db"
    beside.place(place, ".locks").mkdir()
    journal = Journal(place)
    assert "locks" in journal.open().why
    said: list[str | None] = []
    journal.append(Record("event", {"n": 1}), said.append)
    journal.append(Record("lock", {"v": 1}), said.append)
    journal.close()
    assert said[0] is None
    assert "locks" in str(said[1])
