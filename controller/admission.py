"""Admission: whether a signed trust list is let in, judged by roots and by the list that rules.

Cheap checks first: size, shape, deployment, version; then the signatures; and only what enough roots signed is read
as a whole. A signature that a root of ours is named for and did not make refuses the list, however many are good; one
of a key we do not know is passed over, for it may be a root of another time. Distinct root keys are counted.
It refuses to know where a list came from, and what becomes of it.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from controller import envelope, signers, strictjson
from controller.envelope import BadSignature, Envelope
from controller.roots import MAX_ROOTS, Roots
from controller.signers import MAX_PAYLOAD_BYTES, TrustList
from firmware_bridge import document
from firmware_bridge.errors import BadDocument, Malformed, Problem

MAX_LIST_SIGNATURES = 2 * MAX_ROOTS
"""All old roots and all new ones."""
MAX_LIST_BYTES = 520 * 1024
"""A payload in base64, and its signatures."""
DETAIL_LIMIT = 200
"""Characters of what a refusal says: some of them are the sender's."""
SIGN = "sign it with `siren-hub trust sign`"


class ListReason(StrEnum):
    """Why a trust list is refused. The text is what stands in an event."""

    TOO_LARGE = "too-large"
    """More bytes than a list may have."""
    UNSIGNED = "unsigned"
    """A list as it is drafted: no root has signed it."""
    MALFORMED = "malformed"
    """Not a JWS of a trust list: JSON, a member, or a value is wrong."""
    WRONG_DEPLOYMENT = "wrong-deployment"
    """It is another installation's."""
    OLDER = "older"
    """A list of a higher version was accepted before. Trust never goes back."""
    BAD_SIGNATURE = "bad-signature"
    """A signature in a root's name is not that root's."""
    TOO_FEW_ROOTS = "too-few-roots"
    """Fewer roots that are trusted here signed it than must."""
    FORK = "fork"
    """Enough roots signed it, and another list of the same version rules: two lists go round."""
    TOO_FEW_NEW_ROOTS = "too-few-new-roots"
    """It names other roots, and fewer of those signed it than it says must."""
    BUSY = "busy"
    """Too many lists came at once; send it again."""
    NO_JOURNAL = "no-journal"
    """The disk did not take it, and what cannot be kept is not used."""


_REMEDY = {
    ListReason.TOO_LARGE: f"a list has at most {MAX_LIST_BYTES // 1024} KiB; drop keys and areas that nobody uses",
    ListReason.UNSIGNED: f"no root has signed it; {SIGN}",
    ListReason.MALFORMED: f"not a signed trust list; {SIGN}",
    ListReason.WRONG_DEPLOYMENT: "one of them is wrong",
    ListReason.OLDER: "take the newest list, or sign one of a higher version",
    ListReason.BAD_SIGNATURE: f"somebody changed it on the way, or the file is damaged; {SIGN} again",
    ListReason.TOO_FEW_ROOTS: "let more root holders sign (`siren-hub trust sign`); after a rotation pin the new roots",
    ListReason.FORK: "find out who signed two lists of one version, and sign one of a higher version",
    ListReason.TOO_FEW_NEW_ROOTS: "let the holders of the roots that it names sign too (`siren-hub trust sign`)",
}


class Refused(Exception):
    """A list that is not let in. `problems` are what a person may mend."""

    def __init__(self, reason: ListReason, detail: str, problems: tuple[Problem, ...]) -> None:
        self.reason = reason
        # JSON may name half a character, which no message can carry.
        self.detail = detail.encode(errors="backslashreplace").decode()[:DETAIL_LIMIT]
        self.problems = problems
        super().__init__(f"{reason}: {self.detail}")


@dataclass(frozen=True, slots=True)
class SignedList:
    """A trust list that enough roots signed, with the exact text of it."""

    list: TrustList
    digest: str
    kids: tuple[str, ...]
    text: str

    @property
    def version(self) -> int:
        return self.list.version


