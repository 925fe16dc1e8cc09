"""`hub.toml`: one centre, checked as a whole. For the resident hub and for an operator's client alike.

Relative paths are relative to the file. It knows no private key: `[operator] keys` only names files, which the
client opens when an order is to be signed and the resident hub never does.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from controller import admission, broker, roots, signal
from controller.admission import SignedList
from controller.broker import MqttSection
from controller.roots import DEMO_ROOT, TrustSection, demo_roots
from controller.signal import Signals
from controller.signers import TrustList
from controller.wire import Area, Code
from firmware_bridge import document
from firmware_bridge.document import Document
from firmware_bridge.errors import BadDocument, Problem


class HubSection(Document):
    id: Code
    deployment: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    """Bound into every signed order, so that a test net's orders do not work in production."""
    area: Area
    """The widest area this centre orders for: no order of its clients goes beyond."""
    timezone: str = "Asia/Shanghai"

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no such time zone; say Asia/Shanghai (and install tzdata)") from None
        return value


class SignalFiles(Document):
    files: Annotated[tuple[str, ...], Field(min_length=1)]


class OperatorSection(Document):
    keys: tuple[str, ...] = ()
    """Key files that sign when the command names none. For demos and tests."""


class FleetSection(Document):
    list: str
    """fleet.toml: who may come to the broker, for `siren-hub acl`."""


class AuditSection(Document):
    heads: str
    """Where the resident hub keeps the journal heads that gateways told, for `siren-hub audit verify`."""


class FloodSection(Document):
    events: str
    """Where the resident hub keeps the events of flooding roads with their evidence, for `siren-hub flood`."""


class HubFile(Document):
    """The file as written."""

    hub: HubSection
    mqtt: MqttSection
    signals: SignalFiles
    trust: TrustSection
    operator: OperatorSection = OperatorSection()
    fleet: FleetSection | None = None
    audit: AuditSection | None = None
    flood: FloodSection | None = None


@dataclass(frozen=True)
class Config:
    """A checked centre."""

    file: Path
    spec: HubFile
    signals: Signals
    listed: SignedList

    @property
    def trusted(self) -> TrustList:
        return self.listed.list

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.spec.hub.timezone)

    def path(self, relative: str) -> Path:
        return (self.file.parent / relative).resolve()

    @property
    def keys(self) -> list[Path]:
        return [self.path(k) for k in self.spec.operator.keys]


def load(path: Path, settings: list[str] | None = None) -> Config:
    """The centre of `path` with the signals and trust list it names; BadDocument carries every problem found."""
    file = str(path)
    data = document.parse(document.read_text(path), file)
    document.override(data, settings or [], file)
    problems: list[Problem] = []
    spec: HubFile | None = None
    signals: Signals | None = None
    trusted: SignedList | None = None
    try:
        spec = document.check(HubFile, data, file)
    except BadDocument as bad:
        problems.extend(bad.problems)
    # What it names is read even when the file itself has problems, so that all are told at once.
    files = _at(data, "signals", "files")
    if isinstance(files, list) and files and all(isinstance(f, str) for f in files):
        try:
            signals = signal.load([path.parent / f for f in files])
        except BadDocument as bad:
            problems.extend(bad.problems)
    named = _at(data, "trust", "list")
    if isinstance(named, str):
        try:
            deployment = _at(data, "hub", "deployment")
            trusted = admission.load(path.parent / named, roots.pinned(data),
                                     deployment if isinstance(deployment, str) else None)
        except BadDocument as bad:
            problems.extend(bad.problems)
    if spec is not None:
        problems.extend(broker.contradictions(spec.mqtt, file))
    if spec is not None:
        problems.extend(Problem(file, "trust.roots", x, DEMO_ROOT)
                        for x in demo_roots(spec.trust.roots, spec.hub.deployment))
    if problems or spec is None or signals is None or trusted is None:
        raise BadDocument(problems)
    return Config(path, spec, signals, trusted)


def _at(data: dict[str, object], section: str, key: str) -> object:
    value = data.get(section)
    return value.get(key) if isinstance(value, dict) else None
