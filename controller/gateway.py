"""The switchboard: one gateway's machines, and every way a word takes between them.

`handle` is a work list and one `match`. Inner events are routed; four kinds leave: `Send` and `Reopen` to a link,
`Append` to the journal, `Publish` to the broker or to a client of the local door. The data flow of the whole system
is that one screen. What a technician may look at is answered by `desk.py`.

It refuses to decide anything about sirens: it only knows who is to be told.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from controller import allowance, desk, strain, wiring
from controller.chain import Head
from controller.config import Config, Drive
from controller.event import (
    Activate,
    Alarmed,
    Append,
    AppendFailed,
    Arrived,
    Ask,
    Beat,
    BrokerDown,
    BrokerUp,
    Changed,
    Clock,
    Confirmed,
    Degraded,
    Durable,
    Full,
    Gone,
    Lock,
    Notice,
    Offered,
    Poisonous,
    Progress,
    Publish,
    QuietTest,
    Record,
    Say,
    SayAgain,
    Stop,
    Trust,
    Trusted,
    Turned,
)
from controller.everyone import Everyone
from controller.fault import held
from controller.floods import Floods
from controller.lockout import Lockout
from controller.orders import Orders
from controller.safe_min import SafeMin
from controller.session import Session
from controller.signers import TrustList
from controller.siren import Siren
from controller.site import Target
from controller.succession import File, Succession
from controller.tickets import Tickets
from controller.wire import BLANK_INSTANT, Birth, DeviceCard, SirenCard, SpotCard
from firmware_bridge.bus import Bus
from firmware_bridge.device import Device
from firmware_bridge.event import (
    Abort,
    Begin,
    Edged,
    Ended,
    Finished,
    Foreign,
    LinkDown,
    LinkUp,
    Presence,
    ReadNow,
    Received,
    Reopen,
    Send,
    Submit,
    Withdraw,
    WrittenLate,
)
from firmware_bridge.machine import S, Woken
from firmware_bridge.reading import Quality, Took

SHOW_US = 1 * S
"""How often a device's readings are shown to the session; it tells them on by exception."""
READS_LIMIT = 16
"""Technicians' reads under way at once."""
CLOCK_ASSUMED = "CLOCK-ASSUMED"
TO_ORDERS = frozenset({"order", "stop", "activate", "growl", "quiet-test"})
"""What a technician asks that does something; the rest are looks."""
TO_LOCKOUT = frozenset({"tag", "untag"})
"""... and what he locks out, or frees again."""
TO_SUCCESSION = "trust"
"""... and the trust list that he brings."""
TO_FLOODS = frozenset({"flood", "ack", "shelve", "unshelve", "wetcheck", "policy"})
"""... and what is of the low-lying places."""
TO_SAFE_MIN = "leave-safe-min"
"""... and the whole gateway, which he puts back to work."""

NEVER_US = 1 << 63
"""A deadline that does not come, where the first of many is looked for."""
NUMBERED = (Append, Begin, Abort)
"""What leaves a machine with a number of its own."""

Effect = Send | Reopen | Append | Publish


class _Machine(Protocol):
    @property
    def deadline(self) -> int | None: ...

    def handle(self, now_us: int, event: Any, /) -> Sequence[Any]: ...


