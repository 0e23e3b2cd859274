"""Images of tokens whose places a convolution takes for channels."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.lineage.factors import Root
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind

#: the dimensions that a convolution runs over, where more than one
_SPACE = {"conv2d": 2, "conv3d": 3}
#: calls between a convolution and what gave its input that order
_NEAR = 12


def places_as_channels(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """Convolutions that slide over the features which an embedding looked up, and over
    one side of its indices, while another side of those is their channels."""
    widths = {
        ("parameter", call.inputs[1].id, 1)
        for call in context.calls("embedding")
        if len(call.inputs) > 1
    }
    if not widths:
        return
    for call in context.calls(*_SPACE):
        given, weight = call.inputs[0], call.inputs[1]
        space = _SPACE[call.name]
        if len(given.shape) != space + 2:
            continue
        features = [
            dim
            for dim in range(2, space + 2)
            if context.axes.roots(given.id, dim) <= widths
            and context.axes.sure(given.id, dim)
            and 1 < weight.shape[dim] < given.shape[dim]
        ]
        place = context.axes.sole(given.id, 1)
        if not features or place is None or given.shape[1] < 2:
            continue
        sides = [context.axes.sole(given.id, dim) for dim in range(2, space + 2)]
        if not any(side is not None and _beside(side, place) for side in sides):
            continue
        dim = features[0]
        view, order = _last(context, given, "view"), _last(context, given, "transpose")
        moved = view or order or call
        yield finding(
            context,
            rule,
            moved,
            f"{call.name} at {call.source} takes {given.shape[1]} places of the data, "
            f"dimension 1 of {given.shape}, for channels, and slides over the "
            f"{given.shape[dim]} features of the embedding in dimension {dim}: the "
            "features should have been permuted to dimension 1.",
            culprits=[
                culprit(context, moved, "puts places where channels belong", 1),
                None if order is None else culprit(context, order, "leaves them there"),
            ],
            fixes=["permute the features to dimension 1 before the shape is changed"],
            shapes=[("before", moved.inputs[0], None), ("image", given, 1)],
            way=(given.id, dim),
        )


def _beside(side: Root, place: Root) -> bool:
    """Whether both are dimensions of one tensor of the data's."""
    return side[1] == place[1] and side[2] != place[2]


def _last(context: CheckContext, ref: TensorRef, form: str) -> FunctionCall | None:
    """The last call of that kind that gave a tensor its form, since it was made."""
    for _ in range(_NEAR):
        made = context.made_by(ref.id)
        if made is None or not made.inputs or kind(made.name) == "embedding":
            return None
        if kind(made.name) == form:
            return made
        ref = made.inputs[0]
    return None
