"""A mutant: a module's syntax tree with one change, and where in the module that is.

A comparison moved or turned, `and` and `or` or two operators exchanged, a condition turned, a constant one more, a
`not` taken out, a statement left out. Annotations, decorators, docstrings, texts of errors and assertions are left
alone. It refuses to know how a mutant is tried (`mutants.py`).
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

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
    home: str = ""
    """The outermost function whose body it is in, as `Class.method`; empty: the module's or a class's own body."""

    @property
    def key(self) -> str:
        """Its name among all of one source."""
        return f"{self.index}/{self.which}/{self.to}"

    def __str__(self) -> str:
        return f"{self.line}: {self.kind}: {self.text}"


def mutants(tree: ast.Module) -> Iterator[Mutant]:
    alone, homes = _alone(tree), dict(_homes(tree))
    for index, node in enumerate(ast.walk(tree)):
        if id(node) in alone or node is tree:
            continue
        line, text = getattr(node, "lineno", 0), ast.unparse(node).partition("\n")[0][:100]
        for kind, which, to in _changes(node):
            yield Mutant(index, kind, which, to, line, text, homes.get(id(node), ""))


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


def _changes(node: ast.AST) -> Iterator[tuple[str, int, int]]:
    match node:
        case ast.Compare(ops=ops):
            for which, op in enumerate(ops):
                for to, other in enumerate(COMPARISONS[type(op)]):
                    yield f"{type(op).__name__} becomes {other.__name__}", which, to
        case ast.BoolOp():
            yield "and/or exchanged", 0, 0
        case ast.BinOp(op=op) if type(op) in OPERATORS:
            yield "operator exchanged", 0, 0
        case ast.UnaryOp(op=ast.Not()):
            yield "not taken out", 0, 0
        case ast.If() | ast.While() | ast.IfExp():
            yield "condition turned", 0, 0
        case ast.Constant(value=bool() | int() | float()):
            yield "constant changed", 0, 0
        case ast.Raise() | ast.Continue() | ast.Return() | ast.AugAssign():
            yield "left out", 0, 0
        case ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Attribute()]):
            yield "left out", 0, 0


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


def _homes(node: ast.AST, path: str = "") -> Iterator[tuple[int, str]]:
    """(identity of a node, the outermost function whose body it is in), for all that are in one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield from ((id(inner), path + child.name) for statement in child.body for inner in ast.walk(statement))
        else:
            yield from _homes(child, f"{path}{child.name}." if isinstance(child, ast.ClassDef) else path)


class _Change(ast.NodeTransformer):
    """One node in place of another."""

    def __init__(self, node: ast.AST, to: ast.AST) -> None:
        self._node, self._to = node, to

    def visit(self, node: ast.AST) -> ast.AST:
        return ast.copy_location(self._to, node) if node is self._node else self.generic_visit(node)
