"""What a mutant is: one small change of one place in a source file."""

from __future__ import annotations

import ast
from dataclasses import dataclass

__all__ = ["Mutant", "mutants"]

_SWAPS: dict[type[ast.AST], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.BitAnd: "|",
    ast.BitOr: "&",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
}
_CONDITIONS = ("If", "Elif")


@dataclass(frozen=True)
class Mutant:
    """A change of the text of one file.

    Attributes
    ----------
    file : str
        Path below the gateware's package.
    line : int
    operator : str
        What kind of change.
    before, after : str
        The text that changes, and what it becomes.
    start, end : int
        Its place, counted in bytes.
    """

    file: str
    line: int
    operator: str
    before: str
    after: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """What identifies it among the mutants of the same sources."""
        return f"{self.file}:{self.line}:{self.start}: {self.before} -> {self.after}"

    def apply(self, text: bytes) -> bytes:
        """Return the file's text with the change."""
        return text[: self.start] + self.after.encode() + text[self.end :]


def mutants(file: str, text: bytes) -> list[Mutant]:
    """Return every mutant of a file, in the order of the text."""
    found = _Finder(file, text)
    found.visit(ast.parse(text))
    return sorted(found.mutants, key=lambda mutant: (mutant.start, mutant.operator, mutant.after))


class _Finder(ast.NodeVisitor):
    """Collects mutants; constructors, annotations, messages and texts are left alone."""

    def __init__(self, file: str, text: bytes) -> None:
        self.file, self.text = file, text
        self.mutants: list[Mutant] = []
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name != "__init__":
            for statement in node.body:
                self.visit(statement)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        return

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        return

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        # m.d.<domain> += statements
        target = ast.unparse(node.target)
        if target.startswith("m.d."):
            if isinstance(node.value, ast.List) and len(node.value.elts) > 1:
                for element in node.value.elts:
                    if not isinstance(element, ast.Starred):
                        self._add("drop assignment", element, "*()")
            else:
                self._add("drop assignment", node, "pass")
        self.visit(node.value)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            call = item.context_expr
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in _CONDITIONS
            ):
                condition = call.args[0]
                self._add("negate condition", condition, f"({self._source(condition)}) == 0")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id == "Mux" and len(node.args) == 3:
            _, one, other = node.args
            (a, b), (c, d) = self._span(one), self._span(other)
            middle = self.text[b:c].decode()
            after = self._source(other) + middle + self._source(one)
            self._put("swap Mux", node.lineno, a, d, after)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._swap(node.op, node.left, node.right)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if len(node.ops) == 1:
            self._swap(node.ops[0], node.left, node.comparators[0])
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Invert):
            self._add("drop ~", node, self._source(node.operand))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if type(node.value) is int:
            self._add("constant + 1", node, str(node.value + 1))
            if node.value:
                self._add("constant - 1", node, str(node.value - 1))

    def _swap(self, operator: ast.AST, left: ast.expr, right: ast.expr) -> None:
        if type(operator) not in _SWAPS:
            return
        start, end = self._span(left)[1], self._span(right)[0]
        before = self.text[start:end].decode()
        signs = [sign for sign in ("==", "!=", "<=", ">=", "<", ">", "+", "-", "&", "|") if sign in before]
        if signs:  # the longest comes first
            after = before.replace(signs[0], _SWAPS[type(operator)], 1)
            self._put(f"swap {signs[0]}", left.lineno, start, end, after)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, (ast.expr, ast.stmt))
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset

    def _source(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self.text[start:end].decode()

    def _add(self, operator: str, node: ast.expr | ast.stmt, after: str) -> None:
        self._put(operator, node.lineno, *self._span(node), after)

    def _put(self, operator: str, line: int, start: int, end: int, after: str) -> None:
        before = self.text[start:end].decode()
        self.mutants.append(Mutant(self.file, line, operator, before, after, start, end))
