"""Blind changes of source code: every place where a change is possible, a sample of them, and the changed tree."""

import ast
import copy
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, Final

from tests.contract.mutation_scope import SCOPES, SOURCES

_ORDERS: Final = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_OPPOSITES: Final[dict[type, type]] = {
    **{ast.Eq: ast.NotEq, ast.Is: ast.IsNot, ast.In: ast.NotIn},
    **{ast.NotEq: ast.Eq, ast.IsNot: ast.Is, ast.NotIn: ast.In},
}
_ARITHMETIC: Final[dict[type, tuple[type, ...]]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.FloorDiv, ast.Add),
    ast.Div: (ast.Mult, ast.FloorDiv),
    ast.FloorDiv: (ast.Mult, ast.Mod),
    ast.Mod: (ast.Mult, ast.FloorDiv),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
}
_PAIRS: Final = (
    ("min", "max"),
    ("any", "all"),
    ("startswith", "endswith"),
    ("removeprefix", "removesuffix"),
    ("lower", "upper"),
    ("ceil", "floor"),
    ("partition", "rpartition"),
    ("match", "fullmatch"),
)
_SWAPPED: Final = {**dict(_PAIRS), **{other: one for one, other in _PAIRS}}
_PROSE: Final = re.compile(r"[A-Za-z]{2,}[,;:]? [A-Za-z]{2,}")
"""Two words: a text that a person reads. The documented texts are in the contract file."""


