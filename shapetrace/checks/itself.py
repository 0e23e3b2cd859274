"""Losses that compare a tensor with itself, and results that are thrown away."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.checks.context import CheckContext, plain
from shapetrace.checks.fitting import compares
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, data_culprit, finding
from shapetrace.lineage.dimensions import DATA
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import losses_that, named
from shapetrace.source.line import Line, find

#: what leaves every number where it is
_SAME = named("copy", "cast", "detach", "view")
_DISTANCES = ("cosine_similarity", "pairwise_distance")
#: calls that do nothing but return a new tensor
_PURE = named(
    "view",
    "unit",
    "transpose",
    "expand",
    "copy",
    "cast",
    "detach",
    "flip",
    "repeat",
    "pad",
    "mask",
    "activation",
    "sigmoid",
    "pointwise",
    "power",
    "sum",
    "scale",
    "softmax",
    "log_softmax",
    "unit_length",
) - {
    "cpu"
}  # which is called to wait for the device


@check(
    "compared-with-itself",
    "warning",
    "a loss compares a tensor with itself: it is the same whatever the model does, and "
    "nothing is learned from it",
)
def compared_with_itself(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    losses = {call.index for call in context.calls(*losses_that(takes="values"))}
    for call in context.calls(*losses_that(takes="values"), *_DISTANCES, "sub"):
        pair = context.sides.get(call.index, call.inputs[:2])
        operands = [ref for ref in pair if ref is not None]
        if len(operands) < 2:
            continue
        one, two = operands
        if one.shape != two.shape or _origin(context, one) != _origin(context, two):
            continue
        if call.name == "sub" and not compares(context, call):
            continue
        if context.is_raw_data(one.id):
            continue
        who = data_culprit(context, two.id, "is the prediction itself")
        yield finding(
            context,
            rule,
            call,
            f"{call.name} is given one tensor of {one.shape} as both of its operands: "
            "the result is the same whatever the model does.",
            culprits=[
                who if call.index in losses else None,
                culprit(context, call, "compares a tensor with itself"),
            ],
            shapes=[("first", one, None), ("second", two, None)],
            way=(one.id, None),
        )


def _origin(context: CheckContext, ref: TensorRef) -> int:
    """The tensor whose numbers these are, each at its place."""
    tensor = ref.id
    call = context.made_by(tensor)
    while call is not None and plain(call.name) in _SAME and call.inputs:
        tensor = call.inputs[0].id
        call = context.made_by(tensor)
    return tensor


@check(
    "discarded-result",
    "warning",
    "a call that changes nothing but returns a new tensor stands alone on its line: "
    "what it returns is thrown away, and the old tensor is used on",
)
def discarded_result(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for call in context.functions:
        if call.name not in _PURE or not call.outputs or not call.inputs:
            continue
        given = call.inputs[0]
        if any(context.graph.users.get(ref.id) for ref in call.outputs):
            continue
        if not call.direct or not context.axes.descends(given.id, DATA):
            continue
        if not _goes_on(context, call, given) or (line := _alone(call)) is None:
            continue
        yield finding(
            context,
            rule,
            call,
            f"{call.name} returns a new tensor of {call.outputs[0].shape} that nobody "
            "takes: the one that it was called on is as it was, and is used on.",
            culprits=[culprit(context, call, "returns what nobody takes")],
            fixes=[_assigned(line)],
            shapes=[("input", given, None), ("thrown away", call.outputs[0], None)],
            way=(given.id, None),
        )


def _goes_on(context: CheckContext, call: FunctionCall, given: TensorRef) -> bool:
    """Whether the tensor is used afterwards, elsewhere, as if it had been changed."""
    return any(
        user.index > call.index and user.source != call.source
        for user, _ in context.follow(given.id)
    )


def _alone(call: FunctionCall) -> Line | None:
    """The line of a call that is a statement of its own, and the value of no cell."""
    told = (call.kwargs.get("inplace"), *call.args[1:])
    if "out" in call.kwargs or any(value is True for value in told):
        return None
    line = find(call.source)
    if line is None or not isinstance(line.tree, (ast.Call, ast.BinOp)):
        return None
    if isinstance(line.tree, ast.Call):
        # a library's function may call it inside: `ema.update_parameters(model)`
        called = line.tree.func
        name = getattr(called, "attr", getattr(called, "id", None))
        if name != call.name:
            return None
    statement = line.file.statement(line.node)
    if not isinstance(statement, ast.Expr) or statement.value is not line.node:
        return None
    if line.source.cell is not None and statement in line.file.module.body:
        return None
    return line


def _assigned(line: Line) -> Fix | None:
    """The line with what it returns kept under the name that it was called on."""
    node = line.argument("args[0]", method=True)
    if not isinstance(node, (ast.Name, ast.Attribute)):
        return None
    return Fix(line.around(f"{line.text(node)} = {line.code}"), where=line.source)
