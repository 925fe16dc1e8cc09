"""Mutation testing of the core: change one thing in a module, and see whether its tests notice.

    python -m bench.mutants controller/trust.py              every mutant that no test was seen to kill
    python -m bench.mutants controller/orders.py --sample 300 --seed 1

What a mutant is, `mutation.py` says. The tests of its room (`TESTS`) are imported once, and run once as they are, to
see how long each takes and which functions of the module it calls. Then each mutant has a forked process, in which the
function's code is exchanged; the tests that call it run there until one fails, the last killers first: then it is
killed. So it is when it runs into its limit of time or memory. What is in no function, or in one that was called
while the tests were imported, is tried in a process that imports everything anew, if nothing noticed before.

What is known is in build/mutants-*.jsonl, of one source of the module: another run tries the survivors again, and what
was not tried yet. Survivors are printed, to be killed by a better test or explained on the page.
"""

import argparse
import ast
import gc
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

import pytest

from bench.mutation import Mutant, changed, mutants

ROOT = Path(__file__).parents[1]
SLOW_FACTOR, LEAST_S = 5, 4
"""A test is given so many times the processor's time it takes, and so much more: then it hangs."""
QUICK_S = 1.0
"""Tests that take longer are left out: what only they notice is a survivor that is looked at by hand."""
MEMORY_BYTES = 2 << 30
"""A mutant that fills a list for ever ends here."""
COLLECTED, LIMIT = "while the tests were imported", "the limit of time or memory"

_LISTS = "admission signers seldom"
_MACHINE = ("orders orders_again orders_disk orders_intake orders_local orders_promises orders_refused orders_restart"
            " orders_stop ledger")
_ORDERS = f"{_MACHINE} orders_seldom seldom intake_bounds rare_ways reasons written_late"
TESTS = {
    "envelope": "trust admission", "signers": _LISTS, "roots": _LISTS, "admission": _LISTS,
    "wall": f"seldom {_MACHINE}",
    "succession": "succession succession_disk succession_journal seldom", "withdrawal": "withdrawal seldom",
    "trust": f"trust seldom withdrawal {_MACHINE} shelf",
    "nonce": "nonce seldom", "intake": f"{_ORDERS} nonce", "ledger": f"{_ORDERS} withdrawal",
    "allowance": "allowance strain written_late", "orders": f"{_ORDERS} withdrawal nonce targets allowance",
    **dict.fromkeys(("regime", "stopping", "restart", "site", "asking"), f"{_ORDERS} nonce targets"),
}
"""What runs against a module's mutants: the quick tests of its room, not all that might notice."""


def files(module: str) -> list[str]:
    """The tests of a module. One that has another name now would be missed in silence: its mutants would survive."""
    if module not in TESTS:
        raise SystemExit(f"TESTS of bench/mutants.py names none for {module}.py; it has {', '.join(sorted(TESTS))}")
    found: list[str] = []
    for name in TESTS[module].split():
        there = [str(file) for room in ("controller", "attacks")
                 if (file := ROOT / "tests" / room / f"test_{name}.py").is_file()]
        if not there:
            raise SystemExit(f"there is no test_{name}.py in tests/controller or tests/attacks, which TESTS of"
                             f" bench/mutants.py names for {module}.py: say there what it is called now")
        found += there
    return found


class _InPlace(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the mutant to whoever imports the module."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(self, name: str, path: Sequence[str] | None,
                  target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self._path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, vars(module))


class _Loop:
    """In place of pytest's own loop over the tests it has collected."""

    def __init__(self, work: Callable[[pytest.Session], None]) -> None:
        self._work = work

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._work(session)
        return True


