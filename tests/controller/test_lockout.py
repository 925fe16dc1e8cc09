"""The lock-out by tag and key: who hangs a tag, who takes it off, and what is none."""

from typing import Any

import pytest

from controller.event import Append, Ask, Lock, Notice
from controller.lockout import TAGS_LIMIT, Lockout
from firmware_bridge.machine import S
from tests.controller.bench_lockout import PEOPLE, Cabinet, answers, copy, newest, of, told


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
