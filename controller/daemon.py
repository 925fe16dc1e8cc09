"""sirend: the daemon of one gateway.

    sirend run FILE      drive what FILE (gateway.toml) describes, until told to end
    sirend check FILE..  read each FILE with its profiles, signals and trust list; name every problem; start nothing

Start-up is recovery: the journal is read, the lines are opened in parallel, every output is read or named unreadable,
what a restart cut is taken up, and then systemd is told READY. A bug of our own ends the process; systemd starts it
again. 一个网关的守护进程：启动即恢复。
"""

import argparse
import asyncio
import contextlib
import ctypes
import datetime
import gc
import json
import logging
import secrets
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from controller import admission, clock, config, floods, origin, policy, roots, snapshot, wire
from controller.admission import SignedList
from controller.blackbox import Blackbox
from controller.config import Config
from controller.crash import Crashes
from controller.event import Append, AppendFailed, BrokerDown, BrokerUp, Durable, Publish, Record
from controller.gateway import Gateway
from controller.journal import Journal
from controller.local import Local
from controller.log import Log
from controller.mqtt import FromBroker, Mqtt
from controller.origin import Origin
from controller.succession import File
from controller.watchdog import Watchdog
from firmware_bridge import document
from firmware_bridge.errors import BadDocument, Problem
from firmware_bridge.event import Reopen, Send
from firmware_bridge.link import Link, now_us
from firmware_bridge.machine import Woken

CLOCK_S = 1.0
"""How often the machines hear what the wall clock says: a step is seen within this."""
LOGGED = {"accept", "refuse", "receipt", "event"}
"""Journal records that are also a line of the log."""
SWITCH_S = 0.0005
"""How long one Python thread may keep another waiting. With the default 5 ms an edge's thread waits for the loop."""
ENDS = (signal.SIGTERM, signal.SIGINT)
"""How somebody asks for an end in order."""

log = Log()


class NoDoor(Exception):
    """The local door cannot be opened: the installation's fault, not ours."""


