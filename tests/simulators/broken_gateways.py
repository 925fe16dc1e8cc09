"""Gateways that break one promise each: what each checker must catch.

A name stands for a mistake that somebody could make, and is done by putting one thing in the place of another. The
seeds are those, found by trying the first two hundred, in which the mistake shows at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from controller import (
    agenda,
    alarm,
    evidence,
    intake,
    isolator,
    ledger,
    notices,
    orders,
    panel,
    regime,
    rule,
    session,
    site,
    sounding,
    tickets,
    trust,
    vote,
)
from controller import siren as siren_module
from controller.event import BrokerUp
from controller.succession import Succession
from controller.wire import Action, Evidence, Mode, Stage
from firmware_bridge import modbus
from firmware_bridge.machine import MS, S, Woken
from hub import clone, fleet

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Broken:
    """`breaks` is the promise that must be seen broken in one of `seeds`."""

    breaks: str
    seeds: tuple[int, ...]
    make: Callable[[Patch], None]


def believes_everything(patch: Patch) -> None:
    def check(order: Any, listed: Any, wall_us: int | None) -> trust.Signed:
        return trust.Signed(order.body, order.raw, tuple(listed.keys.items())[:2])

    patch.setattr(trust, "check", check)


def one_person_is_enough(patch: Patch) -> None:
    table = dict(trust.ROLE_TABLE)
    table[Action.SOUND, Mode.LIVE] = table[Action.SOUND, Mode.DRILL]
    patch.setattr(trust, "ROLE_TABLE", table)


def forgets_ids(patch: Patch) -> None:
    def add(self: ledger.Ledger, entry: ledger.Entry) -> None:
        self._entries[entry.id] = self._open[entry.id] = entry

    def knows(self: agenda.Agenda, activation: str) -> bool:
        return False

    patch.setattr(orders.Orders, "_known", lambda self, order, client: False)
    patch.setattr(ledger.Ledger, "add", add)
    patch.setattr(agenda.Agenda, "knows", knows)


def waits_for_no_disk(patch: Patch) -> None:
    accept = orders.Orders._accept

    def at_once(self: orders.Orders, *args: Any) -> None:
        accept(self, *args)
        for entry in [e for e in self._waiting.values() if e.awaits_disk]:
            self._go(entry)

    patch.setattr(orders.Orders, "_accept", at_once)


def looks_at_no_clock(patch: Patch) -> None:
    patch.setattr(intake, "untimely", lambda order, wall_us, error_us: None)
    place = sounding.Sounding.place

    def placed(self: sounding.Sounding, *args: Any) -> None:
        self.order = replace(self.order, expires_wall_us=None)
        place(self, *args)

    patch.setattr(sounding.Sounding, "place", placed)


def sounds_all_it_has(patch: Patch) -> None:
    accept = site.Site.accept

    def all_of_them(self: site.Site, *args: Any) -> Any:
        return accept(self, *args).model_copy(update={"sirens": tuple(self._sirens)})

    patch.setattr(site.Site, "accept", all_of_them)


def ends_a_minute_late(patch: Patch) -> None:
    edges_us = sounding.Sounding.edges_us

    def late(self: sounding.Sounding, n: int) -> tuple[int, int]:
        on_us, off_us = edges_us(self, n)
        return on_us, off_us + 60 * S

    patch.setattr(sounding.Sounding, "edges_us", late)
    patch.setattr(sounding.Sounding, "limit_us", property(lambda self: self.start_us + 3600 * S))


def hears_no_stop(patch: Patch) -> None:
    patch.setattr(siren_module.Siren, "_stop", lambda self, now_us, stop: None)


def takes_its_time(patch: Patch) -> None:
    place = sounding.Sounding.place

    def later(self: sounding.Sounding, now_us: int, *args: Any) -> None:
        fresh = self.start_us is None
        place(self, now_us, *args)
        if fresh and self.order.start_wall_us is None and self.start_us is not None:
            self.start_us += 3 * S

    patch.setattr(sounding.Sounding, "place", later)


def keeps_no_time(patch: Patch) -> None:
    edges_us = sounding.Sounding.edges_us

    def late(self: sounding.Sounding, n: int) -> tuple[int, int]:
        on_us, off_us = edges_us(self, n)
        return on_us + n * 400 * MS, off_us

    patch.setattr(sounding.Sounding, "edges_us", late)


def the_last_one_wins(patch: Patch) -> None:
    patch.setattr(sounding.Sounding, "outranks", lambda self, other: True)
    patch.setattr(ledger.Ledger, "outranked", lambda self, accept, siren, wall_us: False)


def knows_no_lock(patch: Patch) -> None:
    patch.setattr(isolator.Isolator, "locked", property(lambda self: False))


def takes_commands_for_proof(patch: Patch) -> None:
    def all_sensed(self: evidence.Tally) -> Evidence:
        return Evidence(phases=self._phases, commanded=self._phases, sensed=self._phases, independent=True)

    patch.setattr(evidence.Tally, "evidence", property(all_sensed))


def says_it_twice(patch: Patch) -> None:
    end = orders.Orders._end

    def twice(self: orders.Orders, entry: Any, siren: str, stage: Stage, *args: Any) -> None:
        end(self, entry, siren, stage, *args)
        if stage is Stage.STOPPED:
            self._answer(entry, siren, stage, "again")

    patch.setattr(orders.Orders, "_end", twice)


def calls_it_a_drill(patch: Patch) -> None:
    receipt = orders.answers.receipt

    def told(gateway: str, order: str, siren: str, stage: Stage, reason: str, mode: Any, *args: Any) -> Any:
        return receipt(gateway, order, siren, stage, reason, Mode.DRILL if mode else mode, *args)

    patch.setattr(orders.answers, "receipt", told)


def lets_others_speak(patch: Patch) -> None:
    take = notices.Notices.take
    patch.setattr(notices.Notices, "take",
                  lambda self, now_us, notice: None if notice.what == "foreign-master" else take(self, now_us, notice))


def forgets_its_list(patch: Patch) -> None:
    made = Succession.__init__

    def from_the_file(self: Succession, deployment: Any, pinned: Any, file: Any, records: Any) -> None:
        made(self, deployment, pinned, file, ())

    patch.setattr(Succession, "__init__", from_the_file)


def leaves_holes(patch: Patch) -> None:
    say = session.Session._say

    def skipping(self: session.Session, message: Any, out: Any) -> None:
        self._outbox.last_seq += self._outbox.last_seq % 7 == 6
        say(self, message, out)

    patch.setattr(session.Session, "_say", skipping)


def forgets_no_action(patch: Patch) -> None:
    back = tickets.Tickets.back

    def kept(self: tickets.Tickets, what: Any) -> Any:
        found = self._actions.get(what.token)
        out = back(self, what)
        if found is not None:
            self._actions[what.token] = found
        return out

    patch.setattr(tickets.Tickets, "back", kept)


def stays_away(patch: Patch) -> None:
    handle = session.Session.handle

    def once(self: session.Session, now_us: int, event: Any) -> Any:
        back = isinstance(event, BrokerUp) and self._offline_us is not None
        return handle(self, now_us, Woken() if back else event)

    patch.setattr(session.Session, "handle", once)


def flips(patch: Patch) -> None:
    request_pdu = modbus.request_pdu

    def flip(request: Any) -> bytes:
        pdu = request_pdu(request)
        return pdu[:3] + b"\x55\x00" if pdu[0] == 5 and pdu[3:] == b"\x00\x00" else pdu

    # What is kept of requests by others must not come in here, nor stay behind.
    patch.setattr(modbus, "rtu_request", modbus.rtu_request.__wrapped__)
    patch.setattr(modbus, "request_pdu", flip)


def knows_no_regime(patch: Patch) -> None:
    """SAFE-MIN and a lost journal are nothing to it."""
    patch.setattr(regime.Regime, "refuses", lambda self, accept: None)


def sees_no_clone(patch: Patch) -> None:
    """Of a hub, as the next one is: the mistakes here that are not a gateway's."""
    patch.setattr(clone.Identity, "_sign", lambda self, now_us, one, other: None)


