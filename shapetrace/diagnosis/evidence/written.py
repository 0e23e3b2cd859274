"""What stands in the line that builds a layer, where a repair writes a number."""

from __future__ import annotations

import ast
from textwrap import dedent

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.source.place import lines_of

#: repairs that build a module otherwise
_BUILDS = ("width", "intake", "parameter", "setting", "window")


def written(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a number takes the place of one, of a name, or of what the program
    reckons: sizes that were put together on purpose are not mistaken as numbers are."""
    where = hypothesis.where
    if hypothesis.form not in _BUILDS or where is None or not hypothesis.line:
        return None
    before = _parsed("\n".join(lines_of(where)))
    after = _parsed(hypothesis.line)
    if before is None or after is None:
        return None
    old, new = _replaced(before, after)
    if not isinstance(new, ast.Constant) or type(new.value) is not int:
        return None
    if isinstance(old, ast.Constant):
        return Fact("puts a number for a number")
    if isinstance(old, ast.Name):
        return Fact("puts a number for a name")
    if isinstance(old, ast.Attribute | ast.Subscript):
        return Fact("puts a number for an attribute")
    return Fact("puts a number for what is computed")


def _parsed(code: str) -> ast.stmt | None:
    """A statement, or one of the lines of a longer one."""
    try:
        (found,) = ast.parse(dedent(code).strip().rstrip(",")).body
    except (SyntaxError, ValueError):
        return None
    return found


def _replaced(old: ast.AST, new: ast.AST) -> tuple[ast.AST, ast.AST]:
    """The one part in which two pieces of code differ."""
    pairs = zip(ast.iter_child_nodes(old), ast.iter_child_nodes(new))
    unlike = [pair for pair in pairs if ast.dump(pair[0]) != ast.dump(pair[1])]
    if type(old) is not type(new) or len(unlike) != 1:
        return old, new
    return _replaced(*unlike[0])