class Daemon:
    """Carries events into one `Gateway` and its effects out. Everything runs on one event loop."""

    def __init__(self, config: Config, trusted: File, local: Local, crashes: Crashes) -> None:
        spec = config.spec
        self._config = config
        self._crashes = crashes
        self._loop = asyncio.get_running_loop()
        self._journal = Journal(config.path(spec.journal.path), spec.journal.keep_days)
        opened = self._journal.open()
        if opened.why:
            log.error("journal", why=opened.why, aside=str(opened.aside or ""))
        records = self._journal.load()
        made = Origin(config, trusted, uuid.uuid4().hex[:16], program_version(), opened.lost, crashes.safe_min,
                      secrets.token_hex(32), policy_text(config))
        try:
            self._gateway = made.gateway(records)
        except BadDocument:
            self._journal.close()
            raise
        self._blackbox = record(made, records, self._gateway) if spec.blackbox.size_mb else None
        self._links = {bus.id: Link(bus, self.feed, config.file.parent) for bus in spec.bus}
        self._mqtt = Mqtt(spec.mqtt, config.file.parent, config.id, wire.subscriptions(config.area, config.id),
                          wire.echo_topic(config.id), self._gateway.will, self._from_broker)
        self._broker_down = ""
        self._local = local
        self._watchdog = Watchdog()
        self._timer: asyncio.TimerHandle | None = None
        self._ready = False
        self._failed: asyncio.Future[None] = self._loop.create_future()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; raises what went wrong in a machine."""
        for number in ENDS:
            self._loop.add_signal_handler(number, self._end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
        # The clock before all else: what is told first bears an instant as well.
        self._tick()
        self.feed(self._journal.head)
        for link in self._links.values():
            link.open().add_done_callback(self.task_ended)
        broker = self._loop.create_task(self._mqtt.run(), name="mqtt")
        broker.add_done_callback(self.task_ended)
        try:
            await self._failed
        finally:
            self._watchdog.stopping()
            # What sounds goes on sounding within its bounds: a restart in a warning must not silence it.
            await self._mqtt.close(self._farewell())
            broker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await broker
            for link in self._links.values():
                link.close()
            await self._local.close()
            if self._timer is not None:
                self._timer.cancel()
            await asyncio.to_thread(self._journal.close)
            await asyncio.gather(*(link.shut() for link in self._links.values()))
            if self._blackbox is not None:
                await asyncio.to_thread(self._blackbox.close)

    def feed(self, event: object) -> None:
        """One event into the machines, and what comes of it out. A bug in a machine ends the process."""
        if self._failed.done():
            return
        try:
            self._feed(self._crashes.hold(event) or event)
            # Not where it raised: then what was in hand is for the next process to find.
            self._crashes.clear()
        except Exception as error:
            self._fail(error)

    def _feed(self, event: object) -> None:
        for effect in self._handled(now_us(), event):
            self._carry_out(effect)
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._gateway.deadline
        self._timer = None if deadline is None else self._loop.call_at(deadline / 1e6, self.feed, Woken())
        if self._crashes.safe_min and not self._gateway.safe_min.on:
            self._crashes.forgive()
        if not self._ready and self._gateway.ready:
            self._ready = True
            self._on_ready()

    def _handled(self, at_us: int, event: object) -> Sequence[object]:
        """What the machines make of it; whatever that is goes into the black box."""
        if self._blackbox is None:
            return self._gateway.handle(at_us, event)
        try:
            effects = self._gateway.handle(at_us, event)
        except Exception as error:
            self._blackbox.note(at_us, event, error)
            raise
        self._blackbox.note(at_us, event, effects)
        return effects

    def _from_broker(self, event: FromBroker) -> None:
        """Why there is no broker is told once, and again when it is another reason."""
        match event:
            case BrokerUp():
                self._broker_down = ""
            case BrokerDown(why) if why != self._broker_down:
                self._broker_down = why
                log.error("broker-down", at=f"{self._config.spec.mqtt.host}:{self._config.spec.mqtt.port}", why=why)
        self.feed(event)

    def _carry_out(self, effect: object) -> None:
        match effect:
            case Send(bus, data, at_us):
                self._links[bus].send(data, at_us)
            case Reopen(bus):
                self._links[bus].reopen()
            case Append(token, record):
                if record.kind in LOGGED:
                    shown = {k: v for k, v in record.body.items() if v not in ("", None, [], ()) and k != "raw"}
                    log.info(record.kind, **shown)
                self._journal.append(record, partial(self._written, token))
            case Publish(client=None):
                self._mqtt.publish(effect)
            case Publish(_, payload, client=int(client)):
                self._local.send(client, payload)

    def _written(self, token: int, why: str | None) -> None:
        """On the journal's thread."""
        event = Durable(token, self._journal.head) if why is None else AppendFailed(token, why)
        with contextlib.suppress(RuntimeError):
            # The loop is closed: the process ends, and its successor reads the journal.
            self._loop.call_soon_threadsafe(self.feed, event)

    def _tick(self) -> None:
        try:
            self.feed(clock.read(self._config.spec.clock.source))
            self._watchdog.beat(now_us())
        except Exception as error:
            self._fail(error)
        else:
            self._loop.call_later(CLOCK_S, self._tick)

    def _on_ready(self) -> None:
        # What start-up made stays for good: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        give_back()
        self._watchdog.ready(f"{self._config.id}: {len(self._gateway.sirens)} sirens")
        log.info("ready", gateway=self._config.id, sirens=len(self._gateway.sirens))

    def _end(self) -> None:
        if not self._failed.done():
            self._failed.set_result(None)

    def _farewell(self) -> Publish:
        """The last word to the hub. After a crash it is what the broker would say for us: `offline` is a wish."""
        if self._failed.done() and self._failed.exception() is not None:
            topic, payload = self._gateway.will()
            return Publish(topic, payload, retain=True)
        return self._gateway.session.farewell()

    def task_ended(self, task: asyncio.Task[None]) -> None:
        """One of those without which we are no gateway."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._crashes.died(error)
            self._failed.set_exception(error)


def record(made: Origin, records: Sequence[Record], gateway: Gateway) -> Blackbox:
    """A black box that begins here."""
    config = made.config
    profiles = {p.id: Path(p.file).read_text(encoding="utf-8") for p in map(config.profile_of, gateway.devices)}
    return Blackbox(config.blackbox, config.spec.blackbox.size_mb * 2**20, now_us(), origin.told(made, profiles),
                    records, partial(snapshot.take, gateway), lambda why: log.error("blackbox", why=why))


def give_back() -> None:
    """Return to the system what start-up used and freed: 5 MiB that glibc would keep for ever."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def program_version() -> str:
    try:
        return version("siren-gateway")
    except PackageNotFoundError:
        return "0.1.0+source"


def load(path: Path, settings: list[str]) -> tuple[Config, File, list[Problem]]:
    """A gateway's config, its trust list as it stands in the file, and what is wrong with that by the pinned roots.

    BadDocument tells every problem of both when the config has any. A journal may know better than the file.
    """
    data = config.read(path, settings)
    named, deployment = config.text_at(data, "trust", "list"), config.text_at(data, "gateway", "deployment")
    file: File = ()
    wrong: list[Problem] = []
    if named is not None:
        try:
            file = admission.load(path.parent / named, roots.pinned(data), deployment)
        except BadDocument as bad:
            wrong = [*bad.problems]
    try:
        checked = config.load(path, settings)
    except BadDocument as bad:
        raise BadDocument([*bad.problems, *wrong]) from None
    if wrong:
        try:
            file = admission.load(checked.path(checked.spec.trust.list), None, None)
        except BadDocument:
            file = wrong
    return checked, file, wrong