def _forked(work: Callable[[], Any]) -> Any:
    """What `work` returns, from a process of its own; None when that has died."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            said = json.dumps(work()).encode()
            with os.fdopen(writes, "wb") as pipe:
                pipe.write(said)
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(said) if said else None


def _pytest(tests: list[str], work: Callable[[pytest.Session], None]) -> bool:
    """Collect the tests and do that; False when they cannot be collected."""
    from hypothesis import Phase, settings

    # What was found once is not shrunk, and the same examples are tried on every mutant.
    settings.register_profile("mutants", database=None, derandomize=True, deadline=None,
                              phases=(Phase.explicit, Phase.generate))
    settings.load_profile("mutants")
    options = ["-x", "-q", "-p", "no:cacheprovider", "-o", "timeout=60"]
    return pytest.main([*options, *tests], plugins=[_Loop(work)]) in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


class Known(NamedTuple):
    """What a test takes, and which functions of the module it calls."""

    seconds: float
    calls: list[str]


class Book:
    """What is known of the mutants of one source of a module, on the disk."""

    def __init__(self, path: Path, source: bytes) -> None:
        self._path, self._source = path, hashlib.sha256(source).hexdigest()[:16]
        self.killers: dict[str, None] = {}
        """Tests that killed, the last one at the end."""
        self.by: dict[str, str] = {}
        """Mutant -> what noticed it, or nothing."""
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            row = json.loads(line)
            self._take(row["source"], row["mutant"], row["by"])

    def _take(self, source: str, mutant: str, by: str) -> None:
        if source == self._source:
            self.by[mutant] = by
        if by:
            self.killers.pop(by, None)
            self.killers[by] = None

    def write(self, mutant: Mutant, by: str) -> None:
        self._take(self._source, mutant.key, by)
        row = {"source": self._source, "mutant": mutant.key, "by": by, "what": str(mutant)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def first(self, known: dict[str, Known], home: str) -> list[str]:
        """The tests that call a function, or all, the last killers first, then the quickest."""
        rank = {test: n for n, test in enumerate(self.killers, 1)}
        calling = [test for test, one in known.items() if one.seconds < QUICK_S and (not home or home in one.calls)]
        return sorted(calling, key=lambda test: (-rank.get(test, 0), known[test].seconds))


def _known(session: pytest.Session, file: str) -> dict[str, Known]:
    """Run every test as it is. The one that fails says nothing: it is left out."""
    out: dict[str, Known] = {}
    calls: set[str] = set()

    def traced(frame: FrameType, kind: str, argument: object) -> None:
        if frame.f_code.co_filename == file:
            calls.add(frame.f_code.co_qualname)

    for item in session.items:
        calls.clear()
        failed, began = session.testsfailed, time.process_time()
        sys.settrace(traced)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        sys.settrace(None)
        if session.testsfailed == failed:
            out[item.nodeid] = Known(time.process_time() - began, sorted(calls))
    return out


def _noticed(session: pytest.Session, tests: list[str], known: dict[str, Known]) -> str:
    """The first of the tests that fails, or nothing. Ends the process where one takes too long."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    items = {item.nodeid: item for item in session.items}
    for test in tests:
        least_s = time.process_time() + LEAST_S + SLOW_FACTOR * known[test].seconds
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(least_s), resource.RLIM_INFINITY))
        item = items.get(test)
        if item is None:
            return COLLECTED
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        if session.testsfailed:
            return test
    return ""