def _comparison(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for place, former in enumerate(node.ops):
            others = [_OPPOSITES[type(former)]] if type(former) in _OPPOSITES else [*_ORDERS]
            for other in others:
                if other is not type(former):
                    yield _with(node, ops=[*node.ops[:place], other(), *node.ops[place + 1 :]])


def _boolean(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        for place in range(len(node.values)):
            left = node.values[:place] + node.values[place + 1 :]
            yield left[0] if len(left) == 1 else _with(node, values=left)


def _sign(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.UnaryOp):
        yield node.operand


def _condition(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, (ast.If, ast.While, ast.IfExp)) and not _has_opposite(node.test):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.comprehension) and node.ifs:
        yield _with(node, ifs=[ast.UnaryOp(ast.Not(), node.ifs[0]), *node.ifs[1:]])
        yield _with(node, ifs=node.ifs[1:])


def _has_opposite(test: ast.AST) -> bool:
    """Whether another kind of change negates this test already."""
    is_compared = isinstance(test, ast.Compare) and len(test.ops) == 1 and type(test.ops[0]) in _OPPOSITES
    return is_compared or isinstance(test, (ast.UnaryOp, ast.Constant))


def _branch(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If):
        yield _with(node, body=[ast.Pass()])
        if node.orelse:
            yield _with(node, orelse=[])
    if isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse


def _arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        for other in _ARITHMETIC.get(type(node.op), ()):
            yield _with(node, op=other())


def _constant(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant):
        for other in _other_values(node.value):
            yield ast.Constant(other)


def _other_values(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [other for other in (value + 1, value - 1, value * 2, 0) if other != value]
    if isinstance(value, str):
        return [other for other in ("", value + "x", value[1:]) if other != value]
    if isinstance(value, bytes):
        return [other for other in (b"", value + b"x", value[1:]) if other != value]
    return []


def _call(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Call):
        called = node.func
        if isinstance(called, ast.Name) and called.id in _SWAPPED:
            yield _with(node, func=_with(called, id=_SWAPPED[called.id]))
        if isinstance(called, ast.Attribute) and called.attr in _SWAPPED:
            yield _with(node, func=_with(called, attr=_SWAPPED[called.attr]))


def _result(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Return) and node.value is not None:
        if not isinstance(node.value, ast.Constant):
            yield _with(node, value=ast.UnaryOp(ast.Not(), node.value))
        if not (isinstance(node.value, ast.Constant) and node.value.value in (None, False)):
            yield _with(node, value=ast.Constant(None))


def _removal(node: ast.AST) -> Iterator[ast.AST]:
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, (ast.Call, ast.Await))
    # a local name that is never set would only crash
    is_stored = isinstance(node, ast.Assign) and all(
        isinstance(each, (ast.Attribute, ast.Subscript)) for each in node.targets
    )
    if is_call or is_stored or isinstance(node, (ast.AugAssign, ast.Delete, ast.Raise, ast.Break, ast.Continue)):
        yield ast.Pass()


KINDS: Final[dict[str, Callable[[ast.AST], Iterator[ast.AST]]]] = {
    "comparison": _comparison,
    "boolean": _boolean,
    "sign": _sign,
    "condition": _condition,
    "branch": _branch,
    "arithmetic": _arithmetic,
    "constant": _constant,
    "call": _call,
    "result": _result,
    "removal": _removal,
}
"""By name: what a node can be changed to."""

UNCHANGED: Final = "unchanged"
"""The kind of a site that changes nothing: a red rule is a false alarm."""


@dataclass(frozen=True)
class Site:
    """A place and a kind of change.

    name: hexadecimal; follows from the code of the place, so that other code may change.
    node: its number in the walk through the tree of its file.
    """

    name: str
    file: str
    line: int
    place: str
    kind: str
    node: int


def _with(node: Any, **fields: Any) -> Any:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


@cache
def sites(file: str, seed: int) -> tuple[Site, ...]:
    """Every place of a file that is in scope. The names depend on the seed; their order is the random order."""
    found: list[Site] = []
    seen: Counter[str] = Counter()
    for number, (node, place) in enumerate(_walk(_tree(file), "")):
        if not SCOPES[file].holds(place):
            continue
        for kind, change in KINDS.items():
            if next(change(node), None) is not None:
                text = f"{seed} {file} {place} {kind} {ast.dump(node)}"
                seen[text] += 1
                name = sha256(f"{text} {seen[text]}".encode()).hexdigest()[:8]
                found.append(Site(name, file, getattr(node, "lineno", 0), place, kind, number))
    return tuple(found)


def sample(seed: int, count: int, files: Sequence[str] = ()) -> list[Site]:
    """`count` random places of all files, all equally likely; where `files` names any, those of them in these files."""
    selected = sorted((site for file in SCOPES for site in sites(file, seed)), key=lambda site: site.name)
    return [site for site in selected[:count] if not files or site.file in files]


def mutant(site: Site) -> tuple[ast.Module, str]:
    """The tree of the file with the change, and the code before and after it."""
    tree = _tree(site.file)
    if site.kind == UNCHANGED:
        return tree, UNCHANGED
    nodes = [node for node, _ in _walk(tree, "")]
    node = nodes[site.node]
    others = list(KINDS[site.kind](node))
    other = others[int(site.name, 16) % len(others)]
    changed = ast.fix_missing_locations(_Swap(node, other).visit(tree))
    return changed, f"{_written(node)}  ->  {_written(other)}"


class _Swap(ast.NodeTransformer):
    def __init__(self, former: ast.AST, other: ast.AST) -> None:
        self.former, self.other = former, other

    def visit(self, node: ast.AST) -> Any:
        if node is self.former:
            return ast.copy_location(self.other, node) if hasattr(node, "lineno") else self.other
        return self.generic_visit(node)


def _written(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else text[:90] + "..."


def _tree(file: str) -> ast.Module:
    return ast.parse((SOURCES / file).read_text(encoding="utf-8"))


_DECLARED: Final = ("annotation", "returns", "decorator_list", "bases", "keywords", "type_params")


def _walk(node: ast.AST, place: str) -> Iterator[tuple[ast.AST, str]]:
    """Each node whose change can be visible in what the program does, with the name of its class and function."""
    if _is_silent(node):
        return
    yield node, place
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        place = f"{place}.{node.name}".lstrip(".")
    for name, value in ast.iter_fields(node):
        if name in _DECLARED and not isinstance(node, ast.Call):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child, place)


def _is_silent(node: ast.AST) -> bool:
    """Docstrings, texts for people, type aliases, slots, assertions: all that only a type checker or a person reads."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Assert() | ast.Import() | ast.ImportFrom():
            return True
        case ast.Constant(value=str() as text):
            return bool(_PROSE.search(text))
        case ast.JoinedStr():
            parts = [each.value for each in node.values if isinstance(each, ast.Constant)]
            return any(_PROSE.search(str(part)) for part in parts)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.FunctionDef(name="__repr__"):
            return True
        case ast.Call(func=ast.Name(id="print" | "cast")) | ast.Expr(value=ast.Call(func=ast.Name(id="print"))):
            return True
        case ast.Assign(targets=[ast.Name(id="__slots__")]):
            return True
        # the routes of the control API
        case ast.Call(func=ast.Name(id="Mount")):
            return True
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript() | ast.BinOp(op=ast.BitOr())):
            return name[:1].isupper() and not name.isupper()
        case _:
            return False
