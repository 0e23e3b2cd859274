"""Attention of the heads of one position to each other, where positions were meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.reshaping.named_views import misnamed
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind

#: calls between a product and its softmax, or between a view and the product
_NEAR = 8
#: what scores go through before their softmax, each element for itself
_IN_PLACE = ("sum", "scale", "mask", "cast", "copy", "dropout")
#: what heads go through before their product
_OF_HEADS = ("copy", "cast", "scale", "norm", "unit_length", "pick", "dropout", "sum")


class _Scores(NamedTuple):
    """Who compares queries `(…, queries, width)` with keys."""

    call: FunctionCall
    query: TensorRef
    key: TensorRef
    #: the dimension of the key that is summed over with the query's last
    width: int
    keys: int


@check(
    "attention-over-heads",
    "warning",
    "the heads of each position attend to each other, and no position sees another: "
    "heads were cut out of the features and not moved before the positions",
)
def attention_over_heads(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for one in _compared(context):
        cut = _cut(context, one.query)
        if cut is None or not _within_a_position(context, one):
            continue
        if any(found.call.index == cut.index for found in misnamed(context)):
            continue  # told as what it is, a view where a permute was meant
        rank = len(one.query.shape)
        at = rank - 2
        yield finding(
            context,
            rule,
            one.call,
            f"{one.call.name} compares dimension {at} of {one.query.shape} with that "
            f"of {one.key.shape}: {one.query.shape[at]} heads of the same position, as "
            f"{cut.name} at {cut.source} has cut them. Dimension {at - 1}, the "
            "positions, is a batch to it.",
            culprits=[
                culprit(context, cut, "leaves the heads behind the positions", at),
                culprit(context, one.call, "compares heads with heads", at),
            ],
            fixes=[
                f"give it queries, keys and values with transpose({at - 1}, {at}), "
                "and turn the result back before the heads are merged"
            ],
            shapes=[("queries", one.query, at), ("keys", one.key, one.keys)],
            way=(one.query.id, at),
        )


def _compared(context: CheckContext) -> Iterator[_Scores]:
    for call in context.calls("scaled_dot_product_attention"):
        if len(call.inputs) > 2:
            query, key = call.inputs[:2]
            rank = len(key.shape)
            yield _Scores(call, query, key, rank - 1, rank - 2)
    for softmax in context.calls("softmax"):
        product = _product(context, softmax)
        if product is not None:
            query, key = product.inputs
            rank = len(key.shape)
            yield _Scores(product, query, key, rank - 2, rank - 1)


def _product(context: CheckContext, softmax: FunctionCall) -> FunctionCall | None:
    """The product of queries and keys whose scores a softmax runs over."""
    ref = softmax.inputs[0]
    for _ in range(_NEAR):
        call = context.made_by(ref.id)
        if call is None:
            return None
        if call.name in ("matmul", "bmm"):
            return call if len(call.inputs) == 2 else None
        scores = [one for one in call.inputs if one.shape == ref.shape]
        if kind(call.name) not in _IN_PLACE or not scores:
            return None
        ref = scores[0]
    return None


def _within_a_position(context: CheckContext, one: _Scores) -> bool:
    """Whether queries, keys and their width are all cut out of a layer's features, and
    the positions are with the samples in what is done for each by itself."""
    query, key, axes = one.query, one.key, context.axes
    rank = len(query.shape)
    if rank < 4 or len(key.shape) != rank or query.shape[:-2] != key.shape[:-2]:
        return False
    if not _one_layer(context, query, rank - 2, rank - 1):
        return False
    if not _one_layer(context, key, one.keys, one.width):
        return False
    apart = [
        axes.sole(query.id, dim) for dim in range(rank - 2) if query.shape[dim] > 1
    ]
    data = {root for root in apart if root is not None and root[0] == "data"}
    return len(data) > 1 and len(data) == len(apart)


def _one_layer(context: CheckContext, ref: TensorRef, rows: int, width: int) -> bool:
    """Whether two dimensions, of more than one each, are the features of one layer."""
    axes = context.axes
    if 1 in (ref.shape[rows], ref.shape[width]):
        return False
    if not axes.sure(ref.id, rows) or not axes.sure(ref.id, width):
        return False
    roots = axes.roots(ref.id, rows)
    features = all(root[0] == "parameter" for root in roots)
    return bool(roots) and features and roots == axes.roots(ref.id, width)


def _cut(context: CheckContext, ref: TensorRef) -> FunctionCall | None:
    """The view that cut a tensor's heads out of features; None where any call moved
    them since, as it was meant."""
    for _ in range(_NEAR):
        call = context.made_by(ref.id)
        if call is None or not call.inputs:
            return None
        if kind(call.name) == "view":
            cuts = len(call.inputs[0].shape) < len(ref.shape)
            return call if cuts else None
        if kind(call.name) not in _OF_HEADS:
            return None
        ref = call.inputs[0]
    return None
