"""An operator's client: what drafts, signs, hands in and follows orders. For `siren-hub order` and for programs.

    async with Client(config) as client:
        body = client.draft(Wish(Action.SOUND, Mode.DRILL, "41/01", sound="demo-air-raid"))
        async for order in client.order(body, load(config.keys)):
            print(len(order.sirens()))
        print(client.report(order).text())

It signs here and hands the signed bytes to the resident hub, which sends and re-sends them; it follows by the
receipts that it hears itself. With `direct` it sends by itself.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from controller import wire
from controller.admission import SignedList
from controller.wire import Action, OrderBody
from firmware_bridge.errors import BadDocument, Problem
from hub import draft, keys, prepared, report
from hub.config import Config
from hub.dispatch import Dispatch, State
from hub.draft import Wish
from hub.event import Note
from hub.fleet import Fleet
from hub.report import Report
from hub.shell import Shell, nap

BROKER_S = 5.0
"""A broker that is there answers in milliseconds; a mobile line takes a second or two."""
QUIET_S = 0.3
"""The fleet is taken as complete when no retained message came for so long."""
SETTLE_S = 3.0
"""And at the latest after this."""
HUB_S = 3.0
HAND_IN_S = 1.0
"""How often an order is handed in until the hub has answered; the same id is taken once."""
AGAIN_S = 5.0
"""And how often after that, while some gateway owes an answer: a hub that was restarted takes it up again."""
PICTURE_S = 1.0
"""The picture is given at least so often: time passes in it too."""
FRAME_S = 0.1
"""At most so often the picture is given to whoever follows an order."""


class Unreachable(Exception):
    """There is no broker, or no resident hub; the text says what to do."""


class Refused(Exception):
    """The order was not taken, and why."""


def load(paths: Sequence[Path]) -> list[dict[str, str]]:
    """The key files; every problem of every file at once."""
    found: list[dict[str, str]] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            found.append(keys.load_key(path))
        except BadDocument as bad:
            problems.extend(bad.problems)
    if not paths:
        problems.append(Problem("siren-hub", "--key", None, "name a key file, or list some in [operator] keys"))
    if problems:
        raise BadDocument(problems)
    return found


class Client:
    """One client; `fleet` is what it sees. `on_note` gets lines for people."""

    def __init__(self, config: Config, on_note: Callable[[Note], None] | None = None, direct: bool = False) -> None:
        self.config = config
        self._notes = on_note or (lambda note: None)
        self._false = 0
        self._lost = 0
        """How many messages had been lost before the order was."""
        self._shell = Shell(config, f"operator-{uuid.uuid4().hex[:12]}", direct, False, self._note)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Client":
        self._task = asyncio.create_task(self._shell.run())
        try:
            await self._settle()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @staticmethod
    def wall_us() -> int:
        return Shell.wall_us()

    @property
    def fleet(self) -> Fleet:
        return self._shell.centre.fleet

    def draft(self, wish: Wish) -> OrderBody:
        """The order of this wish, made now for the sirens that are known; BadDocument tells all that is wrong with it.
        """
        body = self.plain(wish)
        return prepared.prepare(body, self.fleet.meant(body))

    def plain(self, wish: Wish) -> OrderBody:
        """The same by its area alone, before anything is known of the fleet."""
        body = draft.draft(wish, self.config, uuid.uuid4().hex, self._shell.wall_us())
        # The broker may have brought a newer list than the file of hub.toml.
        return body.model_copy(update={"trust_version": self._shell.centre.roster.listed.version})

    async def order(self, body: OrderBody, signers: Sequence[dict[str, str]]) -> AsyncIterator[Dispatch]:
        """Sign it, hand it in, and give its picture again and again until a report can be made.

        Refused: it would not be taken. Unreachable: nobody took it. A stop that no hub takes is sent from here.
        """
        async for dispatch in self.hand_in(keys.sign(body, list(signers)), body):
            yield dispatch

    async def hand_in(self, raw: bytes, body: OrderBody) -> AsyncIterator[Dispatch]:
        """The same with an order that is signed already."""
        shell = self._shell
        self._false = 0
        taken, first = shell.centre.take(shell.now_us(), raw)
        if not taken.taken:
            raise Refused(taken.why)
        if not shell.sends:
            try:
                await self._hand_to_hub(raw, body.id, (
                    f"命令 {body.id} 仍可能发出，另行下达前先停止 it may still go out; before you give it another way:"
                    f" siren-hub stop --area {body.area} --order {body.id}   再直接发送 then send it: --direct"))
            except (Unreachable, Refused) as error:
                if body.action is not Action.STOP:
                    raise
                why = str(error) if isinstance(error, Refused) else "no hub took it"
                self._notes(Note("stop-direct", subject=body.id, detail=f"{why}; sent from here", urgent=True))
                shell.sends = True
        self._lost = shell.connection.lost
        shell.carry_out([*first])
        dispatch = shell.centre.orders[body.id]
        loop = asyncio.get_running_loop()
        again = loop.time() + AGAIN_S
        while True:
            yield dispatch
            if dispatch.settled:
                return
            if dispatch.state is State.SENDING and not shell.sends and loop.time() >= again:
                again = loop.time() + AGAIN_S
                shell.connection.publish(wire.hub_topic(self.config.spec.hub.id, "submit"), raw)
            shell.changed.clear()
            await asyncio.sleep(FRAME_S)
            await nap(shell.changed, PICTURE_S)
            self._alive()

    def report(self, dispatch: Dispatch) -> Report:
        """The figures as they stand; soundings without an order are counted since it was handed in."""
        return report.of(dispatch.order, dispatch.sirens(), self._false, dispatch.silent)

    def publish(self, topic: str, payload: bytes) -> None:
        """Past the hub, to a gateway: what is no order, and needs nobody to send it again."""
        self._shell.connection.publish(topic, payload)

    async def given(self, seconds: float) -> bool:
        """Whether the order that was handed in last has been taken: by the hub, else, within so long, by the broker."""
        connection = self._shell.connection
        if not self._shell.sends:
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await connection.flush()
                return connection.lost == self._lost
        return False

    async def wait(self, seconds: float | None) -> None:
        """Look on for so long; None: until cancelled."""
        assert self._task is not None
        await asyncio.wait({self._task}, timeout=seconds)
        self._alive()

    async def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Until what is seen makes `condition` true; TimeoutError when it does not in time."""
        end = asyncio.get_running_loop().time() + seconds
        while not condition():
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                raise TimeoutError
            self._shell.changed.clear()
            await nap(self._shell.changed, left)
            self._alive()

    async def hand_list(self, signed: SignedList) -> None:
        """Hand a trust list to the resident hub; Refused and Unreachable as for an order."""
        await self._hand_to_hub(signed.text.encode(), signed.digest)

    async def _hand_to_hub(self, raw: bytes, id: str, otherwise: str = "") -> None:
        shell, hub = self._shell, self.config.spec.hub.id
        topic = wire.hub_topic(hub, "submit")
        deadline = asyncio.get_running_loop().time() + HUB_S
        while (taken := shell.taken.get(id)) is None:
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0:
                raise Unreachable(
                    f"总站 {hub} 无应答 / no hub {hub} answered within {HUB_S:g} s. "
                    f"启动它 start it: siren-hub run {self.config.file}   {otherwise}".rstrip())
            shell.connection.publish(topic, raw)
            with suppress(TimeoutError):
                await self.until(lambda: id in shell.taken, min(left_s, HAND_IN_S))
        if not taken.taken:
            raise Refused(f"总站拒绝 the hub refused it: {taken.why}")

    async def _settle(self) -> None:
        """Until connected, and until the retained messages have come in."""
        shell, loop = self._shell, asyncio.get_running_loop()
        try:
            await self.until(lambda: self.fleet.broker, BROKER_S)
        except TimeoutError:
            why = self.fleet.broker_why or f"{shell.connection.place} does not answer"
            raise Unreachable(f"没有消息服务器 / no broker: {why}. "
                              f"看 look at [mqtt] in {self.config.file}; 启动 start it: mosquitto") from None
        end = loop.time() + SETTLE_S
        seen = -1
        while seen != shell.messages and loop.time() < end:
            seen = shell.messages
            await asyncio.sleep(QUIET_S)

    def _alive(self) -> None:
        """A shell that crashed is our crash."""
        if self._task is not None and self._task.done():
            self._task.result()

    def _note(self, note: Note) -> None:
        if note.what in {"unexpected-on", "sounding-without-order"}:
            self._false += 1
        self._notes(note)