def policy_text(checked: Config) -> str:
    """What stands in the file of the flood policy; empty where there is none, or it cannot be read."""
    named = checked.spec.flood.policy
    try:
        return "" if named is None else document.read_text(checked.path(named))
    except BadDocument as bad:
        # Without it the roads are watched all the same; only the sirens wait for people.
        log.error("flood-policy", problem=str(bad.problems[0]))
        return ""


def policy_problems(checked: Config, trusted: File) -> list[Problem]:
    """What is wrong with the policy as it stands in the file, by the trust list that does."""
    named = checked.spec.flood.policy
    if named is None or not isinstance(trusted, SignedList):
        return []
    try:
        policy.admit(document.read_text(checked.path(named)).encode(), trusted.list, floods.ground(checked), 0, named)
    except BadDocument as bad:
        return [*bad.problems]
    except policy.Refused as refused:
        return [refused.problem]
    return []


def broker_files(checked: Config) -> list[Problem]:
    """What is wrong with the files by which the broker is met, as things stand now."""
    mqtt = checked.spec.mqtt
    if not mqtt.tls and mqtt.password_file is None:
        return []
    # Here, because X.509 takes 2 MiB that a gateway beside its broker can spare.
    from controller import certificate

    return certificate.wrong_files(mqtt, checked.file.parent, str(checked.file),
                                   datetime.datetime.now(datetime.UTC), checked.id)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="sirend", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="驱动一个网关 / drive one gateway")
    run.add_argument("file", type=Path)
    check = commands.add_parser("check", help="只检查配置 / only check; exit 2 when something is wrong")
    check.add_argument("file", type=Path, nargs="+")
    draft = commands.add_parser("policy", help="起草积水自动规则 / draft a flood policy for this gateway, to be signed")
    draft.add_argument("file", type=Path)
    draft.add_argument("--sound", required=True, help="信号 / a signal or programme of this gateway")
    draft.add_argument("--version", type=int, default=1, dest="number", help="版本 / above the one that rules")
    for sub in (run, check, draft):
        sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
                         help="改一个设置 / override one setting, e.g. mqtt.port=1884 or bus[line-1].baud=19200")
    args = parser.parse_args(argv)
    actions: dict[str, Callable[[argparse.Namespace], int]] = {"check": _check, "policy": _draft, "run": _run}
    sys.exit(actions[args.command](args))


def _draft(args: argparse.Namespace) -> int:
    try:
        checked, _, _ = load(args.file, args.settings)
        now = datetime.datetime.now(datetime.UTC)
        made = floods.draft(checked, wire.to_text(round(now.timestamp() * 1e6)), args.sound, args.number)
    except BadDocument as bad:
        print(bad, file=sys.stderr)
        return 2
    print(json.dumps(made, ensure_ascii=False, indent=1))
    return 0


def _check(args: argparse.Namespace) -> int:
    wrong = 0
    for path in args.file:
        try:
            checked, listed, wrong_list = load(path, args.settings)
            if problems := wrong_list + broker_files(checked) + policy_problems(checked, listed):
                raise BadDocument(problems)
        except BadDocument as bad:
            print(bad, file=sys.stderr)
            wrong += 1
        else:
            spec = checked.spec
            print(f"{path}: 正确 ok: {checked.id}, {len(spec.bus)} lines, {len(spec.device)} devices,"
                  f" {len(spec.siren)} sirens" + (f", {len(spec.spot)} spots" if spec.spot else ""))
    return 2 if wrong else 0


def _run(args: argparse.Namespace) -> int:
    try:
        checked, trusted, _ = load(args.file, args.settings)
    except BadDocument as bad:
        print(bad, file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")
    # Without its centre a gateway still sounds at a flood and obeys the cabinet: it is told, and goes on.
    for problem in broker_files(checked):
        log.error("broker-file", problem=str(problem))
    sys.setswitchinterval(SWITCH_S)

    async def serve() -> None:
        # From here on there is something to end in order, and nobody yet who does: what comes now waits for `run`.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
        # The door first: a second sirend is turned away here, before it touches the journal or a line of the first.
        local = Local(checked.path(checked.spec.local.socket), lambda event: daemon.feed(event))
        try:
            door = await local.open()
        except OSError as error:
            raise NoDoor(str(error)) from error
        crashes = Crashes(local.path, program_version(), clock.since_boot_us())
        if crashes.wrong or crashes.safe_min:
            log.error("crashes", why=crashes.wrong or crashes.safe_min)
        try:
            daemon = Daemon(checked, trusted, local, crashes)
            door.add_done_callback(daemon.task_ended)
        except BadDocument:
            crashes.ended()
            await local.close()
            raise
        await daemon.run()
        crashes.ended()

    try:
        asyncio.run(serve())
    except NoDoor as error:
        print(f"{args.file}: local.socket: {error}", file=sys.stderr)
        return 1
    except BadDocument as bad:
        print(bad, file=sys.stderr)
        return 2
    except Exception:
        # One record of the log, whole; journald would cut the interpreter's own into lines.
        log.crash()
        return 1
    return 0


if __name__ == "__main__":
    main()
