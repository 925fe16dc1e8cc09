"""What a gateway was made from, as JSON and back: enough to make the same one again, on a laptop, from one file.

Configuration, profiles, signals and trust list as they stood at its start, not where they lie now; what its journal
held; and what named its run. No secret is among it: `gateway.toml` names the files of keys and passwords only, and
what is signed is public. It refuses to know files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller import admission
from controller.admission import Refused, SignedList
from controller.config import Config, GatewayFile
from controller.event import Record
from controller.gateway import Gateway
from controller.scale import ScaleFile
from controller.signal import Programme, Signal, Signals
from controller.succession import File
from firmware_bridge import document, profile
from firmware_bridge.errors import BadDocument, Malformed, Problem


@dataclass(frozen=True, slots=True)
class Origin:
    """The arguments of a `Gateway`, but for its journal's records."""

    config: Config
    trust: File
    session: str
    version: str
    forgot: bool = False
    safe_min: str = ""
    chance: str = ""
    """Who reads it can tell this run's nonces beforehand; without two persons' keys that is of no use."""
    policy: str = ""

    def gateway(self, records: Sequence[Record]) -> Gateway:
        return Gateway(self.config, self.trust, records, self.session, self.version, self.forgot, self.safe_min,
                       self.chance, self.policy)


def told(origin: Origin, profiles: Mapping[str, str]) -> dict[str, Any]:
    """All of it. `profiles` are the texts of those that its devices have."""
    config, trust = origin.config, origin.trust
    signals = config.signals
    return {
        "file": str(config.file),
        "config": config.spec.model_dump(mode="json", by_alias=True, exclude_unset=True),
        "profiles": dict(profiles),
        "signals": {name: one.model_dump(mode="json", exclude_unset=True) for name, one in signals.signals.items()},
        "programmes": {name: p.model_dump(mode="json", exclude_unset=True) for name, p in signals.programmes.items()},
        "scales": {name: one.model_dump(mode="json", exclude_unset=True) for name, one in config.scales.items()},
        "trust": trust.text if isinstance(trust, SignedList) else [
            [p.file, p.key, str(p.value), p.remedy] for p in trust],
        "session": origin.session,
        "version": origin.version,
        "forgot": origin.forgot,
        "safe_min": origin.safe_min,
        "chance": origin.chance,
        "policy": origin.policy,
    }


def read(data: Mapping[str, Any]) -> Origin:
    """What `told` told, or Malformed."""
    try:
        file = str(data["file"])
        spec = document.check(GatewayFile, data["config"], file)
        profiles = {id: profile.parse(text, id, f"{id}.toml") for id, text in data["profiles"].items()}
        signals = Signals({name: document.check(Signal, one, file) for name, one in data["signals"].items()},
                          {name: document.check(Programme, p, file) for name, p in data["programmes"].items()})
        trust: File = [Problem(*map(str, problem)) for problem in data["trust"]] \
            if isinstance(data["trust"], list) else admission.admit(str(data["trust"]).encode(), None, None)
        scales = {name: document.check(ScaleFile, one, file) for name, one in data["scales"].items()}
        missing = {d.profile for d in spec.device} - profiles.keys()
        if missing:
            raise Malformed(f"no profile {', '.join(sorted(missing))}")
        config = Config(Path(file), spec, profiles, signals, scales)
        return Origin(config, trust, str(data["session"]), str(data["version"]),
                      bool(data["forgot"]), str(data["safe_min"]), str(data["chance"]), str(data["policy"]))
    except (BadDocument, Refused, KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"no origin of a gateway: {type(error).__name__}: {error}") from None