def knows_events_by_number(patch: Patch) -> None:
    """A journal that was lost is followed by one that counts anew, and what that tells was told before."""
    patch.setattr(fleet.Happened, "__eq__", lambda one, other:
                  (one.gateway, one.event.seq) == (other.gateway, other.event.seq))


def tells_a_state_once(patch: Patch) -> None:
    patch.setattr(panel.Panel, "_differs", lambda self, one, other: False)


def trusts_every_gauge(patch: Patch) -> None:
    patch.setattr(vote.Vote, "confirmed", lambda self, at_cm, release_cm:
                  alarm.Says.HIGH if self._for(at_cm) else vote.Vote.suspected(self, at_cm, release_cm))


def lets_go_at_once(patch: Patch) -> None:
    made = alarm.Alarm.__init__

    def hasty(self: alarm.Alarm, id: str, on_delay_us: int, off_delay_us: int, latch: bool = False) -> None:
        made(self, id, on_delay_us, S, latch)

    patch.setattr(alarm.Alarm, "__init__", hasty)


def knows_no_rest(patch: Patch) -> None:
    """It asks again and again while the water stands, each time under another name."""
    sirens = rule.Rule._sirens

    def again(self: rule.Rule, now_us: int, loud: Any) -> None:
        if self.flood.asked and self.flood.siren_wall_us is not None and self._cool_us is not None \
                and now_us > self._cool_us - self._cool_down_us + 10 * S:
            self.flood = rule.Flood(self.flood.id + "x")
            self._cool_us = None
        sirens(self, now_us, loud)

    patch.setattr(rule.Rule, "_sirens", again)


