"""Root keys: so many of these sign a trust list. Pinned in a gateway's and a hub's file, carried on by the lists.

Their private halves are offline, with persons who order nothing. The roots of a list sign the next one; where that
has other roots, enough of the old and enough of the new sign it, as TUF does.
It refuses to know what a list says, and whom a root key belongs to.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from controller.envelope import Envelope, X, thumbprint, unb64
from firmware_bridge.document import Document

MAX_ROOTS = 9
"""Five root keys are many; nine are more than a ceremony brings together."""
DEMO_DEPLOYMENT = "demo"
DEMO_ROOTS = frozenset({
    "ZaTKlA0Tf53FakN6v_5uOfeJRdEXogcGsBAPC7ojvkU",  # root-1
    "qW8YB4iI5LpxumN7gWHrfQvfXgO_RwYOqoFi9PqFnGA",  # root-2
    "EsHZRDL6wSTJrIg3VpJF10RO9qidae6OnTfW3YwATso",  # root-3
})
"""RFC 7638 thumbprints of the keys in configs/demo/roots. Their private halves are public: never in production."""

DEMO_ROOT = "a demo root, whose private half anybody has; make roots of your own with `siren-hub key new --root`"

RootKeys = Annotated[tuple[Annotated[str, Field(pattern=X)], ...], Field(min_length=1, max_length=MAX_ROOTS)]
Threshold = Annotated[int, Field(ge=1, le=MAX_ROOTS, strict=True)]


def _distinct(keys: tuple[str, ...]) -> tuple[str, ...]:
    for n, x in enumerate(keys):
        if unb64(x) is None:
            raise ValueError(f"{x} is no base64url of 32 octets; take the key as `siren-hub key new --root` printed it")
        if x in keys[:n]:
            raise ValueError(f"{x} stands twice; every root key counts once")
    return keys


def _reachable(threshold: int, keys: object) -> int:
    if isinstance(keys, tuple) and threshold > len(keys):
        raise ValueError(f"more than the {len(keys)} root keys there are; nobody could sign a list")
    return threshold


class Roots(Document):
    """Any `threshold` of these keys."""

    keys: RootKeys
    """The public keys, each the `x` of its JWK."""
    threshold: Threshold

    _keys = field_validator("keys")(_distinct)

    @field_validator("threshold")
    @classmethod
    def _threshold(cls, value: int, info: ValidationInfo) -> int:
        return _reachable(value, info.data.get("keys"))

    @property
    def by_name(self) -> dict[str, str]:
        """Thumbprint -> x: the name under which each signs."""
        return {thumbprint(x): x for x in self.keys}

    @property
    def digest(self) -> str:
        """The same for the same roots in any order."""
        return hashlib.sha256(f"{self.threshold} {' '.join(sorted(self.keys))}".encode()).hexdigest()[:32]

    def signed(self, envelope: Envelope) -> int:
        """How many of these keys signed; BadSignature when one of them is named and did not. Others do not count."""
        names = self.by_name
        envelope.verify(names)
        return len(names.keys() & set(envelope.kids))


class TrustSection(Document):
    """`[trust]` of gateway.toml and hub.toml: where the list is, and whose signatures make it one."""

    list: str
    roots: RootKeys
    """The public root keys, as `siren-hub key new --root` prints them."""
    threshold: Threshold
    """So many of them sign a list."""

    _roots = field_validator("roots")(_distinct)

    @field_validator("threshold")
    @classmethod
    def _threshold(cls, value: int, info: ValidationInfo) -> int:
        return _reachable(value, info.data.get("roots"))

    @property
    def pinned(self) -> Roots:
        return Roots(keys=self.roots, threshold=self.threshold)


def pinned(data: Mapping[str, Any]) -> Roots | None:
    """The roots that an unchecked file pins, where it does so rightly."""
    section = data.get("trust")
    if not isinstance(section, dict):
        return None
    try:
        return Roots.model_validate({"keys": section.get("roots"), "threshold": section.get("threshold")})
    except ValidationError:
        return None


def demo_roots(keys: Iterable[str], deployment: str) -> list[str]:
    """Those of the keys whose private halves anybody has, where that matters."""
    return [x for x in keys if deployment != DEMO_DEPLOYMENT and thumbprint(x) in DEMO_ROOTS]

