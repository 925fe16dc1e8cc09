"""Which list rules: none before it is on the disk, none that is older, through restarts, lost files and lost disks."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import admission, beside
from controller.admission import ListReason, SignedList
from controller.event import Append, AppendFailed, Arrived, Ask, Durable, Notice, Publish, Record, Trusted
from controller.journal import Journal
from controller.roots import Roots
from controller.succession import AGAIN_US, CHECKS, File, Succession
from firmware_bridge.errors import BadDocument, Problem
from firmware_bridge.machine import S, Woken
from tests.ceremony import DEPLOYMENT, LI, NEW_ROOTS, OLD_ROOTS, PERSONS, WANG, entry, listed, plain, roots, signed

TOPIC = "siren/1/o/41/trust"
GONE = (Problem("trust.json", "file", "missing", "create it, or mend the path"),)
A, B, _ = OLD_ROOTS
X, Y, _ = NEW_ROOTS
ROTATED = signed(plain(8, holders=NEW_ROOTS), A, B, X, Y)


class House:
    """A succession with a disk of its own, which answers when it is told to."""

    def __init__(self, file: File, disk: list[Record] | None = None, pins: Roots | None = None) -> None:
        self.disk: list[Record] = disk if disk is not None else []
        self.now = 10 * S
        self.said: list[Any] = []
        self.machine = Succession(DEPLOYMENT, pins or roots(), file, list(self.disk))
        self.do(Woken())

    def do(self, event: Any, after_s: float = 0.0) -> list[Any]:
        self.now += round(after_s * S)
        out = self.machine.handle(self.now, event)
        assert self.machine.deadline is None or self.machine.deadline > self.now
        self.said += out
        return out

    def disk_answers(self) -> list[Any]:
        """The newest append is on the disk, in the journal and beside it."""
        append = [e for e in self.said if isinstance(e, Append)][-1]
        self.disk += [append.record, Record(f"{append.record.kind}-beside", append.record.body)]
        return self.do(Durable(append.token))

    def comes(self, data: bytes) -> list[Any]:
        return self.do(Arrived(TOPIC, data))

    def brought(self, data: bytes, client: int = 5) -> list[Any]:
        return self.do(Ask(client, 1000, "pi", "trust", {"text": data.decode()}))

    def again(self, file: File, pins: Roots | None = None) -> "House":
        """After a restart."""
        return House(file, self.disk, pins)

    @property
    def rules(self) -> int:
        return self.machine.ruling.version


def settled(version: int = 7) -> House:
    house = House(listed(version))
    house.disk_answers()
    return house


def notices(out: list[Any]) -> list[tuple[str, str]]:
    return [(n.what, str(n.subject)) for n in out if isinstance(n, Notice)]


def appends(out: list[Any]) -> list[Record]:
    return [a.record for a in out if isinstance(a, Append)]


def answers(out: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(p.payload) for p in out if isinstance(p, Publish)]


# The start.


def test_the_first_list_rules_at_once_and_is_written_down() -> None:
    house = House(listed(3))
    assert house.rules == 3
    (record,) = appends(house.said)
    assert (record.kind, record.body["version"], record.body["list"]) == ("trust", 3, listed(3).text)
    assert house.disk_answers() == []
    assert house.machine.deadline is None


def by_new_roots(version: int) -> SignedList:
    return admission.admit(signed(plain(version, holders=NEW_ROOTS), X, Y), None, None)


@pytest.mark.parametrize(("file", "key"), [
    (listed(3, deployment="city"), "deployment"), (GONE, "file"), (by_new_roots(3), "signatures"),
])
def test_without_any_list_nothing_starts(file: File, key: str) -> None:
    with pytest.raises(BadDocument) as bad:
        Succession(DEPLOYMENT, roots(), file, [])
    assert [p.key for p in bad.value.problems] == [key]


@pytest.mark.parametrize("file", [listed(6), listed(1), GONE, listed(7, keys={LI["kid"]: entry(LI, "commander")}),
                                  listed(9, deployment="city")])
def test_after_a_restart_nothing_but_a_newer_file_changes_anything(file: File) -> None:
    house = settled(7).again(file)
    assert house.rules == 7
    assert appends(house.said) == []
    ((what, _),) = notices(house.said)
    assert what == "trust-refused"


def test_a_file_that_is_gone_is_told_at_once() -> None:
    (notice,) = [e for e in settled(7).again(GONE).said if isinstance(e, Notice)]
    assert (notice.what, notice.subject, notice.urgent) == ("trust-refused", "file", True)


def test_the_same_file_is_no_news() -> None:
    house = settled(7).again(listed(7))
    assert (house.rules, house.said) == (7, [])
    assert house.machine.deadline is None


def test_a_newer_file_rules_when_it_is_on_the_disk() -> None:
    house = settled(7).again(listed(8))
    assert house.rules == 7
    out = house.disk_answers()
    assert house.rules == 8
    assert [type(e) for e in out] == [Trusted, Notice]
    assert house.again(listed(7)).rules == 8


@pytest.mark.parametrize("lost", ["trust", "trust-beside"])
def test_one_copy_is_enough_and_the_other_is_written_anew(lost: str) -> None:
    house = settled(7)
    house.disk[:] = [r for r in house.disk if r.kind != lost]
    back = house.again(listed(1))
    assert back.rules == 7
    assert [r.body["version"] for r in appends(back.said)] == [7]
    assert back.disk_answers() == []


def test_the_newest_of_both_copies_rules() -> None:
    house = settled(7)
    newer = settled(9)
    house.disk.append(next(r for r in newer.disk if r.kind == "trust-beside"))
    assert house.again(GONE).rules == 9
    older = settled(5)
    house.disk.append(next(r for r in older.disk if r.kind == "trust-beside"))
    assert house.again(GONE).rules == 9


@pytest.mark.parametrize("body", [
    {"version": 9, "list": "no list"}, {"version": 9}, {"version": 9, "list": json.dumps(plain(9))},
    {"version": 9, "list": signed(plain(9), A).decode()},
])
def test_a_record_that_is_damaged_is_told_of_and_passed_over(body: dict[str, Any]) -> None:
    house = settled(7)
    house.disk.append(Record("trust", body))
    back = house.again(listed(1))
    assert back.rules == 7
    (lost,) = [n for n in back.said if isinstance(n, Notice) and n.what == "trust-record-lost"]
    assert (lost.subject, lost.urgent) == ("9", True)


def test_records_of_other_kinds_versions_and_installations_are_no_lists() -> None:
    elsewhere = listed(99, deployment="city")
    house = settled(7)
    house.disk += [Record("accept", {"version": 50}), Record("trust", {"version": "x"}), Record("trust", {}),
                   Record("trust", {"version": 99, "list": elsewhere.text})]
    back = house.again(listed(7))
    assert (back.rules, back.said) == (7, [])


# Lists that come.


def test_a_newer_list_rules_when_it_is_on_the_disk_and_not_before() -> None:
    house = settled(7)
    out = house.comes(signed(plain(8, keys={k: v for k, v in PERSONS.items() if k != LI["kid"]})))
    assert [type(e) for e in out] == [Append]
    assert house.rules == 7
    out = house.disk_answers()
    assert house.rules == 8
    (trusted,) = [e for e in out if isinstance(e, Trusted)]
    assert set(trusted.trust.keys) == set(PERSONS) - {LI["kid"]}
    (notice,) = [e for e in out if isinstance(e, Notice)]
    assert (notice.what, notice.subject, notice.urgent) == ("trust-list", "8", True)
    assert "removed: li" in notice.detail


def test_what_a_new_list_changes_is_told() -> None:
    house = settled(7)
    house.comes(signed(plain(8, holders=NEW_ROOTS, keys={WANG["kid"]: entry(WANG, "operator")}), A, B, X, Y))
    out = house.disk_answers()
    assert [n for n in notices(out) if n[0] == "trust-warning"]
    told = next(e for e in out if isinstance(e, Notice) and e.what == "trust-list")
    assert "other roots" in told.detail
    house.comes(signed(plain(9, holders=NEW_ROOTS), X, Y))
    told = next(e for e in house.disk_answers() if isinstance(e, Notice) and e.what == "trust-list")
    assert "new: li, zhang" in told.detail
    assert notices(house.again(GONE).said) == [("trust-refused", "file")]


REFUSED = [
    (signed(plain(6)), ListReason.OLDER, False),
    (signed(plain(8), A), ListReason.TOO_FEW_ROOTS, True),
    (signed(plain(7, keys={LI["kid"]: entry(LI, "commander")})), ListReason.FORK, True),
    (signed(plain(8, holders=NEW_ROOTS), A, B), ListReason.TOO_FEW_NEW_ROOTS, True),
    (json.dumps(plain(8)).encode(), ListReason.UNSIGNED, False),
    (b"rubbish", ListReason.MALFORMED, False),
    (signed(plain(8, deployment="city")), ListReason.WRONG_DEPLOYMENT, False),
]


@pytest.mark.parametrize(("data", "reason", "urgent"), REFUSED, ids=[r for _, r, _ in REFUSED])
def test_every_refusal_has_its_reason_and_an_event(data: bytes, reason: ListReason, urgent: bool) -> None:
    house = settled(7)
    (notice,) = house.comes(data)
    assert (notice.what, notice.subject, notice.urgent) == ("trust-refused", reason, urgent)
    assert TOPIC in notice.detail
    notice, line = house.brought(data)
    assert (notice.what, notice.subject) == ("trust-refused", reason)
    answer = json.loads(line.payload)
    assert (answer["trust"], answer["reason"], answer["version"], answer["last"]) == ("refused", reason, 7, True)
    assert house.rules == 7


def test_what_rules_already_is_passed_over_in_silence() -> None:
    house = settled(7)
    assert house.comes(listed(7).text.encode()) == []
    assert house.comes(b"") == []
    (answer,) = answers(house.brought(listed(7).text.encode()))
    assert (answer["trust"], answer["version"]) == ("known", 7)


def test_two_lists_one_behind_the_other() -> None:
    house = settled(7)
    first = house.comes(signed(plain(8)))[0]
    second = house.comes(signed(plain(9)))[0]
    (notice,) = house.comes(signed(plain(8, keys={LI["kid"]: entry(LI, "operator")})))
    assert notice.subject == ListReason.OLDER, "what was let in counts, though it does not rule yet"
    assert house.do(Durable(first.token)) == []
    assert house.rules == 7
    house.do(Durable(second.token))
    assert house.rules == 9
    assert house.do(Durable(first.token)) == []


def test_roots_change_hands() -> None:
    house = settled(7)
    house.comes(ROTATED)
    house.disk_answers()
    (notice,) = house.comes(signed(plain(9)))
    assert notice.subject == ListReason.TOO_FEW_ROOTS
    # Through a restart, though gateway.toml pins the old ones still; by the file as well.
    back = house.again(listed(7))
    assert back.rules == 8
    assert notices(house.again(listed(9)).said) == [("trust-refused", ListReason.TOO_FEW_ROOTS)]
    (notice,) = back.comes(signed(plain(9)))
    assert notice.subject == ListReason.TOO_FEW_ROOTS
    back.comes(signed(plain(9, holders=NEW_ROOTS), X, Y))
    back.disk_answers()
    assert back.rules == 9
    assert back.again(GONE).rules == 9


def test_whoever_lost_the_roots_pins_others_and_signs_a_higher_version() -> None:
    new = roots(NEW_ROOTS)
    house = settled(7).again(by_new_roots(8), pins=new)
    house.disk_answers()
    assert house.rules == 8
    assert notices(settled(7).again(by_new_roots(6), pins=new).said) == [
        ("trust-roots-differ", "7"), ("trust-refused", ListReason.OLDER)]
    # Without the change of pins nothing of it is let in.
    assert settled(7).again(by_new_roots(8)).rules == 7


def test_an_old_gateway_toml_put_back_does_not_stop_a_gateway() -> None:
    new = roots(NEW_ROOTS)
    house = House(by_new_roots(8), pins=new)
    house.disk_answers()
    back = house.again(listed(7))
    assert back.rules == 8
    assert ("trust-roots-differ", "8") in notices(back.said)
    assert [n.urgent for n in back.said if isinstance(n, Notice) and n.what == "trust-roots-differ"] == [True]


# The disk.


def test_a_disk_that_refuses_is_told_of_once_and_tried_again() -> None:
    house = settled(7)
    house.brought(signed(plain(8)))
    append = [e for e in house.said if isinstance(e, Append)][-1]
    out = house.do(AppendFailed(append.token, "disk full"))
    assert notices(out) == [("trust-refused", ListReason.NO_JOURNAL)]
    (answer,) = answers(out)
    assert (answer["trust"], answer["reason"], answer["detail"]) == ("refused", ListReason.NO_JOURNAL, "disk full")
    assert house.rules == 7
    for _ in range(3):
        (append,) = house.do(Woken(), after_s=AGAIN_US / S)
        assert house.do(AppendFailed(append.token, "disk full")) == []
    house.comes(signed(plain(8)))
    out = house.do(Woken(), after_s=AGAIN_US / S)
    house.brought(signed(plain(8)))
    out = house.disk_answers()
    assert house.rules == 8
    assert [a["trust"] for a in answers(out)] == ["accepted"]


def test_how_long_a_disk_is_waited_for_and_when_it_is_tried_again() -> None:
    house = settled(7)
    (append,) = house.comes(signed(plain(8)))
    assert house.machine.deadline == house.now + 5 * S
    house.do(AppendFailed(append.token, "disk full"), after_s=1)
    assert house.machine.deadline == house.now + 10 * S


def test_who_brought_a_list_is_told_once_that_it_rules() -> None:
    house = settled(7)
    house.brought(signed(plain(8)))
    assert [a["trust"] for a in answers(house.disk_answers())] == ["accepted"]
    house.comes(signed(plain(9)))
    assert answers(house.disk_answers()) == []


def test_a_newer_list_while_the_disk_refuses_is_given_to_it_at_once() -> None:
    house = settled(7)
    (append,) = house.comes(signed(plain(8)))
    house.do(AppendFailed(append.token, "disk full"))
    (append,) = house.comes(signed(plain(9)))
    house.do(Durable(append.token))
    assert house.rules == 9


def test_a_disk_that_hangs_is_told_of_and_not_given_one_more_for_ever() -> None:
    house = settled(7)
    house.brought(signed(plain(8)))
    out = house.do(Woken(), after_s=6)
    assert notices(out) == [("trust-refused", ListReason.NO_JOURNAL)]
    assert [a["trust"] for a in answers(out)] == ["refused"]
    assert house.machine.deadline is None
    house.disk_answers()
    assert house.rules == 8


def test_without_a_disk_the_first_list_rules_all_the_same() -> None:
    house = House(listed(3))
    out = house.do(Woken(), after_s=6)
    (notice,) = [e for e in out if isinstance(e, Notice)]
    assert (notice.subject, notice.urgent) == (ListReason.NO_JOURNAL, False)
    assert house.rules == 3


# Floods.


def test_a_flood_at_one_door_is_bounded_and_leaves_the_other_open() -> None:
    house = settled(7)
    reasons = [notices(house.comes(b"rubbish %d" % n))[0][1] for n in range(50)]
    assert reasons == [ListReason.MALFORMED] * CHECKS + [ListReason.BUSY] * (50 - CHECKS)
    assert [a["trust"] for a in answers(house.brought(listed(7).text.encode()))] == ["known"]
    house.do(Woken(), after_s=2)
    assert notices(house.comes(b"rubbish")) == [("trust-refused", ListReason.MALFORMED)]


def test_eight_lists_at_once_and_one_a_second_thereafter() -> None:
    house = settled(7)

    def looked_at(lists: int) -> int:
        return sum(notices(house.comes(b"rubbish")) != [("trust-refused", ListReason.BUSY)] for _ in range(lists))

    assert looked_at(20) == 8
    house.now += S
    assert looked_at(5) == 1
    house.now += 100 * S
    assert looked_at(20) == 8


def test_a_question_without_a_text_is_refused() -> None:
    house = settled(7)
    out = house.do(Ask(5, 1000, "pi", "trust", {}))
    assert [a["reason"] for a in answers(out)] == [ListReason.MALFORMED]
    assert house.do(Arrived(TOPIC, b"x", client=4)) == []


# Any order of events.


STEP = st.one_of(
    st.tuples(st.just("list"), st.integers(1, 12), st.integers(1, 3)),
    st.tuples(st.sampled_from(["durable", "failed", "wake", "restart", "old file"]), st.just(0), st.just(0)),
)


@settings(deadline=None, max_examples=120)
@given(st.lists(STEP, max_size=25))
def test_trust_never_goes_back_whatever_happens(steps: list[tuple[str, int, int]]) -> None:
    house = House(listed(1))
    house.disk_answers()
    floor = 1
    open_ = [e for e in house.said if isinstance(e, Append)][1:]
    for what, version, holders in steps:
        out: list[Any] = []
        match what:
            case "list":
                out = house.comes(signed(plain(version), *OLD_ROOTS[:holders]))
            case "durable" if open_:
                record = open_[0].record
                house.disk += [record, Record("trust-beside", record.body)]
                out = house.do(Durable(open_.pop(0).token))
            case "failed" if open_:
                out = house.do(AppendFailed(open_.pop(0).token, "no"))
            case "wake":
                out = house.do(Woken(), after_s=11)
            case "restart" | "old file":
                # What was under way may have come to the disk or not; here it did not.
                house = house.again(GONE if what == "restart" else listed(1))
                open_, out = [], house.said
        open_ += [e for e in out if isinstance(e, Append)]
        assert house.rules >= floor, (what, house.rules, floor)
        floor = house.rules


# A real journal.


class Disk:
    """The machine on a journal's file."""

    def __init__(self, place: Path, file: File) -> None:
        self.journal = Journal(place)
        self.opened = self.journal.open()
        self.machine = Succession(DEPLOYMENT, roots(), file, self.journal.load())
        self.do(Woken())

    def do(self, event: Any) -> list[Any]:
        out = list(self.machine.handle(S, event))
        for append in [e for e in out if isinstance(e, Append)]:
            done: list[str | None] = []
            self.journal.append(append.record, done.append)
            self.journal.close()
            self.journal.open()
            out += self.do(Durable(append.token) if done == [None] else AppendFailed(append.token, str(done)))
        return out

    def close(self) -> int:
        self.journal.close()
        return self.machine.ruling.version


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "gw.db"
    disk = Disk(place, listed(1))
    disk.do(Arrived(TOPIC, signed(plain(7))))
    assert disk.close() == 7
    return place