@dataclass(slots=True)
class Module:
    """The module under test, and its tests."""

    path: Path
    book: Book
    tree: ast.Module
    tests: list[str]

    @property
    def name(self) -> str:
        return ".".join(self.path.relative_to(ROOT).with_suffix("").parts)

    def code(self, mutant: Mutant) -> CodeType:
        return compile(changed(self.tree, mutant), str(self.path), "exec")

    def quick(self, chosen: list[Mutant]) -> tuple[dict[str, Known], set[str]]:
        """Try those in functions by exchanging code. What is known of the tests, and where exchanging is not enough."""
        anew = {""}

        def traced(frame: FrameType, kind: str, argument: object) -> None:
            if frame.f_code.co_filename == str(self.path):
                anew.add(frame.f_code.co_qualname)

        def work(session: pytest.Session) -> None:
            sys.settrace(None)
            live = dict(self._functions())
            gc.freeze()
            known = {test: Known(*one) for test, one in _forked(lambda: _known(session, str(self.path))).items()}
            for mutant in chosen:
                new = {code.co_qualname: code for code in _codes(self.code(mutant))}.get(mutant.home)
                function = live.get(mutant.home)
                if new is None or function is None or new.co_freevars != function.__code__.co_freevars:
                    anew.add(mutant.home)
                    continue
                tests = self.book.first(known, mutant.home)
                by = _forked(lambda: self._exchanged(session, function, new, tests, known))  # noqa: B023
                self.book.write(mutant, LIMIT if by is None else by)
            said.append((known, sorted(anew)))

        said: list[tuple[dict[str, Known], list[str]]] = []

        def all_of_it() -> Any:
            sys.settrace(traced)
            _pytest(self.tests, work)
            return said[0] if said else None

        found = _forked(all_of_it)
        if found is None:
            raise SystemExit("the tests cannot be imported: see python -m pytest " + " ".join(self.tests))
        return {test: Known(*one) for test, one in found[0].items()}, set(found[1])

    @staticmethod
    def _exchanged(session: pytest.Session, function: FunctionType, new: CodeType, tests: list[str],
                   known: dict[str, Known]) -> str:
        function.__code__ = new
        return _noticed(session, tests, known)

    def whole(self, mutant: Mutant, known: dict[str, Known]) -> None:
        """Try one where everything is imported anew."""
        def work() -> str:
            sys.meta_path.insert(0, _InPlace(self.name, self.path, self.code(mutant)))
            said: list[str] = []
            tests = self.book.first(known, mutant.home)
            resource.setrlimit(resource.RLIMIT_CPU, (60, resource.RLIM_INFINITY))
            collected = _pytest(self.tests, lambda session: said.append(_noticed(session, tests, known)))
            return said[0] if collected and said else COLLECTED

        by = _forked(work)
        self.book.write(mutant, LIMIT if by is None else by)

    def _functions(self) -> Iterator[tuple[str, FunctionType]]:
        for one in gc.get_objects():
            if isinstance(one, FunctionType) and one.__code__.co_filename == str(self.path):
                yield one.__qualname__, one


def _codes(code: CodeType) -> Iterator[CodeType]:
    """All functions of a module's code."""
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield one
            yield from _codes(one)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.mutants", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", type=Path, help="controller/trust.py ...")
    parser.add_argument("--sample", type=int, help="so many at random; left out: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="only those whose description contains this")
    args = parser.parse_args()
    os.nice(19 - os.nice(0))
    # What every child needs is imported once, by the parent; nothing of what is tested may be.
    for library in ("pydantic", "joserfc.jws", "joserfc.jwk", "hypothesis.strategies", "pytest_asyncio", "asyncio",
                    "sqlite3", "pymodbus.pdu", "cryptography.hazmat.primitives.asymmetric.ed25519"):
        importlib.import_module(library)
    path, began = ROOT / args.module, time.monotonic()
    source = path.read_bytes()
    (ROOT / "build").mkdir(exist_ok=True)
    book = Book(ROOT / f"build/mutants-{path.stem}.jsonl", source)
    module = Module(path, book, ast.parse(source), files(path.stem))
    every = [m for m in mutants(module.tree) if args.only is None or args.only in str(m)]
    Random(args.seed).shuffle(every)
    chosen = every[:args.sample]
    left = [m for m in chosen if not book.by.get(m.key)]
    known, anew = module.quick(left)
    # The books of the process that tried them are on the disk.
    book = module.book = Book(ROOT / f"build/mutants-{path.stem}.jsonl", source)
    for mutant in left:
        if not book.by.get(mutant.key) and mutant.home in anew:
            module.whole(mutant, known)
    for mutant in sorted((m for m in chosen if not book.by[m.key]), key=lambda m: m.line):
        print(f"survived  {args.module}:{mutant}")
    killed = sum(bool(book.by[m.key]) for m in chosen)
    print(f"{args.module}: {killed} of {len(chosen)} killed ({100 * killed / max(1, len(chosen)):.1f} %), of"
          f" {len(every)} there are; {len(left)} tried now, in {time.monotonic() - began:.0f} s, by {len(known)} tests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
