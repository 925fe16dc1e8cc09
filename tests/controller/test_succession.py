"""Which list rules: none before it is on the disk, none that is older, through restarts, lost files and lost disks."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import admission
from controller.admission import ListReason, SignedList
from controller.event import Append, AppendFailed, Arrived, Ask, Durable, Notice, Record, Trusted
from controller.succession import CHECKS, File, Succession
from firmware_bridge.errors import BadDocument
from firmware_bridge.machine import S, Woken
from tests.ceremony import DEPLOYMENT, LI, NEW_ROOTS, OLD_ROOTS, PERSONS, WANG, entry, listed, plain, roots, signed
from tests.controller.bench_succession import GONE, TOPIC, House, answers, appends, notices, settled

A, B, _ = OLD_ROOTS
X, Y, _ = NEW_ROOTS
ROTATED = signed(plain(8, holders=NEW_ROOTS), A, B, X, Y)


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
