"""A broker as MQTT has it: sessions that outlive connections, retained messages, wills; as data, without a wire.

It answers each call with who is to be sent what; when that arrives, twice or never, is `net.py`'s. It refuses to know
time, and what a message means.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

QUEUE_LIMIT = 1_000
"""Messages kept for a client that is away, as mosquitto has it by default."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A message as it goes to a client; `retained`: it was kept, and is of any age."""

    topic: str
    payload: bytes
    retained: bool = False
    once: bool = False
    """QoS 0: not kept for who is away."""
    n: int = 0
    """In which order they came to the broker: what is kept goes out in that."""


@dataclass
class _Session:
    filters: tuple[str, ...] = ()
    there: bool = False
    queue: list[Packet] = field(default_factory=list)
    will: tuple[str, bytes] | None = None


Sending = tuple[str, Packet]
"""To whom, and what."""


class Broker:
    """Clients are known by their names; all of them keep their sessions."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}
        self._retained: dict[str, bytes] = {}
        self._came = count(1)

    def connect(self, client: str, filters: Sequence[str], will: tuple[str, bytes] | None) -> list[Sending]:
        """What was kept for it goes out at once; then it subscribes anew, which brings what is retained."""
        session = self._sessions.setdefault(client, _Session())
        session.filters, session.there, session.will = tuple(filters), True, will
        kept, session.queue = sorted(session.queue, key=lambda packet: packet.n), []
        retained = [Packet(topic, payload, retained=True) for topic, payload in self._retained.items()
                    if _wanted(session.filters, topic)]
        return [(client, packet) for packet in (*kept, *retained)]

    def lose(self, client: str) -> list[Sending]:
        """Its connection is gone without a word: its will is spoken."""
        session = self._sessions.get(client)
        if session is None or not session.there:
            return []
        session.there = False
        will, session.will = session.will, None
        return [] if will is None else self.publish(*will, retain=True)

    def part(self, client: str) -> None:
        """It disconnects in order: its will is forgotten."""
        self._sessions[client].there, self._sessions[client].will = False, None

    def publish(self, topic: str, payload: bytes, retain: bool = False, once: bool = False) -> list[Sending]:
        if retain:
            self._retained.pop(topic, None)
            if payload:
                self._retained[topic] = payload
        packet = Packet(topic, payload, once=once, n=next(self._came))
        return [(name, packet) for name in self._hearers(topic) if self.keep(name, packet)]

    def keep(self, client: str, packet: Packet) -> bool:
        """Whether it can be sent now; what cannot is kept for who comes back."""
        session = self._sessions.get(client)
        if session is None or session.there:
            return session is not None
        if not packet.once and len(session.queue) < QUEUE_LIMIT:
            session.queue.append(packet)
        return False

    def forget(self) -> None:
        """It began anew without its file: sessions and what was retained are gone, and so are all connections."""
        self._retained.clear()
        self._sessions.clear()

    def _hearers(self, topic: str) -> Iterable[str]:
        return [name for name, session in self._sessions.items() if _wanted(session.filters, topic)]


def _wanted(filters: Iterable[str], topic: str) -> bool:
    return any(_matches(one, topic) for one in filters)


def _matches(filter_: str, topic: str) -> bool:
    if "+" not in filter_ and "#" not in filter_:
        return filter_ == topic
    parts, levels = filter_.split("/"), topic.split("/")
    for n, part in enumerate(parts):
        if part == "#":
            return True
        if n >= len(levels) or part not in ("+", levels[n]):
            return False
    return len(parts) == len(levels)
