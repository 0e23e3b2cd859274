"""Normalising layers that take the time for the features, or along with them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.facts.batches import sequence_roles
from shapetrace.checks.facts.following import summed_over
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import around_layer
from shapetrace.diagnosis.sites import owner as owner_of
from shapetrace.lineage.factors import Root
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.source.construction import Construction
from shapetrace.source.line import find

#: which argument says how many features a layer normalises
_COUNTS = {"batch_norm": "num_features", "layer_norm": "normalized_shape"}
#: which arguments say how many features a layer makes
_WIDTHS = ("out_features", "out_channels", "hidden_size", "embedding_dim", "d_model")


def of_the_time(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """Layers that are told the number of features, by the name that it has, and are
    given the time where they look for them: that has the same size by chance."""
    finder = context.graph.constructions
    for call in context.calls(*_COUNTS):
        given, layer = call.inputs[0], context.layer(call)
        at = 1 if call.name == "batch_norm" else 2
        if layer is None or len(given.shape) != 3 or not _is_data(context, given, at):
            continue
        used = 3 - at
        owner = _maker(context, given, used)
        if given.shape[used] != given.shape[at] or owner is None:
            continue
        made, maker = finder.of(layer.name), finder.of(owner)
        if made is None or maker is None or not _told(made, maker, call):
            continue
        yield finding(
            context,
            rule,
            call,
            f"{context.graph.spoken(layer)} ({layer.type}) is told the number of "
            "features, and takes "
            f"dimension {at} of {given.shape} for them, which is the data's; they are "
            f"dimension {used}.",
            culprits=[culprit(context, call, f"normalises dimension {at}", at)],
            fixes=[
                context.trial(
                    around_layer(layer, "{}.transpose(1, 2)"),
                    Change(call, "around", (("permute", (0, 2, 1)),)),
                )
            ],
            shapes=[("input", given, at)],
            way=(given.id, at),
        )


def of_items(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """Layer norms over all that their input has but the batch, as they find it, where
    attention runs over one of these dimensions: its items are normalised together."""
    steps: set[Root] | None = None
    for call in context.calls("layer_norm"):
        given = call.inputs[0]
        shape = argument(call, "normalized_shape", 1)
        count = len(shape) if isinstance(shape, (tuple, list)) else 1
        if count < 2 or count >= len(given.shape) or not _asked(call):
            continue
        steps = _attended(context) if steps is None else steps
        dims = range(len(given.shape) - count, len(given.shape) - 1)
        over = [dim for dim in dims if context.axes.sole(given.id, dim) in steps]
        if not over:
            continue
        yield finding(
            context,
            rule,
            call,
            f"layer_norm normalises the last {count} dimensions of {given.shape}, and "
            f"dimension {over[0]} is a sequence that attention runs over: the "
            f"{given.shape[over[0]]} items share a mean and a variance.",
            culprits=[culprit(context, call, f"normalises dimension {over[0]} too")],
            fixes=[
                context.trial(
                    _last_alone(call),
                    Change(call, settings={"normalized_shape": given.shape[-1:]}),
                )
            ],
            shapes=[("input", given, over[0])],
            way=(given.id, over[0]),
        )


def _attended(context: CheckContext) -> set[Root]:
    """The dimensions of the data that attention runs over."""
    found = {
        context.axes.sole(call.inputs[0].id, place[0])
        for call in context.of_kind("attention")
        if (place := sequence_roles(context, call)) is not None
    }
    for call in context.calls("scaled_dot_product_attention"):
        found.add(context.axes.sole(call.inputs[1].id, -2))
    for call in context.calls("softmax"):
        dim = summed_over(context, call)
        if dim is not None:
            found.add(context.axes.sole(call.inputs[0].id, dim))
    return {root for root in found if root is not None}


def _asked(call: FunctionCall) -> bool:
    """Whether the user's line takes the shape to normalise from a tensor."""
    line = find(call.source)
    given = None if line is None or not call.direct else line.tree
    return given is not None and any(
        isinstance(node, ast.Attribute) and node.attr in ("shape", "size")
        for node in ast.walk(given)
    )


def _last_alone(call: FunctionCall) -> Fix | None:
    """The line with the last dimension alone normalised."""
    line = find(call.source)
    for node in ast.walk(line.tree) if line is not None else ():
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            if line is not None and ast.unparse(node.value).endswith((".shape", ")")):
                return Fix(line.with_part(node.slice, "-1:"), where=line.source)
    return None


def _is_data(context: CheckContext, ref: TensorRef, dim: int) -> bool:
    roots = context.axes.roots(ref.id, dim)
    return context.axes.sure(ref.id, dim) and all(root[0] == "data" for root in roots)


def _maker(context: CheckContext, ref: TensorRef, dim: int) -> str | None:
    """The one layer that makes the features of a dimension."""
    roots = context.axes.roots(ref.id, dim)
    if not context.axes.sure(ref.id, dim) or any(r[0] != "parameter" for r in roots):
        return None
    owners = {owner_of(context.graph, tensor) for _, tensor, _ in roots}
    return owners.pop() if len(owners) == 1 else None


def _told(made: Construction, maker: Construction, call: FunctionCall) -> bool:
    """Whether two layers are built by one function with one and the same name for the
    number of features: two equal numbers may be two different things."""
    count = made.argument(_COUNTS[call.name])
    widths = [maker.argument(name) for name in _WIDTHS]
    return count is not None and any(
        width is not None
        and isinstance(width.node, (ast.Name, ast.Attribute))
        and ast.dump(width.node) == ast.dump(count.node)
        and width.scope.home is count.scope.home
        for width in widths
    )
