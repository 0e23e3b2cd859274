"""The rules of losses that a line of the table cannot say."""

from __future__ import annotations

from shapetrace.signatures.answer import Answer, rank_conflict
from shapetrace.signatures.binding import Bound, Operand
from shapetrace.signatures.broadcasting import spread
from shapetrace.signatures.match import match_best
from shapetrace.signatures.registry import rule
from shapetrace.signatures.relation import Conflict, Side
from shapetrace.signatures.table import signatures


@rule(
    "cross_entropy cross_entropy_loss",
    "input target weight size_average ignore_index reduce reduction",
)
def cross_entropy(b: Bound) -> Answer:
    """Class indices, or class probabilities where the target has the input's shape.

    torch decides by the shapes alone. A float target of the input's rank and another
    number of classes is read as probabilities all the same: they were meant.
    """
    logits, target = b.need("input"), b.need("target")
    known = signatures("cross_entropy")
    indices, shares = known[:2], known[2:]
    if logits.shape == target.shape:
        return match_best(shares, b)
    meant = target.ref.dtype.is_floating_point and target.shape[1:2] != (1,)
    if meant and len(logits.shape) == len(target.shape):
        return match_best(shares, b)
    result = match_best(indices, b)
    if any(conflict.kind == "rank" for conflict in result.conflicts):
        _mark_layout(result, logits, target)
    return result


def _mark_layout(result: Answer, logits: Operand, target: Operand) -> None:
    """After a target of wrong rank: the sizes that disagree as well."""
    if not logits.shape or not target.shape or len(logits.shape) < 2:
        return
    if logits.shape[0] == target.shape[0]:
        return
    if any(c.kind == "size" and c.name == "batch" for c in result.conflicts):
        return
    left = Side(logits.pos, 0, logits.shape[0], "batch")
    right = Side(target.pos, 0, target.shape[0], "batch")
    result.conflicts.append(Conflict("size", "batch", left, right))


def _scalar_unless_none(b: Bound, result: Answer) -> Answer:
    """A loss is a scalar unless `reduction` is "none"."""
    if result.outputs and b.value("reduction", "mean") not in ("none", 0):
        result.outputs = [[]]
    return result


def _bad_variance(pred: Operand, var: Operand) -> Conflict:
    """Where the variance's shape is not the input's."""
    if len(var.shape) != len(pred.shape):
        left = Side(pred.pos, None, len(pred.shape), "input")
        return Conflict(
            "rank", "var", left, Side(var.pos, None, len(var.ref.shape), "var")
        )
    d = next(d for d, s in enumerate(pred.shape) if s != var.shape[d])
    left = Side(pred.pos, d, pred.shape[d], "input")
    return Conflict("size", "var", left, Side(var.pos, d, var.shape[d], "var"))


@rule("gaussian_nll_loss", "input target var full eps reduction")
def gaussian_nll(b: Bound) -> Answer:
    """Input and target broadcast; the variance may lack the last dimension."""
    pred, target, var = b.need("input"), b.need("target"), b.tensor("var")
    operands = [pred, target]
    if var is not None and var.shape == pred.shape[:-1]:
        var = Operand(var.pos, (*var.shape, 1), var.ref)
    if var is not None:
        operands.append(var)
        legal = (pred.shape, (*pred.shape[:-1], 1))
        if var.shape not in legal:
            return Answer(conflicts=[_bad_variance(pred, var)])
    result = spread(b, operands)
    if var is not None and pred.shape == (*var.shape[:-1], *pred.shape[-1:]):
        # a variance for each row is documented, no accident
        result.stretched = [s for s in result.stretched if s[0] != var.pos]
    return _scalar_unless_none(b, result)


@rule(
    "triplet_margin_loss",
    "anchor positive negative margin p eps swap size_average reduce reduction",
)
def triplet(b: Bound) -> Answer:
    """Three tensors of one number of dimensions; the features are contracted."""
    operands = [b.need(name) for name in ("anchor", "positive", "negative")]
    rank = len(operands[0].shape)
    answer = Answer()
    for op, name in zip(operands[1:], ("positive", "negative")):
        if len(op.shape) != rank:
            answer.conflicts.append(rank_conflict(name, op.pos, len(op.shape), rank))
    if answer.conflicts:
        return answer
    answer = spread(b, operands)
    if answer.outputs:
        answer.outputs = [answer.outputs[0][:-1]]
        if b.value("reduce") is not False:
            return _scalar_unless_none(b, answer)
    return answer


@rule(
    "margin_ranking_loss",
    "input1 input2 target margin size_average reduce reduction",
)
def margin_ranking(b: Bound) -> Answer:
    """Three tensors of one number of dimensions, that broadcast."""
    operands = [b.need(name) for name in ("input1", "input2", "target")]
    first = operands[0]
    left = Side(first.pos, None, len(first.shape), "input1")
    wrong = [
        Conflict("rank", name, left, Side(op.pos, None, len(op.shape), name))
        for op, name in zip(operands[1:], ("input2", "target"))
        if len(op.shape) != len(first.shape)
    ]
    if wrong:
        return Answer(conflicts=wrong)
    return _scalar_unless_none(b, spread(b, operands))
