"""A whole gateway as octets, and back: where the black box begins anew when its beginning has become too old.

A machine has no clock, file or line inside, so its whole past is in its fields; those are what is written, by pickle,
and the configuration beside them is not. `take` stands still for what may change the moment after; what is settled
(`settled.py`) it names, and makes octets of it as they are asked for, on whatever thread. Pickle makes what it reads,
so `restore` lets it make only classes of the machines' own modules and a few containers: nothing of those can open a
file or start a program, because none of what they import can. It refuses to know what the fields mean; the file is for
the same version of the program.
"""

import io
import pickle
import sys
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import count
from types import ModuleType
from typing import Any

from controller import settled
from controller.config import Config
from controller.gateway import Gateway
from controller.ledger import Entry, Ledger
from controller.outbox import Line, Outbox
from firmware_bridge import scan
from firmware_bridge.errors import Malformed
from firmware_bridge.profile import Profile

PROTOCOL = 5
HOUSES = ("controller", "firmware_bridge")
CONTAINERS: dict[tuple[str, str], object] = {
    ("builtins", "set"): set, ("builtins", "frozenset"): frozenset, ("builtins", "bytearray"): bytearray,
    ("collections", "deque"): deque, ("collections", "OrderedDict"): OrderedDict, ("itertools", "count"): count,
}
SIZE_LIMIT = 64 * 1024 * 1024
"""Of a snapshot that is read: a gateway with its outbox full has a third of it."""


SLICE = 32
"""Of what is settled, so many are made octets at once: half a millisecond."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A gateway as it stood."""

    frame: bytes
    """It without what is settled."""
    settled: Sequence[settled.Settled]

    def __len__(self) -> int:
        """How many parts there are."""
        return 1 + -(-len(self.settled) // SLICE)

    def __iter__(self) -> Iterator[bytes]:
        """The parts, each when it is wanted; the gateway may go on meanwhile."""
        yield self.frame
        for n in range(0, len(self.settled), SLICE):
            out = io.BytesIO()
            _Plain(out, PROTOCOL).dump(self.settled[n : n + SLICE])
            yield out.getvalue()


def take(gateway: Gateway) -> Taken:
    """Everything that it will go on from."""
    out = io.BytesIO()
    _Writer(out, gateway.config).dump(gateway)
    return Taken(out.getvalue(), settled.of(gateway))


def restore(parts: Sequence[bytes], config: Config) -> Gateway:
    """The gateway that was taken, or Malformed. `config` is the one that it had."""
    size = sum(map(len, parts))
    if size > SIZE_LIMIT:
        raise Malformed(f"a snapshot of {size} bytes, more than {SIZE_LIMIT}")
    try:
        found, *slices = [_Reader(io.BytesIO(part), config).load() for part in parts]
        if isinstance(found, Gateway):
            settled.put_back(found, [one for some in slices for one in some if isinstance(one, Line | Entry)])
    except Malformed:
        raise
    except Exception as error:  # pickle raises whatever the octets lead it to
        raise Malformed(f"no snapshot of this program: {type(error).__name__}: {error}") from None
    if not isinstance(found, Gateway):
        raise Malformed("no snapshot of a gateway")
    return found


class _Plain(pickle.Pickler):
    """Of what refers to nothing that is kept beside it."""

    def reducer_override(self, obj: Any) -> Any:
        # Later versions of Python do not write counters any more.
        if type(obj) is count:
            return count, (int(repr(obj)[len("count("):-1]),)
        # Python before 3.11.4 writes a member by its name, and reads it with `getattr`, which could bring anything.
        if isinstance(obj, Enum):
            return type(obj), (obj.value,)
        return NotImplemented


class _Writer(_Plain):
    def __init__(self, file: io.BytesIO, config: Config) -> None:
        super().__init__(file, PROTOCOL)
        self._beside = {id(config): ("config", ""), id(config.signals): ("signals", ""),
                        id(scan.carried()): ("sums", "")}
        self._beside |= {id(profile): ("profile", name) for name, profile in config.profiles.items()}

    def persistent_id(self, obj: Any) -> tuple[str, str] | None:
        return self._beside.get(id(obj))

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Outbox | Ledger):
            return type(obj), (), settled.state(obj)
        return super().reducer_override(obj)


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, config: Config) -> None:
        super().__init__(file)
        self._config = config
        self._machines = _machines()

    def persistent_load(self, pid: Any) -> object:
        match pid:
            case ("config", ""):
                return self._config
            case ("signals", ""):
                return self._config.signals
            case ("sums", ""):
                return scan.carried()
            case ("profile", str(name)) if name in self._config.profiles:
                profile: Profile = self._config.profiles[name]
                return profile
        raise Malformed(f"it names {pid!r:.80}, which its configuration does not have")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in CONTAINERS:
            return CONTAINERS[module, name]
        if module in self._machines and "." not in name:
            found = getattr(sys.modules[module], name, None)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise Malformed(f"it wants {module}.{name}, which is no part of a machine")


def _machines() -> set[str]:
    """The modules that the switchboard knows, directly and by others: all of them pure, so no shell is among them."""
    found: set[str] = set()
    todo = [Gateway.__module__]
    while todo:
        module = todo.pop()
        if module in found or module.partition(".")[0] not in HOUSES:
            continue
        found.add(module)
        for value in vars(sys.modules[module]).values():
            whence = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(whence, str) and whence in sys.modules:
                todo.append(whence)
    return found
