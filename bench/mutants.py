"""Mutation testing of the core: change one thing in a module, and see whether its tests notice.

    python -m bench.mutants controller/trust.py              every mutant, one process a mutant
    python -m bench.mutants controller/orders.py --sample 300 --seed 1

A mutant is the module's syntax tree with one change: a comparison moved or turned, `and` and `or` or two operators
exchanged, a condition turned, a constant one more, a `not` taken out, a statement left out. Annotations, decorators,
docstrings, texts of errors and assertions are left alone. It is compiled in a forked process in the module's place,
and that module's tests (`TESTS`) run until one fails: then it is killed. One that runs into the limit of time is killed
too.
Survivors are printed, to be killed by a better test or explained on the page. It needs nothing but pytest.
"""

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import CodeType, ModuleType

ROOT = Path(__file__).parents[1]
SLOW_FACTOR, LEAST_S = 6, 30.0
"""A mutant is given so many times what the tests take, and no less than so long: then it hangs."""
_T, _A = "tests/controller/test_", "tests/attacks/test_"
_ORDERS = [f"{_T}seldom.py", f"{_T}withdrawal.py", f"{_A}intake_bounds.py", f"{_T}orders.py", f"{_T}nonce.py"]
_LISTS = [f"{_T}admission.py", f"{_T}signers.py", f"{_T}seldom.py", f"{_T}succession.py"]
TESTS = {
    "trust": [f"{_T}trust.py", f"{_T}seldom.py", f"{_T}withdrawal.py", f"{_T}orders.py"],
    "envelope": [f"{_T}trust.py", f"{_T}admission.py"],
    "signers": _LISTS, "roots": _LISTS, "admission": _LISTS, "succession": [f"{_T}succession.py", *_LISTS[:1]],
    "intake": _ORDERS, "orders": _ORDERS, "ledger": _ORDERS,
    "allowance": [f"{_T}allowance.py"], "nonce": [f"{_T}seldom.py", f"{_T}nonce.py"],
    "withdrawal": [f"{_T}withdrawal.py"], "regime": _ORDERS, "stopping": _ORDERS, "restart": _ORDERS,
    "site": [*_ORDERS, f"{_T}allowance.py"],
}
"""What runs against a mutant of a module: the quick tests next to it, not all that might notice."""

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """`index` of the node in the order of `ast.walk`; `which` and `to` say what becomes of it."""

    index: int
    kind: str
    which: int = 0
    to: int = 0
    line: int = 0
    text: str = ""

    def __str__(self) -> str:
        return f"{self.line}: {self.kind}: {self.text}"


def _alone(tree: ast.Module) -> set[int]:
    """Nodes that are left alone, by identity."""
    out: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            parts += node.decorator_list
        if isinstance(node, ast.JoinedStr | ast.Assert) or (
                isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            parts.append(node)
        for part in parts:
            out.update(map(id, ast.walk(part)) if part is not None else ())
    return out


def mutants(tree: ast.Module) -> Iterator[Mutant]:
    alone = _alone(tree)
    for index, node in enumerate(ast.walk(tree)):
        if id(node) in alone:
            continue
        line, text = getattr(node, "lineno", 0), ast.unparse(node).partition("\n")[0][:100] if node is not tree else ""
        match node:
            case ast.Compare(ops=ops):
                for which, op in enumerate(ops):
                    for to, other in enumerate(COMPARISONS[type(op)]):
                        yield Mutant(index, f"{type(op).__name__} becomes {other.__name__}", which, to, line, text)
            case ast.BoolOp():
                yield Mutant(index, "and/or exchanged", line=line, text=text)
            case ast.BinOp(op=op) if type(op) in OPERATORS:
                yield Mutant(index, "operator exchanged", line=line, text=text)
            case ast.UnaryOp(op=ast.Not()):
                yield Mutant(index, "not taken out", line=line, text=text)
            case ast.If() | ast.While() | ast.IfExp():
                yield Mutant(index, "condition turned", line=line, text=text)
            case ast.Constant(value=bool() | int() | float()):
                yield Mutant(index, "constant changed", line=line, text=text)
            case ast.Raise() | ast.Continue() | ast.Return() | ast.AugAssign():
                yield Mutant(index, "left out", line=line, text=text)
            case ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Attribute()]):
                yield Mutant(index, "left out", line=line, text=text)


