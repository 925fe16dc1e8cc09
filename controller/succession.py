"""The succession of trust lists on a gateway: one rules, a newer one follows it, and none ever comes back.

A list comes from the broker, from a file at the local door, or from the file that gateway.toml names, at the start.
What `admission.py` lets in goes to the journal, as a whole and with its version, and rules from the moment it is on
the disk: who is removed from it may order until then, and never again. At the start the journal's list rules
unless the file's is newer, so that an older file, or one that is gone, changes nothing.

The roots that judge a list are those of the list before it. The pinned ones of gateway.toml judge where there is no
list before, and where they were changed since: who lost the roots pins others, and signs a list of a higher version.
It refuses to know what an order is, and what becomes of one whose signers are removed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from controller import admission, signers
from controller.admission import ListReason, Refused, SignedList
from controller.answers import line
from controller.event import Append, AppendFailed, Arrived, Ask, Durable, Notice, Publish, Record, Trusted
from controller.roots import Roots
from firmware_bridge.errors import BadDocument, Problem
from firmware_bridge.machine import S, Woken

KIND, KIND_BESIDE = "trust", "trust-beside"
"""Of the journal's record, and of its copy in a file of its own."""
PATIENCE_US = 5 * S
"""A disk that has not answered by then is told of; the list still waits for it."""
AGAIN_US = 10 * S
"""How often a list that the disk refused is given to it again."""
CHECKS = 8
"""Lists looked at at once from one door: what a broker has retained for a gateway and its five areas, and some more.
A full list takes some ten milliseconds of a PC."""
CHECK_US = 1 * S
"""One more after this."""
GRAVE = frozenset({ListReason.BAD_SIGNATURE, ListReason.TOO_FEW_ROOTS, ListReason.TOO_FEW_NEW_ROOTS, ListReason.FORK})
"""What is not for somebody's mistake alone, and is told at once."""
SAID = {
    "accepted": "名单已启用 / the list rules",
    "known": "已是现行名单 / it rules already",
    "waiting": "正在写入日志 / on its way to the disk",
    "refused": "名单被拒绝 / the list is refused",
}

File = SignedList | Sequence[Problem]
"""The list of the file that gateway.toml names, not judged yet; or why there is none."""


class State(Enum):
    """What becomes of the newest list.

    SETTLED: it rules, and is on the disk.

    KEEPING: it was let in, and its record is on the way to the disk. The one before it rules.

    UNKEPT: the disk refused it. It is given to the disk again after a while; the one before it still rules.
    """

    SETTLED = auto()
    KEEPING = auto()
    UNKEPT = auto()


class Kind(Enum):
    LET_IN = "a newer list is let in, or one that has to be written again"
    KEPT = "its record is on the disk"
    LOST = "the disk refused it"
    AGAIN = "it is given to the disk again"


TABLE = {
    (State.SETTLED, Kind.LET_IN): State.KEEPING,
    (State.KEEPING, Kind.LET_IN): State.KEEPING,
    (State.KEEPING, Kind.KEPT): State.SETTLED,
    (State.KEEPING, Kind.LOST): State.UNKEPT,
    (State.UNKEPT, Kind.AGAIN): State.KEEPING,
    (State.UNKEPT, Kind.LET_IN): State.KEEPING,
}

SuccessionEvent = Arrived | Ask | Durable | AppendFailed | Woken
SuccessionEffect = Append | Notice | Publish | Trusted


@dataclass(slots=True)
class _Door:
    """How many lists may come through one door now."""

    room: float = CHECKS
    filled_us: int = 0

    def passes(self, now_us: int) -> bool:
        self.room = min(CHECKS, self.room + (now_us - self.filled_us) / CHECK_US)
        self.filled_us = now_us
        if self.room < 1:
            return False
        self.room -= 1
        return True


