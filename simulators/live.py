"""A scenario lived from its first second to its last: a world is made, its steps are done, and all is written down.

When the minute is over everything is made well, and the place has two minutes to be in order again with no human;
then the judges get the history. A crash of a machine is a breach like any other. It refuses to know what is right
(`promises/`) and what is drawn (`scenario.py`).
"""

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from bench import office
from bench.forge import Forger
from bench.office import Desk, Order
from controller import wire
from controller.conduct import State as SirenState
from controller.config import Config, Drive
from controller.event import Trust
from controller.ledger import KNOWN_LIMIT
from controller.outbox import LINES_LIMIT
from firmware_bridge import queue
from firmware_bridge.device import State as DeviceState
from firmware_bridge.machine import MS, S
from firmware_bridge.modbus import rtu_frame
from simulators import hamlet, lowland, promises
from simulators.chronicle import Chronicle
from simulators.disk import DISK_US, Health
from simulators.faults import ALL, Fault
from simulators.field import SetPoint, ToLine
from simulators.lowland import Lowland
from simulators.net import Net
from simulators.promises.facts import NEVER_US, Trouble
from simulators.promises.history import HELD, History
from simulators.scenario import BUSY_S, Scenario, Step
from simulators.storm import Storm
from simulators.technician import Technician
from simulators.world import BEGIN_US, Post, Timepiece, World

HEAL_S = 120
"""RECOVER: everything is in order again so soon."""
LOOK_S = 4.0
"""How often it is looked at whether it is."""
QUIET_S = 4.0
"""What follows when all is in order: late answers, and an output that should stay off."""
BOOT_US = 8 * S
"""A process that was started so long ago has read its outputs."""
SLOW_DISK_US = 150 * MS
"""A card that erases a block."""
FOREIGN = rtu_frame(33, bytes([4, 0, 0, 0, 1]))
"""What another master says: it reads a unit that is not there."""
FOREIGN_US = 2 * S
"""... and how often."""
AT_REST = 8
"""What may be under way then: a health record, an off that is said once more."""
CLONE_US = 3 * S
"""A copied card takes the connection back so often."""
CRASHED = "3 crashes in 300 s"
FORGED = 4
"""Forged orders in one step."""


@dataclass
class Lived:
    """What came of a scenario."""

    breaches: dict[str, list[str]]
    hash: str
    """Of everything that happened, in order: the same seed gives the same."""
    history: History | None
    """None: it ended in a crash."""
    counts: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)