def test_the_list_outlives_the_process(place: Path) -> None:
    assert Disk(place, listed(1)).close() == 7
    assert Disk(place, GONE).close() == 7


@pytest.mark.parametrize("lost", ["journal", "beside"])
def test_it_outlives_one_of_its_two_files(place: Path, lost: str) -> None:
    if lost == "beside":
        beside.place(place, ".trust").unlink()
    else:
        for file in place.parent.glob("gw.db*"):
            if not file.name.endswith(".trust"):
                file.unlink()
    assert Disk(place, listed(1)).close() == 7
    # And both are there again.
    beside.place(place, ".trust").unlink()
    assert Disk(place, listed(1)).close() == 7


def test_it_outlives_a_journal_that_is_all_zeros_or_rubbish(place: Path) -> None:
    rng = random.Random(7)
    for wreck in (b"\0" * 8192, rng.randbytes(8192), b""):
        place.write_bytes(wreck)
        for tail in ("-wal", "-shm"):
            place.with_name(place.name + tail).unlink(missing_ok=True)
        assert Disk(place, listed(1)).close() == 7


def test_a_damaged_file_beside_changes_nothing(place: Path) -> None:
    copy = beside.place(place, ".trust")
    copy.write_bytes(copy.read_bytes().replace(b'"version":7', b'"version":9'))
    disk = Disk(place, listed(1))
    assert "is not what was written" in disk.opened.why
    assert disk.close() == 7


def test_an_old_copy_of_the_journal_put_back_is_overruled_by_the_file_beside(tmp_path: Path) -> None:
    place = tmp_path / "gw.db"
    assert Disk(place, listed(3)).close() == 3
    old = place.read_bytes()
    disk = Disk(place, listed(3))
    disk.do(Arrived(TOPIC, signed(plain(7))))
    disk.close()
    place.write_bytes(old)
    for tail in ("-wal", "-shm"):
        place.with_name(place.name + tail).unlink(missing_ok=True)
    assert Disk(place, listed(3)).close() == 7


def test_the_largest_list_fits_into_the_journal(tmp_path: Path) -> None:
    big = signed(plain(7), *OLD_ROOTS)
    pad = admission.MAX_LIST_BYTES - len(big)
    disk = Disk(tmp_path / "gw.db", listed(1))
    disk.do(Arrived(TOPIC, big + b" " * pad))
    assert disk.close() == 7
    assert Disk(tmp_path / "gw.db", listed(1)).close() == 7
