"""Fixes that add a statement to the user's code: a mode that is set before a model is
called, an optimizer that is given what it lacks."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.records import Fix, FunctionCall, ModuleCall, Source
from shapetrace.source.line import Line, find, line_of
from shapetrace.source.rewrite import Part, rewritten
from shapetrace.source.scope import Scope, bound


def mode_set(call: ModuleCall, mode: str, after: str = "") -> Fix | None:
    """The statement that calls a model, with its mode set before it (`train` or
    `eval`), by the name that stands there, and another one after it."""
    line = find(call.source)
    if line is None or not isinstance(line.tree, ast.Call):
        return None
    func = line.tree.func
    statement = line.file.statement(line.node)
    if not isinstance(func, (ast.Name, ast.Attribute, ast.Subscript)):
        return None
    if any(isinstance(node, ast.Call) for node in ast.walk(func)):
        return None
    if line.file.home(line.node) is not line.file.home(statement):
        return None  # a lambda, which is called later
    bodied = isinstance(getattr(statement, "body", None), list)
    if bodied or after and not isinstance(statement, (ast.Assign, ast.Expr)):
        return None
    name = line.text(func)
    new = line.inserted(f"{name}.{mode}()")
    return Fix(f"{new}\n{name}.{after}()" if after else new, where=line.source)


def cleared(backward: FunctionCall, step: Source | None) -> Fix | None:
    """`optimizer.zero_grad()` before the backward, by the name that steps; behind the
    step, where that stands in another function."""
    at, line = find(step), find(backward.source)
    name = None if at is None else stepping(at)
    if at is None or line is None or name is None:
        return None
    clear = f"{name}.zero_grad()"
    if at.file is line.file and at.file.home(at.node) is line.file.home(line.node):
        return Fix(line.inserted(clear), where=line.source)
    return Fix(at.inserted(clear, after=True), where=at.source)


def backward_before(step: Source | None, total: FunctionCall) -> Fix | None:
    """The step with `loss.backward()` before it, by the name that a total is given."""
    at, line = find(step), find(total.source)
    if at is None or line is None or at.file is not line.file:
        return None
    statement = line.file.statement(line.node)
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    (target,) = statement.targets
    apart = at.file.home(at.node) is not line.file.home(line.node)
    if apart or not isinstance(target, ast.Name):
        return None
    return Fix(at.inserted(f"{target.id}.backward()"), where=at.source)


def step_behind(backward: FunctionCall, clear: Source | None) -> Fix | None:
    """The backward with `optimizer.step()` after it, by the name that clears."""
    at, line = find(clear), find(backward.source)
    if at is None or line is None or not isinstance(at.tree, ast.Call):
        return None
    func = at.tree.func
    apart = at.file.home(at.node) is not line.file.home(line.node)
    if apart or not isinstance(func, ast.Attribute) or func.attr != "zero_grad":
        return None
    new = line.inserted(f"{at.text(func.value)}.step()", after=True)
    return Fix(new, where=line.source)


def stepping(line: Line) -> str | None:
    """What the optimizer is called whose `step()` a line calls: `optimizer.step()`, or
    `scaler.step(optimizer)`."""
    if not isinstance(line.tree, ast.Call):
        return None
    func, given = line.tree.func, line.tree.args
    if not isinstance(func, ast.Attribute) or func.attr != "step":
        return None
    return line.text(given[0] if len(given) == 1 else func.value)


def of_this_model(step: Source | None, given: str) -> Fix | None:
    """The line that builds an optimizer, with other parameters."""
    for line in _optimizers(step, given):
        assert isinstance(line.tree, ast.Call)
        if line.tree.args:
            return Fix(line.with_part(line.tree.args[0], given), where=line.source)
    return None


def with_group(step: Source | None, given: str) -> Fix | None:
    """The line that builds an optimizer, and one that gives it parameters besides."""
    for line in _optimizers(step, given):
        at = find(step)
        name = None if at is None else stepping(at)
        add = f'{name}.add_param_group({{"params": {given}}})'
        return Fix(line.inserted(add, after=True), where=line.source)
    return None


def _optimizers(step: Source | None, given: str) -> Iterator[Line]:
    """Where the optimizer that steps is built; none where the model that the parameters
    are of has no name there, or it is built in more than one place."""
    at = find(step)
    name = None if at is None else stepping(at)
    if at is None or name is None or not name.isidentifier():
        return
    scope = Scope(at.file, at.file.home(at.node)).holder(name)
    made = [] if scope is None else bound(scope, name)
    if scope is None or len(made) != 1 or not isinstance(made[0].value, ast.Call):
        return
    root = given.lstrip("[*").partition(".")[0].partition("[")[0]
    if root.isidentifier() and scope.holder(root) is not None and made[0].item is None:
        yield line_of(scope.tree, made[0].value)


def chained(lost: Source | None, last: Source | None) -> Fix | None:
    """A layer that is given what the one before it made: by the name that this has, or
    of a loop, `out = layer(x)`, with `out = x` before it."""
    line = find(last)
    if line is None or lost is None or not isinstance(line.tree, ast.Call):
        return None
    given = line.tree.args[:1]
    statement = line.file.statement(line.node)
    before = find(lost)
    if before is None or not given or not isinstance(given[0], ast.Name):
        return None
    above = before.file.statement(before.node)
    name = _assigned(above)
    if name is None or name == given[0].id or before.file is not line.file:
        return None
    if above is not statement:
        return Fix(line.with_part(given[0], name), where=line.source)
    loop = line.file.parents.get(statement)
    if not isinstance(loop, ast.For) or loop.body[0] is not statement:
        return None
    start = (loop.lineno, loop.col_offset, loop.lineno, loop.col_offset)
    margin = " " * loop.col_offset
    first = f"{name} = {given[0].id}\n{margin}"
    parts: list[Part] = [(start, first), (given[0], name)]
    text, place = rewritten(line.file, parts)
    return Fix(text, where=place)


def _assigned(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        return target.id if isinstance(target, ast.Name) else None
    return None