class Life:
    """One scenario, alive."""

    def __init__(self, scenario: Scenario, watch: bool) -> None:
        self._scenario = scenario
        self._plan, configs = hamlet.build(scenario.place)
        self._configs = configs
        self._chronicle = Chronicle(configs, watch)
        self._desk = Desk(hamlet.signals(), f"{scenario.seed & 0xFFFFFF:06x}", configs)
        self._sent: list[Order] = []
        self._open: dict[int, Callable[[], None]] = {}
        """How each thing that is wrong now ends, by its step."""
        self._keys: Counter[str] = Counter()
        """How many people keep a siren's isolator locked."""
        self._clones: dict[int, int] = {}
        """How often a copied card was heard, by its step."""
        self._minimal: dict[str, int] = {}
        """Gateways in SAFE-MIN, and by which step."""
        self._diskless: dict[str, int] = {}
        """Gateways whose disk takes nothing, and since when."""
        self._net: Net
        chance = Random(scenario.seed ^ 0x5EED)

        def post(world: World) -> Post:
            self._net = Net(world, chance, office.trusted(), office.DEPLOYMENT, office.PROVINCE, hamlet.signals())
            self._net.add_hub()
            return self._net

        self._world = World(self._plan, configs, office.trusted(), post, lambda: Timepiece(trust=Trust.TRUSTED),
                            self._chronicle.hears, lowland.policy(scenario.place, configs))
        self._technician = Technician(self._world, self._chronicle)
        self._lowland = Lowland(scenario, self._world, self._net, configs, self._chronicle)

    def run(self) -> Lived:
        chronicle, world = self._chronicle, self._world
        unwell: list[str] = []
        try:
            for n, step in enumerate(self._scenario.steps):
                world.at(BEGIN_US + round(step.at_s * S), partial(self._do, n, step))
            world.run(self._scenario.busy_s)
            self._heal()
            for _ in range(round(HEAL_S / LOOK_S)):
                world.run(LOOK_S)
                self._sample()
                unwell = list(self._unwell())
                if not unwell:
                    break
            world.run(QUIET_S)
            self._rest(unwell)
        except Exception:
            return Lived({"CRASH": [traceback.format_exc(limit=-6)]}, chronicle.hash, None, chronicle.counts,
                         chronicle.trace)
        history = chronicle.history(world, self._net.told, unwell)
        for what in (*history.contacts, *history.receipts):
            chronicle.note(str(what))
        counts = chronicle.counts
        counts["activations"] = sum(c.cause == "write" for c in history.contacts)
        counts["seconds"] = (world.now_us - BEGIN_US) // S
        counts["orders"], counts["troubles"] = len(chronicle.orders), len(chronicle.troubles)
        disks = [station.disk for station in world.stations.values()]
        counts["hits"] = world.field.damage.hits + self._net.hits + sum(disk.failed + disk.unanswered for disk in disks)
        counts["messages"], counts["requests"] = self._net.delivered, len(history.frames)
        breaches = {name: found for name, found in promises.judge(history).items() if found}
        return Lived(breaches, chronicle.hash, history, counts, chronicle.trace)

    def _do(self, n: int, step: Step) -> None:
        self._chronicle.note(f"{self._world.now_us} {step}")
        getattr(self, "_do_" + step.do)(n, step)

    def _trouble(self, n: int, step: Step, kind: str, on: str, end: Callable[[], None], share: float = 1.0) -> None:
        """It is wrong from now on, and ends as the step says, or when everything is made well."""
        since_us = self._world.wall_us

        def over() -> None:
            if self._open.pop(n, None) is not None:
                end()
                self._chronicle.troubles.append(Trouble(kind, on, since_us, self._world.wall_us, share))

        self._open[n] = over
        self._world.at(self._world.now_us + round(step.for_s * S), over)

    # Orders.

    def _do_order(self, n: int, step: Step) -> None:
        said = step.with_
        issued = self._world.wall_us - round(said["age_s"] * S)
        common: dict[str, Any] = {"id": f"{said['n']:08x}{n:024x}", "area": hamlet.AREA}
        common |= {name: said[name] for name in ("sirens", "layer") if name in said}
        if said["kind"] in ("live", "drill"):
            make = self._desk.live if said["kind"] == "live" else self._desk.drill
            order = make(issued, sound=said["sound"], in_s=said.get("in_s"), max_duration_s=said["max_s"], **common)
        elif said["kind"] == "stop":
            signers = {"commander": (office.ZHANG,), "operator": (office.LI,), "both": (office.LI, office.WANG)}
            order = self._desk.stop(issued, *signers[said["who"]], **common)
        else:
            order = self._desk.quiet(issued, **common)
        self._chronicle.orders[order.body.id] = order
        self._sent.append(order)
        if said["by"] == "hub":
            self._net.hand(order.data, order.body.id)
        else:
            self._net.say(order.topic, order.data)

    _do_late = _do_order

    def _any(self, step: Step) -> list[Order]:
        """One of those that were sent, if there are any."""
        return [self._sent[step.with_["n"] % len(self._sent)]] if self._sent else []

    def _do_again(self, n: int, step: Step) -> None:
        for order in self._any(step) * (1 + step.with_["n"] % 3):
            self._net.say(order.topic, order.data)

    def _do_retained(self, n: int, step: Step) -> None:
        for order in self._any(step):
            self._net.say(order.topic, order.data, retain=True)

    def _do_forge(self, n: int, step: Step) -> None:
        forger = Forger(Random(step.with_["n"]), self._sent or [self._desk.live(self._world.wall_us)])
        for _ in range(FORGED):
            data = forger.mutant()[1]
            self._chronicle.forged(data, self._world.wall_us)
            self._net.say(wire.order_topic(hamlet.AREA, step.with_["n"] % 5 == 0), data)

    def _do_trust(self, n: int, step: Step) -> None:
        """The roots sign a newer list, without somebody who signs nothing here."""
        keys = {kid: one for kid, one in office.SIGNERS.items() if kid != office.NARROW["kid"]}
        data = office.listed(version=office.VERSION + 1, keys=keys)
        self._net.say(wire.trust_topic(office.PROVINCE), data, retain=True)

    def _do_ask(self, n: int, step: Step) -> None:
        self._technician.asks(step.on, step.with_["verb"], step.with_["user"], dict(step.with_["args"]))

    # What is wrong.

    def _do_key(self, n: int, step: Step) -> None:
        section = next(s for c in self._configs for s in c.spec.siren if s.id == step.on)
        unit, _, point = (section.isolator or "").partition(".")
        self._keys[step.on] += 1
        self._world.do(SetPoint(unit, point, True))

        def back() -> None:
            # Who turned it first does not turn it back while another works there.
            self._keys[step.on] -= 1
            self._world.do(SetPoint(unit, point, self._keys[step.on] > 0))

        self._trouble(n, step, "key", step.on, back)

    def _do_fault(self, n: int, step: Step) -> None:
        fault = step.with_["fault"]
        self._world.inject(step.on, fault, step.with_["share"])
        self._lowland.look()
        # A reboot ends by itself.
        end = (lambda: None) if fault == Fault.REBOOT else partial(self._world.inject, step.on, fault, 0)
        self._trouble(n, step, fault, step.on, end, step.with_["share"])

    def _do_net(self, n: int, step: Step) -> None:
        what = step.with_["what"]
        self._net.trouble(what, step.on)
        self._trouble(n, step, "net", what, partial(self._net.heal, what, step.on))

    def _do_clock(self, n: int, step: Step) -> None:
        if step.on not in self._world.stations:
            return
        clock, said = self._world.stations[step.on].clock, step.with_
        clock.offset_us += round(said["step_s"] * S)
        clock.drift_ppm, clock.trust, clock.error_us = said["ppm"], Trust(said["trust"]), round(said["error_s"] * S)
        self._trouble(n, step, "clock", step.on, clock.mend)

    def _do_process(self, n: int, step: Step) -> None:
        if step.on not in self._world.stations:
            return
        said, now_us = step.with_, self._world.wall_us
        if said.get("orderly"):
            self._net.leave(step.on)
        minimal, lost = said.get("safe-min", False), said.get("lost", False)
        # A process that ends leaves SAFE-MIN to the next; a machine that boots does not.
        stays = step.on in self._minimal and not said["power"]
        self._world.restart(step.on, said["away_s"], lose_unsynced=said["power"], kept=said["kept"],
                            safe_min=CRASHED if minimal or stays else "", forgets=lost)
        if said["power"] and step.on in self._minimal:
            self._open[self._minimal[step.on]]()
        until_us = now_us + round(said["away_s"] * S) + BOOT_US
        self._chronicle.troubles.append(Trouble("process", step.on, now_us, until_us))
        if lost:
            self._chronicle.troubles.append(Trouble("lost", step.on, now_us, NEVER_US))
        if minimal and step.on not in self._minimal:
            self._minimal[step.on] = n
            self._trouble(n, step, "safe-min", step.on, partial(self._put_back, step.on))

    def _put_back(self, id: str) -> None:
        """A technician ends SAFE-MIN, if no boot did."""
        self._minimal.pop(id, None)
        self._technician.leaves_safe_min(id)

    def _do_clone(self, n: int, step: Step) -> None:
        """Somebody runs a copy of its card elsewhere: it speaks in its name, and each takes the connection over."""
        self._trouble(n, step, "clone", step.on, lambda: None)
        self._clones[n] = 0
        self._clone(n, step)

    def _clone(self, n: int, step: Step) -> None:
        if n not in self._open:
            return
        self._clones[n] += self._net.copied(step.on, self._world.wall_us)
        self._world.at(self._world.now_us + CLONE_US, partial(self._clone, n, step))

    def _do_disk(self, n: int, step: Step) -> None:
        station = self._world.stations.get(step.on)
        if station is None:
            return
        disk, how = station.disk, step.with_["how"]
        if how == "nth":
            disk.fail_at = step.with_["n"]
        elif how == "slow":
            disk.answer_us = SLOW_DISK_US
        else:
            disk.health = Health(how)
            self._diskless.setdefault(step.on, self._world.wall_us)

        def end() -> None:
            disk.answer_us = DISK_US
            if (since_us := self._diskless.pop(step.on, None)) is not None:
                self._chronicle.troubles.append(Trouble("no-disk", step.on, since_us, self._world.wall_us))
            if (there := self._world.stations.get(step.on)) is not None:
                self._world.mend_disk(there)
            else:
                disk.mend(self._world.now_us)

        self._trouble(n, step, "disk", step.on, end)

    def _do_storm(self, n: int, step: Step) -> None:
        times, levels = zip(*step.with_["rows"], strict=True)
        self._world.storm(Storm("drawn", tuple(round(t * S) for t in times), levels, (0.0,) * len(times)))

    def _do_hand(self, n: int, step: Step) -> None:
        self._lowland.hand(step.on, dict(step.with_))

    def _do_foreign(self, n: int, step: Step) -> None:
        """Somebody clamps another master to the line."""
        times = step.with_["n"]
        for k in range(times):
            self._world.at(self._world.now_us + k * FOREIGN_US,
                           partial(self._world.do, ToLine(step.on, FOREIGN, foreign=True)))
        self._chronicle.troubles.append(
            Trouble("foreign", step.on, self._world.wall_us, self._world.wall_us + times * FOREIGN_US))

    # All is well.

    def _heal(self) -> None:
        for end in list(self._open.values()):
            end()
        self._lowland.heal()
        dead = {u.id for u in self._plan.spec.unit if u.dead}
        for target in (*(n.id for n in self._plan.spec.line), *(u.id for u in self._plan.spec.unit)):
            if target not in dead:
                self._world.inject(target, ALL, 0)
        # What was retained in malice is taken away, as an operator would.
        for order in self._sent:
            self._net.say(order.topic, b"", retain=True)

    def _unwell(self) -> Iterator[str]:
        """What is not in order."""
        dead = {u.id for u in self._plan.spec.unit if u.dead}
        centre = self._net.hubs[0].centre
        for config in self._configs:
            station = self._world.stations.get(config.id)
            if station is None:
                yield f"{config.id} is down"
                continue
            gateway = station.gateway
            if gateway.safe_min.on:
                self._put_back(config.id)
            for id, siren in gateway.sirens.items():
                if siren.state is SirenState.FAULT and self._mended_by_hand(config, id):
                    self._technician.frees(config.id, id)
            yield from (f"{id} is {d.state.value}" for id, d in gateway.devices.items()
                        if id not in dead and d.state is not DeviceState.ONLINE)
            yield from (f"{id} is {s.state.value}" for id, s in gateway.sirens.items()
                        if s.state is not SirenState.IDLE)
            yield from (f"{config.id} is {mode}" for mode in gateway.session.modes)
            if gateway.session.outbox:
                yield f"{config.id} has {gateway.session.outbox} messages to tell"
            seen = centre.fleet.gateways.get(config.id)
            if seen is not None and seen.identity.pair is None and self._cloned(config.id):
                yield f"the hub does not name the clone of {config.id}"
        yield from (*self._lowland.unwell(), *self._net.misled())
        yield from (f"order {d.order.id} is not over" for d in centre.orders.values() if not d.settled)

    def _mended_by_hand(self, config: Config, id: str) -> bool:
        """Whether somebody came to mend what kept its second off-path held: a contact that was welded or closed by
        hand, or a unit of its feedback that was frozen. Only who mended that can know, for a siren without power
        tells nothing (docs/evidence.md, "What does not stop")."""
        siren = next(s for s in config.spec.siren if s.id == id)
        drive, seen = Drive.of(siren.drive), {point.partition(".")[0] for point in siren.points}
        return siren.second_off is not None and any(
            (t.kind in HELD and t.on in (siren.drive, drive.device)) or (t.kind == Fault.FROZEN and t.on in seen)
            for t in self._chronicle.troubles)

    def _cloned(self, id: str) -> bool:
        """Whether a copied card spoke several times, and could be heard: it is named within a minute, for minutes."""
        steps, since_s = self._scenario.steps, self._scenario.busy_s - BUSY_S
        return not any(s.do == "net" for s in steps) and any(
            steps[n].on == id and times > 2 and steps[n].at_s > since_s for n, times in self._clones.items())

    def _rest(self, unwell: list[str]) -> None:
        """When nothing is wrong and nothing sounds, next to nothing is under way."""
        for id, station in self._world.stations.items() if not unwell else ():
            tickets = station.gateway.tickets
            self._chronicle.samples[f"actions under way of {id} at rest"] = tickets.actions, AT_REST
            self._chronicle.samples[f"records under way of {id} at rest"] = (
                tickets.records, AT_REST + station.disk.unanswered)

    def _sample(self) -> None:
        """What must not grow without end."""
        samples = self._chronicle.samples
        for id, station in self._world.stations.items():
            gateway = station.gateway
            for name, value, limit in (
                (f"outbox of {id}", gateway.session.outbox, LINES_LIMIT),
                (f"ledger of {id}", len(gateway.orders._ledger), KNOWN_LIMIT),
                (f"records of {id} that wait for the disk", gateway.tickets.records, 2 * LINES_LIMIT),
                (f"actions under way of {id}", gateway.tickets.actions, queue.LIMIT),
                *((f"queue of {bus}", len(b.queue), queue.LIMIT) for bus, b in gateway.buses.items()),
            ):
                samples[name] = max(value, samples.get(name, (0, 0))[0]), limit


def live(scenario: Scenario, watch: bool = False) -> Lived:
    """Live it from beginning to end. `watch` keeps the trace."""
    return Life(scenario, watch).run()
