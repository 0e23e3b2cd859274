"""Blame where a layer and its input disagree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from shapetrace.diagnosis.detect import Mismatch, Spot
from shapetrace.diagnosis.leaves import Leaf, changers, leaves
from shapetrace.diagnosis.rules.earlier import changed_part, kept_from, taken_before
from shapetrace.diagnosis.rules.flattened import (
    batch_joined,
    flat_too_late,
    regrouped_in,
    unbatched,
)
from shapetrace.diagnosis.rules.like_widths import elect
from shapetrace.diagnosis.rules.odd_windows import misfit
from shapetrace.diagnosis.rules.order import pooled_away, turned_axes
from shapetrace.diagnosis.rules.parts import Part, parts
from shapetrace.diagnosis.rules.producers import holds, of_part, producers, spelled
from shapetrace.diagnosis.rules.suspects import made_in_model, parted
from shapetrace.diagnosis.sites import (
    culprit_of_call,
    culprit_of_data,
    culprit_of_module,
    owner,
)
from shapetrace.lineage import Graph
from shapetrace.records import Culprit, FunctionCall, ModuleCall


def blame_layer(
    graph: Graph, problem: Mismatch, left: Spot, right: Spot
) -> Iterable[Culprit]:
    """The consumer's parameter first, its producer second, unless the shapes tell
    of a missing batch dimension, another layout, a view that regrouped, or a state
    made for another batch."""
    if left.tensor is None or left.dim is None:
        return []
    consumer = _consumer(graph, problem, right)
    shape = graph.tensors[left.tensor].shape
    found = leaves(graph, left.tensor, left.dim)
    label = left.role or problem.name or "size"
    wants = Culprit(
        consumer.kind,
        consumer.name,
        left.dim,
        left.size,
        right.size,
        consumer.source,
        _demand(graph, problem, label, left, right),
    )
    first: list[Culprit] = []
    turned = turned_axes(graph, problem)
    if turned:
        return [*turned, wants]
    if right.tensor is not None and not holds(graph, right):
        other = _second_operand(graph, left, right)
        both = f"is given {left.size} and {right.size} for one dimension"
        kept = kept_from(graph, problem, right.tensor)
        if kept is not None:
            both += f": the {right.size} is kept from an earlier batch ({kept})"
        wants = replace(wants, expected=None, reason=both)
        swapped = problem.layer is not None and any(
            culprit.name == problem.layer.name for culprit in other
        )
        if graph.from_model(right.tensor) and not swapped:
            return [wants, *other]
        return [*other, wants]
    batch = unbatched(graph, problem.call) or _unbatched(graph, left.tensor)
    if batch is not None:
        first.append(batch)
    regrouped = regrouped_in(graph, found, right)
    if regrouped is not None:
        first.append(regrouped)
    mixed = None if first else batch_joined(graph, left, right)
    if mixed is not None:
        first.append(mixed)
    little = flat_too_late(graph, left, right)
    if little is not None:
        first.append(little)
    joined = _joined_elsewhere(graph, left, right)
    if joined is not None:
        first.append(joined)
    lost = pooled_away(graph, left.tensor, right.size) if not first else None
    if lost is not None:
        call, dim = lost
        before = call.inputs[0].shape
        reason = (
            f"takes dim {dim} of {before} for space: the {right.size} "
            "stands there; a permute is missing before it"
        )
        first.append(
            culprit_of_call(graph, call, dim=dim, size=right.size, reason=reason)
        )
    made_by = producers(graph, found, left, right)
    earlier = taken_before(graph, problem, right)
    if earlier is not None and not first:
        wants = replace(
            wants, reason=f"{wants.reason}; it took {right.size} in an earlier call"
        )
        return [*changed_part(graph, left, earlier), *made_by, wants]
    odd = misfit(graph, problem, left, right.size) if not first else None
    if odd is not None:
        window, sure = odd
        return [window, wants, *made_by] if sure else [wants, window, *made_by]
    if consumer.kind == "module" and not first:
        part = _odd_part(graph, found, right)
        if part is not None:
            return [*of_part(graph, part)[:1], wants, *made_by]
        elected = elect(graph, consumer.name, left, right, found)
        if elected is not None:
            against_producer, evidence = elected
            if against_producer and made_by:
                head = replace(made_by[0], reason=f"{made_by[0].reason}; {evidence}")
                return [head, wants, *made_by[1:]]
            wants = replace(wants, reason=f"{wants.reason}; {evidence}")
    untouched = (
        len(found) == 1
        and found[0].end.kind == "data"
        and not any(hop.call.inputs for hop in changers(found[0].hops))
    )
    outside = all(
        hop.call.parent is None for leaf in found for hop in changers(leaf.hops)
    )
    if outside and not graph.from_model(left.tensor):
        prepared = [] if untouched else made_by
        data = culprit_of_data(
            graph,
            left.tensor,
            dim=left.dim,
            size=left.size,
            expected=right.size,
            reason=_layout(shape, left, right)
            or f"has {left.size} there, which no layer has touched",
        )
        if (
            label == "in_channels"
            and _is_image_like(left.size)
            and not _is_image_like(right.size)
            and (right.size not in shape or len(shape) > 3)
        ):
            reason = f"{wants.reason}; images seldom have {right.size} channels"
            return [*first, replace(wants, reason=reason), *prepared[:1], data]
        if (
            label in ("in_channels", "batch")
            or right.size in shape
            or not problem.layer
        ):
            return [*first, *prepared[:1], data, wants]
        return [*first, wants, *prepared[:1], data]
    if not first and not graph.from_model(left.tensor):
        layout = _layout((0, *shape[1:]), left, right)
        if layout:
            wants = replace(wants, reason=f"{wants.reason}; the input {layout}")
    return [*first, wants, *made_by]


def _odd_part(graph: Graph, found: tuple[Leaf, ...], right: Spot) -> Part | None:
    """Of several tensors joined, the one that the rest of the model tells to be odd."""
    if len(found) != 1 or found[0].end.kind != "branch":
        return None
    hops = [hop for hop in changers(found[0].hops) if hop.origin.how == "sum"]
    ranked = parts(graph, hops[0], right.size) if len(hops) == 1 else []
    return ranked[0] if ranked and ranked[0].firm else None


def _is_image_like(channels: int) -> bool:
    """Grey, colour, and colour with transparency."""
    return channels in (1, 3, 4)


def _demand(
    graph: Graph, problem: Mismatch, label: str, left: Spot, right: Spot
) -> str:
    """What the consumer wants, by the signature's name, else by its table's."""
    origin = graph.origin(right.tensor) if right.tensor is not None else None
    if problem.layer is not None and tied(graph, problem.layer, right):
        assert origin is not None
        weight = f"`{graph.said(origin.name)}` as its weight"
        return f"has {weight}, for {right.size}; gets {left.size}"
    if problem.layer is None and origin is not None:
        label = ""  # of a signature's letters, such as the k of a product
    if label in ("input", "other", "size", "") and origin is not None:
        return f"holds `{graph.said(origin.name)}` for {right.size}, gets {left.size}"
    return f"expects {label}={right.size}, gets {left.size}"


def _consumer(graph: Graph, problem: Mismatch, right: Spot) -> Culprit:
    """The module that holds the parameter or buffer, else the layer that was called."""
    holder = owner(graph, right.tensor) if right.tensor is not None else None
    if problem.layer is not None and holder in (None, problem.layer.name):
        return culprit_of_module(problem.layer)
    if problem.layer is not None and tied(graph, problem.layer, right):
        return culprit_of_module(problem.layer)
    if holder is not None:
        module = graph.module_of(problem.call)
        source = module.source if module is not None else problem.call.source
        return Culprit("module", holder, source=source)
    return culprit_of_call(graph, problem.call)


def tied(graph: Graph, layer: ModuleCall, right: Spot) -> bool:
    """Whether a layer works with a weight that another module holds."""
    origin = graph.origin(right.tensor) if right.tensor is not None else None
    if origin is None or origin.kind != "parameter":
        return False
    holder = origin.name.rpartition(".")[0]
    inside = f"{layer.name}." if layer.name else ""
    return holder != layer.name and not f"{holder}.".startswith(inside)


def _layout(shape: tuple[int, ...], left: Spot, right: Spot) -> str:
    where = [dim for dim, size in enumerate(shape) if size == right.size]
    if where and left.dim not in where:
        return (
            f"has its {right.size} in dim {where[-1]}, not in dim {left.dim}: "
            "another layout than the layer's"
        )
    return ""


def _unbatched(graph: Graph, tensor: int) -> Culprit | None:
    """Data that went into a convolution without a batch dimension: the channels have
    stood for the batch from there on."""
    for made, call in graph.chain(tensor):
        if not isinstance(call, FunctionCall) or not call.name.startswith("conv"):
            continue
        rank = int(call.name[-2]) + 2 if call.name[-1] == "d" else 0
        data = call.inputs[0]
        if rank and len(data.shape) == rank - 1 and not graph.from_model(data.id):
            return culprit_of_data(
                graph,
                data.id,
                dim=0,
                size=data.shape[0],
                reason=(
                    f"has no batch dimension: {call.name} took {spelled(data.shape)} as"
                    " one unbatched sample"
                ),
            )
    return None


def _joined_elsewhere(graph: Graph, left: Spot, right: Spot) -> Culprit | None:
    """A cat of tensors along another dimension, which along this one would fit."""
    if left.tensor is None or left.dim is None:
        return None
    for made, call in graph.chain(left.tensor):
        if not isinstance(call, FunctionCall) or call.parent is None:
            return None
        if call.name not in ("cat", "concat", "concatenate"):
            if (
                call.outputs
                and call.inputs
                and call.inputs[0].shape != call.outputs[0].shape
            ):
                return None
            continue
        own = [ref for ref in call.inputs if len(ref.shape) > left.dim]
        along = sum(ref.shape[left.dim] for ref in own)
        if along == right.size and along != left.size:
            return culprit_of_call(
                graph,
                call,
                dim=left.dim,
                size=left.size,
                expected=right.size,
                reason=(
                    f"joins along another dimension; along dim {left.dim} it would "
                    f"give {right.size}"
                ),
            )
        return None
    return None


def _second_operand(graph: Graph, left: Spot, right: Spot) -> list[Culprit]:
    """A layer's other input: a hidden state, a mask, a second sequence."""
    assert right.tensor is not None and right.dim is not None
    reason = f"gives {right.size} where {left.size} is wanted"
    made = made_in_model(graph, right.tensor)
    if made is not None and not graph.from_model(right.tensor):
        return [
            culprit_of_call(
                graph,
                made,
                dim=right.dim,
                size=right.size,
                expected=left.size,
                reason=f"makes it for {right.size}, not {left.size}",
            ),
        ]
    if graph.from_model(right.tensor):
        found = leaves(graph, right.tensor, right.dim)
        return parted(graph, left, right) or producers(graph, found, right, left)
    data = culprit_of_data(
        graph,
        right.tensor,
        dim=right.dim,
        size=right.size,
        expected=left.size,
        reason=reason,
    )
    return [data]
