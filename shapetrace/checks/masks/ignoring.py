"""Losses that learn the padding, because nobody told them where it is."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, data_culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.loss_lines import with_option
from shapetrace.checks.masks.padded_losses import padded_steps
from shapetrace.checks.masks.token_masks import origin_of
from shapetrace.records import Diagnosis
from shapetrace.signatures import kind

#: calls that leave all tokens what they are
_RESHAPES = ("view", "unit", "copy", "cast", "transpose", "detach")


@check(
    "padding-in-loss",
    "warning",
    "the loss counts the padding, which the rest of the program leaves out: part of "
    "what is learned is to say what the targets say there",
)
def padding_in_loss(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    yield from _of_index(context, rule)
    for loss, time, where in padded_steps(context):
        given, target = context.sides[loss.index]
        assert target is not None
        yield finding(
            context,
            rule,
            loss,
            f"{loss.name} compares all {given.shape} with constants, the steps behind "
            f"the end of each sequence too, which {where.name} at {where.source} "
            "leaves out.",
            culprits=[
                culprit(context, loss, "counts the padding"),
                data_culprit(context, target.id, "is as long as the padded sequences"),
            ],
            shapes=[("input", given, time), ("target", target, None)],
            way=(given.id, time),
        )


def _of_index(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """Classes of which one is the padding's index."""
    losses = context.calls("cross_entropy", "nll_loss")
    known = _shifted(context) if losses else {}
    for loss in losses:
        _, target = context.sides.get(loss.index, (None, None))
        if target is None or argument(loss, "reduction", 6) not in (
            None,
            "mean",
            "sum",
        ):
            continue
        span = context.graph.rec.value_ranges.get(target.id)
        ignored = argument(loss, "ignore_index", 4)
        weighed = argument(loss, "weight", 2) is not None
        # the smallest and the largest index are known to be among the targets
        found = {
            index
            for cut, index in known.get(origin_of(context, target.id), ())
            if span is not None and index in span and cut != _cut(context, target.id)
        }
        if len(found) != 1 or found == {ignored} or weighed:
            continue
        (index,) = found
        yield finding(
            context,
            rule,
            loss,
            f"the targets of {loss.name} hold {index}, the padding_idx of the "
            "embedding that looks the same tokens up: the loss counts the padding.",
            culprits=[
                data_culprit(context, target.id, f"holds the padding, {index}"),
                culprit(context, loss, "is given no ignore_index"),
            ],
            fixes=[
                context.trial(
                    with_option(context, loss, "ignore_index", index),
                    Change(loss, settings={"ignore_index": index}),
                )
            ],
            shapes=[("target", target, None)],
            way=(target.id, None),
        )


def _shifted(context: CheckContext) -> dict[int, set[tuple[int, int]]]:
    """Of the tokens that embeddings with a padding look up the part that they take, and
    the padding's index. Tokens that were drawn at random are no sentences: any index
    is a token there."""
    found: dict[int, set[tuple[int, int]]] = {}
    for call in context.calls("embedding"):
        index = argument(call, "padding_idx", 2)
        start = origin_of(context, call.inputs[0].id)
        made = context.made_by(start)
        if (
            not isinstance(index, int)
            or made is not None
            and kind(made.name) == "random"
        ):
            continue
        index %= call.inputs[1].shape[0]
        found.setdefault(start, set()).add((_cut(context, call.inputs[0].id), index))
    return found


def _cut(context: CheckContext, tensor: int) -> int:
    """The part of the tokens that a tensor is, in whatever shape: what is predicted are
    others than those that are given."""
    call = context.made_by(tensor)
    while call is not None and call.inputs and kind(call.name) in _RESHAPES:
        tensor = call.inputs[0].id
        call = context.made_by(tensor)
    return tensor