class _Change(ast.NodeTransformer):
    """One node in place of another."""

    def __init__(self, node: ast.AST, to: ast.AST) -> None:
        self._node, self._to = node, to

    def visit(self, node: ast.AST) -> ast.AST:
        return ast.copy_location(self._to, node) if node is self._node else self.generic_visit(node)


def changed(tree: ast.Module, mutant: Mutant) -> ast.Module:
    out = copy.deepcopy(tree)
    node = list(ast.walk(out))[mutant.index]
    match node:
        case ast.Compare():
            node.ops[mutant.which] = COMPARISONS[type(node.ops[mutant.which])][mutant.to]()
        case ast.BoolOp():
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        case ast.BinOp():
            node.op = OPERATORS[type(node.op)]()
        case ast.UnaryOp():
            _Change(node, node.operand).visit(out)
        case ast.If() | ast.While() | ast.IfExp():
            node.test = ast.UnaryOp(ast.Not(), node.test)
        case ast.Constant(value=bool(value)):
            node.value = not value
        case ast.Constant(value=int(value) | float(value)):
            node.value = value + 1
        case _:
            _Change(node, ast.Pass()).visit(out)
    return ast.fix_missing_locations(out)


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


def killed(name: str, path: Path, tree: ast.Module | None, tests: list[str], limit_s: float) -> bool:
    """Whether the tests notice, in a process of their own; None as the tree: the module as it is."""
    pid = os.fork()
    if pid == 0:
        import pytest  # imported by the parent already: here it is only named

        with contextlib.suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
        if tree is not None:
            try:
                sys.meta_path.insert(0, _InPlace(name, path, compile(tree, str(path), "exec")))
            except (SyntaxError, ValueError):
                os._exit(1)
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])) & 255)
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) != 0
        time.sleep(0.02)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.mutants", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", type=Path, help="controller/trust.py ...")
    parser.add_argument("--sample", type=int, help="so many at random; left out: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--budget", type=float, default=1e9, metavar="S", help="begin no mutant after so many seconds")
    parser.add_argument("--only", help="only those whose description contains this")
    args = parser.parse_args()
    # What every child needs is imported once, by the parent; nothing of what is tested may be.
    for library in ("pytest", "pydantic", "joserfc.jws", "joserfc.jwk", "hypothesis.strategies", "pytest_asyncio",
                    "asyncio", "sqlite3", "pymodbus.pdu", "cryptography.hazmat.primitives.asymmetric.ed25519"):
        importlib.import_module(library)
    path = ROOT / args.module
    name, tests = f"controller.{path.stem}", TESTS[path.stem]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    every = [m for m in mutants(tree) if args.only is None or args.only in str(m)]
    chosen = list(every)
    Random(args.seed).shuffle(chosen)
    chosen = chosen[:args.sample]
    began = time.monotonic()
    if killed(name, path, None, tests, 600):
        print("the tests fail without any mutant", file=sys.stderr)
        return 2
    limit_s = max(LEAST_S, SLOW_FACTOR * (time.monotonic() - began))
    counts: Counter[bool] = Counter()
    for mutant in chosen:
        if time.monotonic() - began > args.budget:
            break
        noticed = killed(name, path, changed(tree, mutant), tests, limit_s)
        counts[noticed] += 1
        if not noticed:
            print(f"survived  {args.module}:{mutant}", flush=True)
    share = 100 * counts[True] / max(1, counts.total())
    print(f"{args.module}: {counts[True]} of {counts.total()} killed ({share:.1f} %), of {len(every)} there are; seed"
          f" {args.seed}, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
