"""The profile's `setup`: what a board must be told before it can be trusted, and told again."""

from pathlib import Path

from firmware_bridge.event import Begin, Ended, LinkDown, LinkUp, Outcome, Silent, Table, Transaction, Write
from firmware_bridge.machine import S
from tests.firmware_bridge.bench_device import Bench, profile_of

BOARD = """
channels = 2
[points]
relay = { at = "coil:0", channels = 2, poll_ms = 1000, write = "level" }
watchdog_s = { at = "holding:8", write = "level" }
[output]
class = "A"
state = "relay"
watchdog_s = 5
[actions]
activate = [{ set = "relay", to = true, edge = true }]
cancel = [{ set = "relay", to = false, edge = true }]
setup = [{ set = "watchdog_s", to = 5 }, { expect = "watchdog_s", is = 5, within_ms = 500 }]
"""


def setups(bench: Bench) -> int:
    return sum(t.request == Write(Table.HOLDING, 8, (5,)) for t in bench.writes())


def test_it_runs_at_the_first_answer_after_each_return_and_daily(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, BOARD)).link_up()
    bench.run(2 * S)
    assert setups(bench) == 1
    bench.run(23 * 3600 * S)
    assert setups(bench) == 1
    bench.run(3600 * S)
    assert setups(bench) == 2
    dead = True
    bench.fault = lambda _: Silent() if dead else None
    bench.run(10 * S)
    dead = False
    bench.run(10 * S)
    assert setups(bench) == 3
    bench.tell(LinkDown("bus", "pulled"))
    bench.tell(LinkUp("bus"))
    bench.run(5 * S)
    assert setups(bench) == 4
    assert all(ended.done for ended in bench.all(Ended))


def test_one_that_does_not_hold_is_told_and_tried_again(tmp_path: Path) -> None:
    def forgets(transaction: Transaction) -> Outcome | None:
        bench.memory[Table.HOLDING, 8] = 0
        return None

    bench = Bench(profile_of(tmp_path, BOARD))
    bench.fault = forgets
    bench.link_up()
    bench.run(30 * S)
    (ended,) = bench.all(Ended)
    assert (ended.action, ended.done) == ("setup", False)
    assert "watchdog_s" in ended.why
    bench.run(60 * S)
    assert len(bench.all(Ended)) == 2


def test_an_order_neither_ends_it_nor_waits_for_it(tmp_path: Path) -> None:
    bench = Bench(profile_of(tmp_path, BOARD)).link_up()
    bench.run(1)
    bench.tell(Begin("dev", "activate", 7, channel=1))
    bench.run(2 * S)
    assert {(e.action, e.done) for e in bench.all(Ended)} == {("setup", True), ("activate", True)}
