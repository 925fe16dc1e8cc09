"""A whole gateway as octets, and back: where the black box begins anew when its beginning has become too old.

A machine has no clock, file or line inside, so its whole past is in its fields; those are what is written, by pickle,
and the configuration beside them is not. Pickle makes what it reads, so `restore` lets it make only classes of the
machines' own modules and a few containers: nothing of those can open a file or start a program, because none of what
they import can. It refuses to know what the fields mean; the file is for the same version of the program.
"""

import io
import pickle
import sys
from collections import OrderedDict, deque
from enum import Enum
from itertools import count
from types import ModuleType
from typing import Any

from controller.config import Config
from controller.gateway import Gateway
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


def take(gateway: Gateway) -> bytes:
    """Everything that it will go on from."""
    out = io.BytesIO()
    _Writer(out, gateway.config).dump(gateway)
    return out.getvalue()


def restore(data: bytes, config: Config) -> Gateway:
    """The gateway that was taken, or Malformed. `config` is the one that it had."""
    if len(data) > SIZE_LIMIT:
        raise Malformed(f"a snapshot of {len(data)} bytes, more than {SIZE_LIMIT}")
    try:
        found = _Reader(io.BytesIO(data), config).load()
    except Malformed:
        raise
    except Exception as error:  # pickle raises whatever the octets lead it to
        raise Malformed(f"no snapshot of this program: {type(error).__name__}: {error}") from None
    if not isinstance(found, Gateway):
        raise Malformed("no snapshot of a gateway")
    return found


class _Writer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, config: Config) -> None:
        super().__init__(file, PROTOCOL)
        self._beside = {id(config): ("config", ""), id(config.signals): ("signals", ""),
                        id(scan.carried()): ("sums", "")}
        self._beside |= {id(profile): ("profile", name) for name, profile in config.profiles.items()}

    def persistent_id(self, obj: Any) -> tuple[str, str] | None:
        return self._beside.get(id(obj))

    def reducer_override(self, obj: Any) -> Any:
        # Later versions of Python do not write counters any more.
        if type(obj) is count:
            return count, (int(repr(obj)[len("count("):-1]),)
        # Python before 3.11.4 writes a member by its name, and reads it with `getattr`, which could bring anything.
        if isinstance(obj, Enum):
            return type(obj), (obj.value,)
        return NotImplemented


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