def admit(data: bytes, roots: Roots | None, deployment: str | None, ruling: SignedList | None = None,
          file: str = "trust list") -> SignedList:
    """`data` as a list that is let in, or Refused; the one that rules already comes back as it is.

    `roots` None asks only whether it is signed by the roots it names itself, `deployment` None takes anyone's:
    for those who look at a list, and for what was let in before.
    """
    opened = _opened(data, file)
    if ruling is not None and opened.digest == ruling.digest:
        return ruling
    try:
        look = strictjson.load(opened.payload, MAX_PAYLOAD_BYTES)
    except Malformed as error:
        raise _refused(ListReason.MALFORMED, file, "payload", str(error)) from None
    claimed, version = look.get("deployment"), look.get("version")
    if deployment is not None and claimed != deployment:
        named = claimed[:DETAIL_LIMIT] if isinstance(claimed, str) else None
        raise _refused(ListReason.WRONG_DEPLOYMENT, file, "deployment", named, f"here is {deployment}; ")
    if ruling is not None and isinstance(version, int) and version < ruling.version:
        raise _refused(ListReason.OLDER, file, "version", version, f"version {ruling.version} was accepted before; ")
    if roots is not None:
        _count(opened, roots, ListReason.TOO_FEW_ROOTS, file)
        if ruling is not None and version == ruling.version:
            raise _refused(ListReason.FORK, file, "version", version,
                           f"other content than the list of this version that rules, {ruling.digest[:8]}; ")
    try:
        found = signers.parse(opened.payload.decode(), file)
    except BadDocument as bad:
        raise Refused(ListReason.MALFORMED, str(bad.problems[0]), bad.problems) from None
    if roots is None or found.roots.digest != roots.digest:
        _count(opened, found.roots, ListReason.TOO_FEW_NEW_ROOTS, file)
    return SignedList(found, opened.digest, opened.kids, data.decode())


def load(path: Path, roots: Roots | None, deployment: str | None) -> SignedList:
    """The list in a file, or BadDocument with every problem in it."""
    try:
        return admit(document.read_text(path).encode(), roots, deployment, None, str(path))
    except Refused as refused:
        raise BadDocument(refused.problems) from None


def peek(data: bytes) -> Envelope:
    """What is signed and by whom it claims to be; Malformed when it is not signed at all."""
    return envelope.opened(data, MAX_LIST_BYTES, MAX_LIST_SIGNATURES)


def digest(data: bytes) -> str:
    """What names a signed list, let in or not; empty for what is none."""
    try:
        opened = peek(data)
        look = strictjson.load(opened.payload, MAX_PAYLOAD_BYTES)
    except Malformed:
        return ""
    return opened.digest if {"version", "roots", "keys"} <= look.keys() else ""


def _opened(data: bytes, file: str) -> Envelope:
    if len(data) > MAX_LIST_BYTES:
        raise _refused(ListReason.TOO_LARGE, file, "file", f"{len(data)} bytes")
    try:
        return peek(data)
    except Malformed as error:
        reason = ListReason.UNSIGNED if _is_draft(data) else ListReason.MALFORMED
        raise _refused(reason, file, "signatures" if reason is ListReason.UNSIGNED else "file",
                       None if reason is ListReason.UNSIGNED else str(error)) from None


def _is_draft(data: bytes) -> bool:
    try:
        return {"version", "keys"} <= strictjson.load(data, MAX_LIST_BYTES).keys()
    except Malformed:
        return False


def _count(opened: Envelope, roots: Roots, too_few: ListReason, file: str) -> None:
    try:
        signed = roots.signed(opened)
    except BadSignature as bad:
        raise _refused(ListReason.BAD_SIGNATURE, file, "signatures", str(bad)) from None
    if signed < roots.threshold:
        whose = "the roots it names" if too_few is ListReason.TOO_FEW_NEW_ROOTS else "the trusted roots"
        raise _refused(too_few, file, "signatures", f"{signed} of {roots.threshold}", f"of {whose}; ")


def _refused(reason: ListReason, file: str, key: str, value: object, more: str = "") -> Refused:
    problem = Problem(file, key, value, more + _REMEDY[reason])
    return Refused(reason, f"{key} {value!r}: {more}".rstrip(": ;"), (problem,))
