"""A sum over all samples that is added to a value of each."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.lineage.dimensions import DATA, TRAINABLE
from shapetrace.records import Diagnosis, FunctionCall, TensorRef

#: calls between a sum and where it is added, and from there to the mean
_NEAR = 8
#: a smaller factor may be the share of one sample: `total / len(batch)`
_LEAST = 0.5


def added_totals(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """`log_prob - sum(log_det)`, of which the second is over the samples."""
    for call in context.calls("add", "sub", "rsub"):
        if len(call.inputs) != 2:
            continue
        for number, each in (call.inputs, call.inputs[::-1]):
            if number.shape or len(each.shape) != 1 or each.shape[0] < 2:
                continue
            total = _total(context, number)
            summed = _summed(context, total) if total is not None else None
            if total is None or summed is None or not _ends(context, call):
                continue
            samples = context.axes.sole(each.id, 0)
            if samples is None or samples != context.axes.sole(summed.id, 0):
                continue
            if not all(_is_learned(context, ref) for ref in (number, each)):
                continue
            count = each.shape[0]
            yield finding(
                context,
                rule,
                call,
                f"{plain(call.name)} takes one number, which {plain(total.name)} at "
                f"{total.source} summed over {summed.shape}, the {count} samples too, "
                f"and a value of each sample, {each.shape}: it counts {count} times.",
                culprits=[
                    culprit(context, call, "takes the sum of all for each"),
                    culprit(context, total, "sums over the samples", 0, count),
                ],
                fixes=["sum over the other dimensions alone, or not at all"],
                shapes=[("number", number, None), ("each", each, 0)],
                way=(summed.id, 0),
            )
            break


def _is_learned(context: CheckContext, ref: TensorRef) -> bool:
    axes = context.axes
    return axes.descends(ref.id, DATA) and axes.descends(ref.id, TRAINABLE)


def _total(context: CheckContext, ref: TensorRef) -> FunctionCall | None:
    """The sum that a number is, but for its sign and a factor that is no share."""
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None or plain(made.name) in ("sum", "add"):
            return made
        if len(made.inputs) != 1 or plain(made.name) not in ("neg", "mul"):
            return None
        factors = [one for one in made.args if isinstance(one, (int, float))]
        if any(abs(one) < _LEAST for one in factors):
            return None
        ref = made.inputs[0]
    return None


def _summed(context: CheckContext, total: FunctionCall) -> TensorRef | None:
    """What a sum without a dimension is over: also Python's, which adds one sample
    after the other."""
    if total.name == "sum":
        whole = argument(total, "dim", 1) is None
        return total.inputs[0] if whole and total.inputs[0].shape else None
    parts = 0
    made: FunctionCall | None = total
    while made is not None and plain(made.name) == "add":
        sample = context.made_by(made.inputs[-1].id)
        if sample is None or sample.name not in ("iter", "unbind"):
            return None
        parts += 1
        if len(made.inputs) == 1:  # what Python's sum starts with is 0
            break
        made = context.made_by(made.inputs[0].id)
        if made is not None and made.name in ("iter", "unbind"):
            parts += 1
            break
    else:
        return None
    given = sample.inputs[0]
    return given if given.shape == (parts,) else None


def _ends(context: CheckContext, call: FunctionCall) -> bool:
    """Whether the values of the samples become one number, with others added."""
    todo = list(call.outputs or ())[:1]
    for _ in range(_NEAR):
        if not todo:
            return False
        for user, ref in context.follow(todo.pop().id):
            if not ref.shape:
                return plain(user.name) in ("mean", "sum")
            if plain(user.name) in ("add", "sub", "rsub", "neg", "mul"):
                todo.append(ref)
    return False
