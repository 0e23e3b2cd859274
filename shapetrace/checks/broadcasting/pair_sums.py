"""All pairs of two rows of numbers: whether they are meant, and where they are added
up."""

from __future__ import annotations

from shapetrace.checks.broadcasting.stretchers import EXPLICIT
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import culprit, data_culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import operand
from shapetrace.records import Diagnosis, FunctionCall, TensorRef

_ADDED_UP = ("mean", "sum")


def sum_of_pairs(
    context: CheckContext, rule: Check, call: FunctionCall
) -> Diagnosis | None:
    """`(rewards * discounts).sum()` of (N, 1) by (N,): all pairs of two rows added up,
    which is the product of their sums. Nobody builds a table for that."""
    tall, low = sorted(call.inputs, key=lambda ref: -len(ref.shape))
    size = low.shape[0] if len(low.shape) == 1 else 0
    if size < 2 or tall.shape != (size, 1) or is_meant(context, call, tall, low):
        return None
    users = list(context.follow((call.outputs or ())[0].id))
    if not users or any(one.name not in _ADDED_UP or ref.shape for one, ref in users):
        return None
    fix = operand(call, tall, "{}.squeeze(1)")
    return finding(
        context,
        rule,
        call,
        f"{call.name} broadcasts {tall.shape} against {low.shape} to ({size}, {size}), "
        f"of which {users[0][0].name} makes one number: every one of the first meets "
        "every one of the second.",
        culprits=[
            culprit(context, call, "makes all pairs"),
            data_culprit(context, tall.id, f"has shape {tall.shape}"),
        ],
        fixes=[context.trial(fix, Change(call, tall.path, (("squeeze", 1),)))],
        shapes=[("first", tall, 1), ("second", low, 0)],
        way=(tall.id, 1),
    )


def is_meant(
    context: CheckContext, call: FunctionCall, tall: TensorRef, low: TensorRef
) -> bool:
    """All pairs on purpose: `d[:, None] - d`, or the 1 is put there in that line."""
    if context.undressed(tall.id) == context.undressed(low.id):
        return True
    maker = context.made_by(tall.id)
    while maker is not None and maker.inputs and _puts_one(maker):
        if maker.source is not None and call.source is not None:
            if maker.source.line == call.source.line:
                return True
        maker = context.made_by(maker.inputs[0].id)
    return False


def _puts_one(maker: FunctionCall) -> bool:
    """Whether a call writes a dimension of size 1: `x[:, None]`, and not `x[:, 0:1]`,
    which has it left."""
    if plain(maker.name) != "getitem":
        return plain(maker.name) in EXPLICIT
    index = maker.args[1] if len(maker.args) > 1 else ()
    return any(part is None for part in (index if type(index) is tuple else (index,)))