class Gateway:
    """One gateway. `records` is what its journal holds; `session` names this run of the process.

    `file` is the trust list that gateway.toml names; BadDocument when neither it nor one in `records` may rule.
    `forgot`: it had a journal, which is lost. `safe_min`: why it is to begin in SAFE-MIN. `chance`: for its nonces.
    `policy`: what stands in the file of the flood policy; empty: there is none.
    """

    def __init__(self, config: Config, file: File, records: Sequence[Record], session: str, version: str,
                 forgot: bool = False, safe_min: str = "", chance: str = "", policy: str = "") -> None:
        spec = config.spec
        self.succession = Succession(spec.gateway.deployment, spec.trust.pinned, file, records)
        trust = self.succession.ruling.list
        self.config = config
        self.buses: dict[str, Bus] = {}
        for bus in spec.bus:
            profiles = [config.profile_of(d.id) for d in spec.device if d.bus == bus.id]
            self.buses[bus.id] = Bus(bus.id, wiring.framing(bus, profiles), wiring.in_flight(bus, profiles),
                                     broadcast=bus.broadcast)
        self.devices = {d.id: Device(d.id, d.bus, d.unit, config.profile_of(d.id)) for d in spec.device}
        self.sirens: dict[str, Siren] = {}
        for s in spec.siren:
            off = config.profile_of(Drive.of(s.second_off).device) if s.second_off else None
            others = {device: config.profile_of(device) for device in config.heard_by(s)}
            self.sirens[s.id] = Siren(s, config.profile_of(Drive.of(s.drive).device), off, others)
        targets = [Target(s.id, config.area_of(s), s.layer, s.growl_s) for s in spec.siren]
        self.orders = Orders(config.id, spec.gateway.deployment, targets, config.signals, trust,
                             spec.local.technicians, session, bool(safe_min), chance)
        self.session = Session(_birth(config, trust, session, version))
        self.safe_min = SafeMin(safe_min, self.sirens, spec.local.technicians | spec.local.commanders)
        self.lockout = Lockout(self.sirens, spec.local.technicians, spec.local.commanders)
        self.floods = Floods(config, trust, policy.encode(), records, session)
        self._doers: dict[str, _Machine] = {
            **dict.fromkeys(TO_ORDERS, self.orders), **dict.fromkeys(TO_LOCKOUT, self.lockout),
            TO_SUCCESSION: self.succession, TO_SAFE_MIN: self.safe_min, **dict.fromkeys(TO_FLOODS, self.floods)}
        self.orders.restore(records, forgot)
        self.session.restore(records)
        self.lockout.restore(records)
        sounded, began, cut = allowance.restored(records), strain.restored(records, config.signals), held(records)
        for siren in self.sirens.values():
            siren.restore(sounded.get(siren.id, ()), cut.get(siren.id), began.get(siren.id, ()))
            siren.isolator.restore(self.lockout.why(siren.id), self.lockout.key(siren.id))
        self.clock: Clock | None = None
        self._everyone = Everyone(config)
        self._on_bus = {b: [d for d in self.devices.values() if d.bus == b] for b in self.buses}
        self._hears: dict[str, list[Siren]] = {d: [] for d in self.devices}
        for s in spec.siren:
            for device in config.heard_by(s):
                self._hears[device].append(self.sirens[s.id])
        self._up: set[str] = set()
        self.tickets = Tickets()
        self._reads: dict[int, tuple[int, ReadNow]] = {}
        self._watchers: set[int] = set()
        self._recorders: dict[int, str] = {}
        self._use = desk.Use()
        self._there: dict[str, bool] = {}
        self._shown_us: dict[str, int] = {}
        self._last: dict[str, Changed] = {}
        self._beat_us: int | None = None
        self._deadline: int | None = None
        machines: list[_Machine] = [*self.buses.values(), *self.devices.values(), *self.sirens.values(), self.safe_min,
                                    self.lockout, self.succession, self.floods, self.orders, self.session]
        self._due_us = {m: NEVER_US if m.deadline is None else m.deadline for m in machines}
        """When each wants to be woken; asked anew when it was told something, not of all after every event."""

    @property
    def deadline(self) -> int | None:
        return self._deadline

    @property
    def ready(self) -> bool:
        """Every output was read, or tried twice: what this process found is known."""
        return all(siren.known for siren in self.sirens.values())

    def handle(self, now_us: int, event: object) -> list[Effect]:
        """What happens because of `event`. One screen: who hears of what."""
        out: list[Effect] = []
        work: deque[object] = deque([event])

        def tell(machine: _Machine, what: object) -> None:
            for effect in machine.handle(now_us, what):
                work.append(self.tickets.out(machine, effect) if isinstance(effect, NUMBERED) else effect)
            due_us = machine.deadline
            self._due_us[machine] = NEVER_US if due_us is None else due_us

        while work or self._wake(now_us, tell, work):
            if not work:
                continue
            here = work.popleft()
            if self._recorders:
                out += desk.recorded(self._recorders, now_us, here, self.devices)
            match here:
                case Woken():
                    pass
                # Out.
                case Send() | Reopen() | Append() | Publish() as effect:
                    out.append(effect)
                # Between bus and device.
                case (Submit(bus) | Withdraw(bus) | Received(bus) | WrittenLate(bus)) as what:
                    tell(self.buses[bus], what)
                case Foreign(bus, unit):
                    work.append(Notice("foreign-master", bus, f"somebody else asks unit {unit}", urgent=True))
                case Finished(_, transaction) as what:
                    if transaction.owner in self.devices:
                        tell(self.devices[transaction.owner], what)
                case (LinkUp(bus) | LinkDown(bus)) as what:
                    tell(self.buses[bus], what)
                    for device in self._on_bus[bus]:
                        if self._hears[device.id] or not self.safe_min.on:
                            tell(device, what)
                    self._up = self._up | {bus} if isinstance(what, LinkUp) else self._up - {bus}
                    work.extend(self._news(bus, what, "link-up", "link-down"))
                case Full() as what:
                    tell(self.orders, what)
                    for device in self.devices.values():
                        if not self._hears[device.id] and device.bus in self._up:
                            tell(device, LinkUp(device.bus))
                # Between device and siren.
                case Took(device_id) as what:
                    for siren in self._hears[device_id]:
                        tell(siren, what)
                    if device_id in self.floods.hears:
                        tell(self.floods, what)
                    if now_us - self._shown_us.get(device_id, -SHOW_US) >= SHOW_US:
                        work.append(self._shown(now_us, device_id))
                case Presence(device_id) as what:
                    for siren in self._hears[device_id]:
                        tell(siren, what)
                    if device_id in self.floods.hears:
                        tell(self.floods, what)
                    # On a line that is not open yet nobody is silent: a line that does not open is told itself.
                    if what.online or device_id in self._there or self.devices[device_id].bus in self._up:
                        work.extend(self._news(device_id, what, "device-back", "device-silent"))
                    work.append(self._shown(now_us, device_id))
                case (Begin(device_id) | Abort(device_id) | ReadNow(device_id)) as what:
                    tell(self.devices[device_id], what)
                case (Edged() | Ended()) as what if what.token in self._reads:
                    if isinstance(what, Ended):
                        work.append(self._read_answer(now_us, what))
                case Ended(device_id, _, "setup", done, why):
                    if not done:
                        work.append(Notice("setup-failed", device_id, why, urgent=True))
                case (Edged() | Ended()) as what:
                    if (back := self.tickets.back(what)) is not None:
                        tell(*back)
                # To the session.
                case (BrokerUp() | BrokerDown() | Confirmed() | Say() | SayAgain() | Beat() | Offered() | Degraded()
                      ) as what:
                    tell(self.session, what)
                    if isinstance(what, Degraded) and what.mode != CLOCK_ASSUMED:
                        name = what.mode.lower() + ("" if what.on else "-ended")
                        work.append(Notice(name, what.subject, what.why, urgent=what.on))
                case (Notice() | Changed()) as what:
                    if isinstance(what, Changed):
                        self._last[what.id] = what
                    tell(self.session, what)
                    work.extend(self._watched(what))
                # Between orders and sirens.
                case (Activate(siren_id) | Stop(siren_id) | QuietTest(siren_id) | Lock(siren_id)) as what:
                    if isinstance(what, Stop):
                        for said in self._everyone.stopped(now_us, [what, *(w for w in work if isinstance(w, Stop))]):
                            tell(self.buses[said.bus], said)
                    tell(self.sirens[siren_id], what)
                case Progress() as what:
                    tell(self.orders, what)
                    work.extend(self._watched(what))
                case Turned() as what:
                    tell(self.lockout, what)
                # To orders.
                case Alarmed() as what:
                    tell(self.orders, what)
                case Poisonous(subject, why, _, client) as what:
                    work.append(Notice("event-refused", subject, why, urgent=True))
                    tell(self.orders, what)
                    if client is not None:
                        work.append(desk.refusal(client, f"两次使程序崩溃，不再执行 / it crashed us twice: {why}"))
                case Ask(client, _, _, verb, args) as what:
                    if verb in self._doers:
                        tell(self._doers[verb], what)
                    else:
                        work.extend(self._desk(now_us, client, verb, args))
                case Arrived(topic) as what:
                    leaf = topic.rpartition("/")[2]
                    hearers_of: dict[str, _Machine] = {"again": self.session, "trust": self.succession,
                                                         "ack": self.floods, "shelf": self.floods}
                    tell(hearers_of.get(leaf, self.orders), what)
                case Trusted() as what:
                    tell(self.orders, what)
                    tell(self.session, what)
                    tell(self.floods, what)
                case Gone(client) as what:
                    self._watchers.discard(client)
                    self._recorders.pop(client, None)
                    tell(self.orders, what)
                # Journal and time.
                case Durable(token, head):
                    machine, inner = self.tickets.kept(token)
                    tell(machine, Durable(inner))
                    if head is not None:
                        work.append(head)
                case AppendFailed(token, why):
                    machine, inner = self.tickets.kept(token)
                    tell(machine, AppendFailed(inner, why))
                case Head() as what:
                    tell(self.session, what)
                case Clock() as what:
                    first, self.clock = self.clock is None, what
                    hearers: list[_Machine] = [self.session, self.lockout, self.orders, self.floods]
                    for hearer in [*hearers, *self.sirens.values()]:
                        tell(hearer, what)
                    if first:
                        work.append(Degraded(CLOCK_ASSUMED, what.trust is Trust.ASSUMED))
                case unknown:
                    raise AssertionError(f"nobody is told of {unknown!r}")
        return out

    def _wake(self, now_us: int, tell: Callable[[_Machine, object], None], work: deque[object]) -> bool:
        """Wake whoever is due, whatever the event was; False, and the next deadline, when nobody is."""
        if self._beat_us is None or self._beat_us <= now_us:
            self._beat_us = now_us + desk.BEAT_US
            self._use.note(now_us, self.buses.values())
            work.append(Beat({bus.id: desk.figures(bus) for bus in self.buses.values()}))
            return True
        if self.safe_min.on and (stops := self.safe_min.silence(s.id for s in self.sirens.values() if s.known)):
            work.extend(stops)
            return True
        first_us = min(self._due_us.values())
        if first_us > now_us:
            self._deadline = min(self._beat_us, first_us)
            return False
        for machine, due_us in self._due_us.items():
            if due_us <= now_us:
                tell(machine, Woken())
        return True

    def will(self) -> tuple[str, bytes]:
        return self.session.will()

    # What is shown.

    def _shown(self, now_us: int, device_id: str) -> Changed:
        """A device as the hub should see it."""
        self._shown_us[device_id] = now_us
        device = self.devices[device_id]
        readings = [device.reading(name, now_us) for name in device.polled]
        points = {r.point: round(r.value, 6) if isinstance(r.value, float) else r.value for r in readings}
        bad = {r.point: str(r.why) for r in readings if r.why is not None}
        bad |= {r.point: "old" for r in readings if r.quality is Quality.UNCERTAIN}
        return Changed(device_id, device.state.value, points=points, bad=bad)

    def _news(self, subject: str, what: LinkUp | LinkDown | Presence, back: str, gone: str) -> list[object]:
        """A link or device that went is told, and one that came back; that it is there at the start is no news."""
        there = isinstance(what, LinkUp) or (isinstance(what, Presence) and what.online)
        before, self._there[subject] = self._there.get(subject), there
        if there:
            return [] if before in (None, True) else [Notice(back, subject)]
        why = "" if isinstance(what, LinkUp) else what.why
        return [Notice(gone, subject, why, urgent=True)] if before is not False else []

    def _watched(self, what: Progress | Notice | Changed) -> list[object]:
        return [desk.line(client, what) for client in sorted(self._watchers)]

    def _desk(self, now_us: int, client: int, verb: str, args: Mapping[str, Any]) -> list[object]:
        match verb:
            case "watch":
                self._watchers.add(client)
                return []
            case "bus" | "record":
                line = self.buses.get(str(args.get("bus", "")))
                if line is None:
                    return [desk.refusal(client, f"没有此线路 / no such line; lines: {', '.join(self.buses)}")]
                if verb == "bus":
                    return [desk.bus(client, now_us, line, self._use)]
                self._recorders[client] = line.id
                return [desk.recording(client, self.config, self.clock, line)]
            case "probe":
                return [desk.held(client, self.config, str(args.get("line", "")))]
            case "blackbox":
                return [desk.answer(client, {"gateway": self.config.id, "folder": str(self.config.blackbox)})]
            case "read":
                device = self.devices.get(str(args.get("device", "")))
                if device is None:
                    return [desk.refusal(client, f"没有此设备 / no such device; devices: {', '.join(self.devices)}")]
                if len(self._reads) >= READS_LIMIT:
                    return [desk.refusal(client, "读取过多，稍后再试 / too many reads, try again")]
                named = [str(args["point"])] if args.get("point") else []
                unknown = [n for n in named if n not in device.profile.points]
                if unknown:
                    names = ", ".join(device.profile.points)
                    return [desk.refusal(client, f"没有此点 / no such point; points: {names}")]
                points = named or [n for n, p in device.profile.points.items() if p.spec.readable]
                read = ReadNow(device.id, tuple(points), self.tickets.new())
                self._reads[read.token] = client, read
                return [read]
            case "status":
                return [desk.status(client, now_us, self.config, self.clock, self.session, self.lockout, self.buses,
                                    self.devices, self._last, self.floods)]
            case _:
                return [desk.refusal(client, "没有此命令 / no such verb")]

    def _read_answer(self, now_us: int, what: Ended) -> Publish:
        client, read = self._reads.pop(what.token)
        return desk.readings(client, now_us, self.devices[read.device], read.points, what.why)


def _birth(config: Config, trust: TrustList, session: str, version: str) -> Birth:
    spec, signals = config.spec, config.signals
    return Birth(
        gateway=config.id, session=session, at=BLANK_INSTANT, version=version, area=config.area,
        deployment=spec.gateway.deployment, trust_version=trust.version,
        sirens=tuple(SirenCard(id=s.id, name=s.name, type=s.type, area=config.area_of(s), layer=s.layer,
                               position=s.position, feedback=s.sensed) for s in spec.siren),
        devices=tuple(DeviceCard(id=d.id, profile=d.profile, bus=d.bus, unit=d.unit) for d in spec.device),
        spots=tuple(SpotCard(id=s.id, name=s.name, position=s.position, gauges={g.id: g.kind for g in s.gauge},
                             depths=config.depths_of(s)) for s in spec.spot),
        signals={name: signals.digest(name) for name in (*signals.signals, *signals.programmes)},
    )