class Succession:
    """The machine. BadDocument when nothing may rule: no list that was kept, and none in the file.

    `ruling` rules; it changes only together with a `Trusted`.
    """

    def __init__(self, deployment: str, pinned: Roots, file: File, records: Iterable[Record]) -> None:
        self._deployment = deployment
        self._pins = pinned.digest
        self._state = State.SETTLED
        self._doors = {"broker": _Door(), "local": _Door()}
        self._token = 0
        self._due_us: int | None = 0
        """The first Woken comes at once: what the start brought is written down, and told."""
        self._waits: set[int] = set()
        """Local clients that wait for the disk."""
        self._told = False
        """That the disk does not take it; once, however often it is tried."""
        self._out: list[SuccessionEffect] = []
        kept, pins, twice = self._restored(records)
        changed = kept is None or pins != self._pins
        if kept is not None and self._pins not in (pins, kept.list.roots.digest):
            self._out.append(Notice("trust-roots-differ", str(kept.version), urgent=True,
                                    detail="gateway.toml pins other roots than the list that rules names"))
        self._newest = self._of_file(file, kept, [pinned] if changed else [])
        self.ruling = kept or self._newest
        self._to_keep = self._newest is not kept or not twice

    @property
    def deadline(self) -> int | None:
        return self._due_us

    def handle(self, now_us: int, event: SuccessionEvent) -> list[SuccessionEffect]:
        if self._due_us == 0:
            self._due_us = None
            if self._to_keep:
                self._keep(now_us, Kind.LET_IN)
        match event:
            case Arrived(topic, payload, _, None):
                # Nothing: somebody cleared what the broker had retained.
                if payload:
                    self._offered(now_us, payload, topic, "broker", None)
            case Ask(client, _, user, _, args):
                text = str(args.get("text") or "?").encode(errors="replace")
                self._offered(now_us, text, user, "local", client)
            case Durable(token) if token == self._token:
                self._kept()
            case AppendFailed(token, why) if token == self._token:
                self._lost(now_us, why)
            case _:
                pass
        if self._due_us is not None and self._due_us <= now_us:
            self._overdue(now_us)
        out, self._out = self._out, []
        assert self._due_us is None or self._due_us > now_us, (self._due_us, now_us, event)
        return out

    # The start.

    def _restored(self, records: Iterable[Record]) -> tuple[SignedList | None, object, bool]:
        """The newest list that was kept, which roots were pinned then, and whether both copies of it are there."""
        found = [(version, r) for r in records
                 if r.kind in (KIND, KIND_BESIDE) and isinstance(version := r.body.get("version"), int)]
        for version, record in sorted(found, key=lambda one: -one[0]):
            try:
                # It was let in once, by roots that may be no more: what is asked is whether it is whole.
                kept = admission.admit(str(record.body.get("list")).encode(errors="replace"), None, self._deployment)
            except Refused as refused:
                if refused.reason is not ListReason.WRONG_DEPLOYMENT:
                    self._out.append(Notice("trust-record-lost", str(version), refused.detail, urgent=True))
                continue
            copies = {r.kind for _, r in found if r.body.get("list") == kept.text}
            return kept, record.body.get("pins"), copies == {KIND, KIND_BESIDE}
        return None, None, False

    def _of_file(self, file: File, kept: SignedList | None, pinned: list[Roots]) -> SignedList:
        """The newest there is: the file's list where it is newer than the kept one, and these roots let it in."""
        if not isinstance(file, SignedList):
            if kept is None:
                raise BadDocument(file)
            self._out.append(Notice("trust-refused", "file", str(file[0]), urgent=True))
            return kept
        judges = ([kept.list.roots] if kept else []) + pinned
        refusals: list[Refused] = []
        for roots in judges:
            try:
                return admission.admit(file.text.encode(), roots, self._deployment, kept)
            except Refused as refused:
                refusals.append(refused)
        if kept is None:
            raise BadDocument(refusals[0].problems)
        self._refuse(refusals[-1], "the file")
        return kept

    # Lists that come.

    def _offered(self, now_us: int, data: bytes, whence: str, door: str, client: int | None) -> None:
        try:
            if not self._doors[door].passes(now_us):
                raise Refused(ListReason.BUSY, "too many lists at once", ())
            found = admission.admit(data, self._newest.list.roots, self._deployment, self._newest)
        except Refused as refused:
            self._refuse(refused, whence)
            self._answer(client, "refused", reason=refused.reason, detail=refused.detail)
            return
        if found is not self._newest:
            self._newest = found
            self._keep(now_us, Kind.LET_IN)
        if client is not None and self._newest is self.ruling:
            self._answer(client, "known")
        elif client is not None:
            self._waits.add(client)

    def _refuse(self, refused: Refused, whence: str) -> None:
        detail = f"{refused.detail} (from {whence})"
        self._out.append(Notice("trust-refused", refused.reason, detail, urgent=refused.reason in GRAVE))

    # The disk.

    def _keep(self, now_us: int, kind: Kind) -> None:
        """Give the newest list to the disk."""
        self._state = TABLE[self._state, kind]
        self._token += 1
        self._due_us = now_us + PATIENCE_US
        newest = self._newest
        body = {"version": newest.version, "digest": newest.digest, "pins": self._pins, "list": newest.text}
        self._out.append(Append(self._token, Record(KIND, body)))

    def _kept(self) -> None:
        self._state = TABLE[self._state, Kind.KEPT]
        self._due_us, self._told = None, False
        if self.ruling is not self._newest:
            before, self.ruling = self.ruling.list, self._newest
            after = self.ruling.list
            self._out.append(Trusted(after))
            self._out.append(Notice("trust-list", str(after.version), _news(before, after), urgent=True))
            self._out += [Notice("trust-warning", str(after.version), text) for text in signers.warnings(after)]
        for client in sorted(self._waits):
            self._answer(client, "accepted")
        self._waits.clear()

    def _lost(self, now_us: int, why: str) -> None:
        self._state = TABLE[self._state, Kind.LOST]
        self._due_us = now_us + AGAIN_US
        self._unkept(why)

    def _unkept(self, why: str) -> None:
        if not self._told:
            self._told = True
            self._out.append(Notice("trust-refused", ListReason.NO_JOURNAL, f"version {self._newest.version}: {why}",
                                    urgent=self._newest is not self.ruling))
        for client in sorted(self._waits):
            self._answer(client, "refused", reason=ListReason.NO_JOURNAL, detail=why)
        self._waits.clear()

    def _overdue(self, now_us: int) -> None:
        if self._state is State.UNKEPT:
            self._keep(now_us, Kind.AGAIN)
        else:
            # Not given to it a second time: a disk that hangs would be given one more for ever.
            self._due_us = None
            self._unkept("no answer from the journal; it rules when there is one")

    def _answer(self, client: int | None, what: str, **more: object) -> None:
        if client is not None:
            self._out.append(line(client, True, trust=what, version=self.ruling.version, text=SAID[what], **more))


def _news(before: signers.TrustList, after: signers.TrustList) -> str:
    """What a newer list changes, for people."""
    gone = [s.person for kid, s in before.keys.items() if kid not in after.keys]
    come = [s.person for kid, s in after.keys.items() if kid not in before.keys]
    said = [f"{len(after.keys)} keys", f"after version {before.version}"]
    said += [f"removed: {', '.join(gone)}"] if gone else []
    said += [f"new: {', '.join(come)}"] if come else []
    said += ["other roots"] if before.roots.digest != after.roots.digest else []
    return "; ".join(said)
