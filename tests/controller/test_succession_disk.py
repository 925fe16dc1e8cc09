"""A disk that refuses a list or hangs over it: that is told once, and it is tried again."""

from controller.admission import ListReason
from controller.event import Append, AppendFailed, Durable, Notice
from controller.succession import AGAIN_US
from firmware_bridge.machine import S, Woken
from tests.ceremony import listed, plain, signed
from tests.controller.bench_succession import House, answers, notices, settled


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