BROKEN: dict[str, Broken] = {
    "believes everything": Broken("NO-UNAUTH", (15,), believes_everything),
    "one person is enough": Broken("TWO-PERSON", (15,), one_person_is_enough),
    "forgets ids": Broken("AT-MOST-ONCE", (140,), forgets_ids),
    "waits for no disk": Broken("JOURNAL-FIRST", (158,), waits_for_no_disk),
    "looks at no clock": Broken("FRESH", (123,), looks_at_no_clock),
    "sounds all it has": Broken("SCOPE", (25,), sounds_all_it_has),
    "ends a minute late": Broken("BOUNDED-ON", (31,), ends_a_minute_late),
    "hears no stop": Broken("STOP-WINS", (176,), hears_no_stop),
    "takes its time": Broken("LIVENESS", (42,), takes_its_time),
    "keeps no time": Broken("GOLDEN", (42,), keeps_no_time),
    "the last one wins": Broken("PRIORITY", (39,), the_last_one_wins),
    "knows no lock": Broken("ISOLATION", (2,), knows_no_lock),
    "takes commands for proof": Broken("HONEST", (47,), takes_commands_for_proof),
    "says it twice": Broken("ANSWERED", (176,), says_it_twice),
    "calls it a drill": Broken("DRILL≠LIVE", (31,), calls_it_a_drill),
    "lets others speak": Broken("SINGLE-MASTER", (4,), lets_others_speak),
    "forgets its list": Broken("MONOTONE-TRUST", (1,), forgets_its_list),
    "leaves holes": Broken("AUDIT", (15,), leaves_holes),
    "forgets no action": Broken("BOUNDED", (15,), forgets_no_action),
    "stays away": Broken("RECOVER", (25,), stays_away),
    "knows no regime": Broken("NO-UNAUTH", (95,), knows_no_regime),
    "sees no clone": Broken("RECOVER", (60,), sees_no_clone),
    "tells a state once": Broken("RECOVER", (0,), tells_a_state_once),
    "knows events by number": Broken("RECOVER", (22,), knows_events_by_number),
    "trusts every gauge": Broken("VOTE", (147,), trusts_every_gauge),
    "lets go at once": Broken("NO-FLAP", (9,), lets_go_at_once),
    "knows no rest": Broken("NO-FLAP", (9,), knows_no_rest),
    "flips": Broken("WRITE-SHAPE", (15,), flips),
}
