"""The trust list at the centre: the newest it has seen, and which gateways have an older one.

The file of hub.toml is where it begins; what is handed in, or retained at the broker, follows by the same rules as on
a gateway. It has no memory of its own: after a restart the broker's retained list brings it up to date, and nothing is
published before that has come, for an older list would take its place.
It refuses to know orders, and who may sign one.
"""

from controller import admission, wire
from controller.admission import ListReason, Refused, SignedList
from controller.wire import Birth
from firmware_bridge.machine import S
from hub.event import Note, Publish, Taken

AGAIN_US = 600 * S
"""A gateway that is behind has the list published anew, for a broker may forget; no more often than this."""
LAST_WORD_US = 10 * S
"""An older list on our topic is what the broker has now: ours is published after it, no more often than this."""


class Roster:
    """`listed` is the list that rules here."""

    def __init__(self, listed: SignedList, deployment: str, area: str) -> None:
        self.listed = listed
        self._deployment = deployment
        self._topic = wire.trust_topic(area)
        self._again_us = 0
        self._owed = False
        """Whether the broker may have an older list than ours, or none."""
        self._next_us = 0

    def heard(self, raw: bytes) -> list[Note]:
        """A list that somebody published for our area, or that the broker retains for it."""
        try:
            notes = self._take(raw)
        except Refused as refused:
            older = refused.reason is ListReason.OLDER
            self._owed = self._owed or older
            return [Note("trust-refused", subject=refused.reason, detail=refused.detail, urgent=not older)]
        self._owed = False
        return notes

    def look(self, now_us: int) -> list[Publish]:
        """The list, where it is owed. Asked once what the broker retains has come."""
        if not self._owed or now_us < self._next_us:
            return []
        self._owed, self._next_us = False, now_us + LAST_WORD_US
        return [self._publish()]

    def handed(self, raw: bytes) -> tuple[Taken, list[Note | Publish]]:
        """A list that an operator handed in: it is published, retained, for all gateways of the area."""
        try:
            notes = self._take(raw)
        except Refused as refused:
            digest = admission.digest(raw)
            return Taken(order=digest, taken=False, why=str(refused)), [
                Note("trust-refused", subject=refused.reason, detail=refused.detail, urgent=True)]
        return Taken(order=self.listed.digest, taken=True), [*notes, self._publish()]

    def birth(self, now_us: int, birth: Birth, retained: bool) -> list[Note | Publish]:
        """A gateway said which list it has."""
        if birth.deployment != self._deployment or birth.trust_version >= self.listed.version:
            return []
        out: list[Note | Publish] = [Note("trust-behind", birth.gateway, str(birth.trust_version), urgent=True,
                                          detail=f"the centre has version {self.listed.version}")]
        # One that said so long ago may be gone, and is served by what the broker retains.
        if not retained and now_us >= self._again_us:
            self._again_us = now_us + AGAIN_US
            self._owed = True
        return out

    def _publish(self) -> Publish:
        return Publish(self._topic, self.listed.text.encode(), retain=True)

    def _take(self, raw: bytes) -> list[Note]:
        found = admission.admit(raw, self.listed.list.roots, self._deployment, self.listed)
        if found is self.listed:
            return []
        before, self.listed = self.listed, found
        return [Note("trust-list", subject=str(found.version), urgent=True,
                     detail=f"{len(found.list.keys)} keys; it was version {before.version}")]
