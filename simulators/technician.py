"""Whoever stands at the cabinets in a scenario: asks, hangs tags and takes them off, frees what was mended.

A tag that the disk took for certain must hold, and one of which that is not known may; the judges are told of both
(`chronicle.py`). Who is told that a tag still locks tries again, and so does who is not answered. It refuses to know
when somebody asks what (`live.py`), and what is right (`promises/`).
"""

from functools import partial
from typing import Any

from controller.event import Ask
from controller.lockout import STILL_TAGGED
from firmware_bridge.machine import S
from simulators.chronicle import Chronicle
from simulators.promises.facts import Asked, Trouble
from simulators.world import Station, World

GROWL_S = 3.0
"""What a technician may have sound without maintenance."""
LISTEN_US = S
"""So soon a tag is acknowledged where the disk is well."""
PATIENCE_US = 6 * S
"""So late at most the cabinet says that a tag still locks."""


class Technician:
    """All of them: `world` has the gateways, `chronicle` is told what was asked."""

    def __init__(self, world: World, chronicle: Chronicle) -> None:
        self._world = world
        self._chronicle = chronicle
        self._client = 100
        self._hangs: set[str] = set()
        """Sirens on which somebody wants a tag to hang."""

    def asks(self, gateway: str, verb: str, user: str, args: dict[str, Any]) -> None:
        """One question, for one siren; where the gateway is down nobody hears it."""
        station = self._world.stations.get(gateway)
        if station is None:
            return
        chronicle, now_us, siren = self._chronicle, self._world.wall_us, args["siren"]
        seconds = GROWL_S if verb == "growl" else args.get("seconds", 0.0)
        chronicle.asks.append(Asked(gateway, now_us, user, verb, siren, seconds))
        said = len(station.published)
        client = self._tells(station, verb, user, args)
        if verb == "untag":
            self._hangs.discard(siren)
            if siren in chronicle.tags:
                chronicle.troubles.append(Trouble("tag", siren, chronicle.tags.pop(siren), now_us))
            self._later(PATIENCE_US, self._untagged, station, said, client, user, args)
        if verb == "tag" and user != "guest":
            self._hangs.add(siren)
            chronicle.perhaps.setdefault(siren, now_us)
            self._later(LISTEN_US, self._tagged, station, said, client, siren)

    def leaves_safe_min(self, gateway: str) -> None:
        """Ends it, where the gateway is there to hear it."""
        if (station := self._world.stations.get(gateway)) is not None:
            self._tells(station, "leave-safe-min", "tech", {})

    def frees(self, gateway: str, siren: str) -> None:
        """Locks out a siren that was mended for that, and frees it."""
        args = {"siren": siren, "reason": "mended"}
        for verb, after_us in (("tag", 0), ("untag", 2 * S)):
            self._later(after_us, self.asks, gateway, verb, "tech", args)

    def _tells(self, station: Station, verb: str, user: str, args: dict[str, Any]) -> int:
        self._client += 1
        self._world.tell(station, Ask(self._client, 1000, user, verb, args))
        return self._client

    def _later(self, after_us: int, do: Any, *args: Any) -> None:
        self._world.at(self._world.now_us + after_us, partial(do, *args))

    def _tagged(self, station: Station, said: int, client: int, siren: str) -> None:
        """Whether the tag was acknowledged: from then on it must hold."""
        answer = _answer(station, said, client)
        if siren in self._hangs and answer and b"error" not in answer and siren not in self._chronicle.tags:
            self._chronicle.tags[siren] = self._world.wall_us

    def _untagged(self, station: Station, said: int, client: int, user: str, args: dict[str, Any]) -> None:
        """Whether the tag came off: if not, and nobody hung another, again."""
        siren, gateway, answer = args["siren"], station.config.id, _answer(station, said, client)
        if siren in self._hangs:
            return
        if answer and STILL_TAGGED.encode() not in answer:
            if (since_us := self._chronicle.perhaps.pop(siren, None)) is not None:
                self._chronicle.troubles.append(Trouble("perhaps-tag", siren, since_us, self._world.wall_us))
        elif gateway in self._world.stations:
            self.asks(gateway, "untag", user, args)
        else:
            self._later(PATIENCE_US, self._untagged, station, said, client, user, args)


def _answer(station: Station, said: int, client: int) -> bytes:
    """The newest to this client; empty: none yet. What was published outlives a process."""
    return next((p.payload for _, p in reversed(station.published[said:]) if p.client == client), b"")
