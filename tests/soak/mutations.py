"""Small faults for a module's tests to find: which ones a source text has, and the text with one of them.

| kind | change |
|---|---|
| comparison | `<` is `<=`, `==` is `!=`, `in` is `not in`, … |
| sign | `+` is `-`, `*` is `/`, `+=` is `-=`, … |
| constant | a whole number is one more |
| call | a statement that only calls something is dropped |
| condition | an `if`, `while` or `… if … else` asks the opposite |
| junction | `and` is `or` |

Annotations, texts (those with values in them, too), log lines, `__slots__` and named constants at the head of a module
are left alone: the last are for tuning, and a test that pins one only says it twice.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

COMPARISONS: Mapping[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
}  # fmt: skip
SIGNS: Mapping[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "*"),
    ast.BitAnd: ("&", "|"), ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"),
}  # fmt: skip
JUNCTIONS: Mapping[type[ast.boolop], tuple[str, str]] = {ast.And: ("and", "or"), ast.Or: ("or", "and")}
LOGGING = re.compile(r"\blog\.|\.log\.|_log\.|\.(debug|info|warning|error|exception|notice|fault|say)\(")
"""Statements that only log: a lost line is no lost session, and tests do not ask for each of them."""


@dataclass(frozen=True)
class Mutation:
    """One change of a source text: bytes `start` to `end` become `text`."""

    kind: str
    line: int
    start: int
    end: int
    before: str
    text: str

    def applied(self, source: str) -> str:
        """The source with this change."""
        data = source.encode()
        return (data[: self.start] + self.text.encode() + data[self.end :]).decode()

    def change(self) -> str:
        """The change in words."""
        text = "dropped" if self.kind == "call" else " ".join(self.text.split())
        return f"{' '.join(self.before.split())} -> {text}"


def mutations(source: str) -> list[Mutation]:
    """Every mutation of a source text, in the order of the text."""
    return sorted(set(_Finder(source).found()), key=lambda each: (each.start, each.end, each.kind))


def sample(sources: Mapping[str, str], count: int, seed: int) -> list[tuple[str, Mutation]]:
    """Choose `count` mutations, as many of each file as another where it has so many; the same for a seed."""
    chance = random.Random(seed)
    pools = {}
    for path in sorted(sources):
        pool = mutations(sources[path])
        chance.shuffle(pool)
        pools[path] = pool
    chosen: list[tuple[str, Mutation]] = []
    while len(chosen) < count and any(pools.values()):
        for path, pool in pools.items():
            while pool and len(chosen) < count:
                mutation = pool.pop()
                if _parses(mutation.applied(sources[path])):
                    chosen.append((path, mutation))
                    break
    return sorted(chosen, key=lambda each: (each[0], each[1].start, each[1].end))


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def _names_a_constant(node: ast.AST) -> bool:
    match node:
        case ast.Assign(targets=[target]) | ast.AnnAssign(target=target):
            pass
        case _:
            return False
    return isinstance(target, ast.Name) and (target.id == "__slots__" or target.id.strip("_").isupper())


class _Finder:
    """Walks a syntax tree with the places of its nodes in the text."""

    def __init__(self, source: str) -> None:
        self._data = source.encode()
        self._tree = ast.parse(source)
        starts = [0]
        for line in self._data.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self._starts = starts

    def found(self) -> Iterator[Mutation]:
        yield from self._visit(self._tree)

    def _visit(self, node: ast.AST) -> Iterator[Mutation]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in self._text(node.test):
            return
        if _names_a_constant(node) or isinstance(node, ast.JoinedStr):
            return
        yield from self._of(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self._visit(child)

    def _of(self, node: ast.AST) -> Iterator[Mutation]:
        match node:
            case ast.Compare():
                operands = [node.left, *node.comparators]
                for operator, left, right in zip(node.ops, operands, node.comparators, strict=False):
                    if swap := COMPARISONS.get(type(operator)):
                        yield from self._between("comparison", left, right, swap)
            case ast.BinOp() if swap := SIGNS.get(type(node.op)):
                if not self._is_text(node.left):
                    yield from self._between("sign", node.left, node.right, swap)
            case ast.AugAssign() if swap := SIGNS.get(type(node.op)):
                yield from self._between("sign", node.target, node.value, (f"{swap[0]}=", f"{swap[1]}="))
            case ast.BoolOp():
                for left, right in zip(node.values, node.values[1:], strict=False):
                    yield from self._between("junction", left, right, JUNCTIONS[type(node.op)])
            case ast.Constant() if type(node.value) is int:
                yield self._over("constant", node, str(node.value + 1))
            case ast.Expr(value=ast.Call() | ast.Await(value=ast.Call())):
                if not LOGGING.search(self._text(node)):
                    yield self._over("call", node, "pass")
            case ast.If() | ast.While() | ast.IfExp() if not isinstance(node.test, ast.Constant):
                yield self._over("condition", node.test, f"(not ({self._text(node.test)}))")

    def _is_text(self, node: ast.AST) -> bool:
        return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))

    def _place(self, line: int, column: int) -> int:
        return self._starts[line - 1] + column

    def _ends(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._place(node.lineno, node.col_offset), self._place(node.end_lineno, node.end_col_offset)

    def _text(self, node: ast.AST) -> str:
        start, end = self._ends(node)
        return self._data[start:end].decode()

    def _over(self, kind: str, node: ast.AST, text: str) -> Mutation:
        start, end = self._ends(node)
        return self._mutation(kind, start, end, text)

    def _between(self, kind: str, left: ast.AST, right: ast.AST, swap: Sequence[str]) -> Iterator[Mutation]:
        """The operator between two operands; brackets of theirs stand there, too."""
        begin, end = self._ends(left)[1], self._ends(right)[0]
        word = r"\s+".join(re.escape(part) for part in swap[0].split())
        if found := re.search(word.encode(), self._data[begin:end]):
            whole = self._data[self._ends(left)[0] : self._ends(right)[1]]
            yield self._mutation(kind, begin + found.start(), begin + found.end(), swap[1], shown=whole)

    def _mutation(self, kind: str, start: int, end: int, text: str, shown: bytes | None = None) -> Mutation:
        line = self._data.count(b"\n", 0, start) + 1
        before = (self._data[start:end] if shown is None else shown).decode()
        return Mutation(kind, line, start, end, before, text)
