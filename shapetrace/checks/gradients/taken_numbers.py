"""Terms of a loss that were made numbers of: nothing learns from them any more."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.checks.finding.context import SAME_VALUES, CheckContext, plain
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.gradients.gradient import terms
from shapetrace.lineage.dimensions import RECORDED
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.source.line import Line, find

#: what makes a Python number of a tensor
_TAKES = ("item", "float")


def numbers_added(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """`loss + 0.1 * penalty.item()`: a constant is added, which has no gradient. What
    only weighs another term, by its size, is none."""
    taken = [
        call
        for call in context.calls(*_TAKES)
        if call.inputs and _learns(context, call.inputs[0])
    ]
    totals = [call.inputs[0] for call in context.calls("backward") if call.inputs]
    if not taken or not totals:
        return
    parts = terms(context, totals)
    for call in context.of_kind("sum"):
        if len(call.inputs) != 1 or not any(r.id in parts for r in call.outputs or ()):
            continue
        for number in taken:
            if _is_added(context, call, number):
                yield _constant(context, rule, call, number)


def _learns(context: CheckContext, ref: TensorRef) -> bool:
    """Whether a tensor learns, or is one that does, detached."""
    while not context.axes.descends(ref.id, RECORDED):
        made = context.made_by(ref.id)
        if made is None or not made.inputs or plain(made.name) not in SAME_VALUES:
            return False
        ref = made.inputs[0]
    return True


def _is_added(context: CheckContext, call: FunctionCall, number: FunctionCall) -> bool:
    """Whether a sum's other operand is made of a number, there or under a name."""
    line, taken = find(call.source), find(number.source)
    if line is None or taken is None or line.file is not taken.file:
        return False
    if not isinstance(line.tree, ast.BinOp):
        return False
    made = context.made_by(call.inputs[0].id)
    tensor = None if made is None else find(made.source)
    sides = [line.tree.left, line.tree.right]
    return any(_holds(line, side, taken, tensor) for side in sides)


def _holds(line: Line, side: ast.expr, taken: Line, tensor: Line | None) -> bool:
    """Whether an operand is made of what was taken out, and not of the tensor that is
    the other one."""
    names = {node.id for node in ast.walk(side) if isinstance(node, ast.Name)}
    statement = taken.file.statement(taken.node)
    held: ast.AST = side
    if taken.node not in set(ast.walk(side)):
        if line.file.home(line.node) is not line.file.home(taken.node):
            return False
        if isinstance(statement, ast.AugAssign):
            target: ast.expr = statement.target
        elif isinstance(statement, ast.Assign):
            target = statement.targets[0]
        else:
            return False
        if not isinstance(target, ast.Name) or target.id not in names:
            return False
        held = statement
    return tensor is None or tensor.node not in set(ast.walk(held))


def _constant(
    context: CheckContext, rule: Check, call: FunctionCall, number: FunctionCall
) -> Diagnosis:
    ref = number.inputs[0]
    return finding(
        context,
        rule,
        number,
        f"{number.name}() makes a number of {ref.shape}, which {call.name} at "
        f"{call.source} adds to the loss: a constant, that has no gradient.",
        culprits=[
            culprit(context, number, "cuts the gradient"),
            culprit(context, call, "adds a constant"),
        ],
        fixes=[_as_tensor(number)],
        shapes=[("input", ref, None)],
        way=(ref.id, None),
    )


def _as_tensor(number: FunctionCall) -> Fix | None:
    """The line with the tensor in the place of its number."""
    line = find(number.source)
    if line is None or not isinstance(line.tree, ast.Call):
        return None
    func, given = line.tree.func, line.tree.args
    if isinstance(func, ast.Attribute) and func.attr == "item" and not given:
        return Fix(line.around(line.text(_attached(func.value))), where=line.source)
    if isinstance(func, ast.Name) and func.id == "float" and len(given) == 1:
        return Fix(line.around(line.text(given[0])), where=line.source)
    return None


def _attached(node: ast.expr) -> ast.expr:
    """An expression without its `.detach()`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr == "detach" and not node.args:
            return node.func.value
    return node
