"""The lock-out and its two places on the disk: what a disk that fails leaves locked, and what a restart finds again."""

from pathlib import Path

from controller import beside
from controller.event import Append, Record, Turned
from controller.journal import Journal
from controller.lockout import BESIDE, PATIENCE_US, RETRY_US
from firmware_bridge.machine import S, Woken
from tests.controller.bench_lockout import Cabinet, answers, copy, newest, of, told


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
