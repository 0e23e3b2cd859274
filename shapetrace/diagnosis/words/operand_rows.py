"""The tensors of a failing call, as an explanation shows them."""

from __future__ import annotations

from math import prod

from shapetrace.diagnosis.detection.mismatch import Mismatch, Spot
from shapetrace.diagnosis.sites import data_name, is_loaded, shaped_at
from shapetrace.diagnosis.words.sentence import operand
from shapetrace.lineage import Graph
from shapetrace.records import Operand, Source, TensorRef

_MOST = 5


def operand_rows(graph: Graph, mismatch: Mismatch) -> tuple[Operand, ...]:
    """One for each operand that matters: shape, type, and where it is from."""
    found: list[Operand] = []
    spots = {spot.tensor: spot for spot in mismatch.spots if spot.tensor is not None}
    for position, ref in enumerate(mismatch.call.inputs):
        spot = spots.get(ref.id)
        if spot is not None and spot.input not in (None, position):
            continue  # one tensor in several places: it is shown where it clashes
        parameter = graph.is_parameter(ref.id)
        if spot is None and (parameter or len(found) > 3):
            continue
        origin = graph.origin(ref.id)
        source: Source | None = None
        if parameter and origin is not None:
            label, words = str(origin.kind), f"`{graph.said(origin.name)}`"
        else:
            label = operand(
                graph, mismatch, spot or Spot(ref.id, None, 0, "", position)
            )
            label = label.removeprefix("the ").strip("`")
            words, source = _from(graph, ref.id)
            product = _product(graph, spot) if spot is not None else ""
            words = f"{product}, {words}" if product else words
        dim = spot.dim if spot is not None else None
        found.append(Operand(label, ref.shape, kind(ref), dim, words, source))
    return tuple(found[:_MOST])


def kind(ref: TensorRef) -> str:
    """`float32`, with the device where it is not the processor."""
    device = "" if ref.device.type == "cpu" else f" {ref.device}"
    return str(ref.dtype).removeprefix("torch.") + device


def _product(graph: Graph, spot: Spot) -> str:
    """A size that is a product or a sum, with its parts: "320 = 32·10"."""
    if spot.tensor is None or spot.dim is None or graph.is_parameter(spot.tensor):
        return ""
    end = graph.trail(spot.tensor, spot.dim).end
    if end.kind != "branch" or end.origin is None:
        return ""
    sizes = [graph.size(*source) for source in end.sources]
    made = graph.size(end.tensor, end.dim)
    is_sum = end.origin.how == "sum"
    reckoned = sum(sizes) if is_sum else prod(sizes)
    if not reckoned == made == spot.size or len(sizes) > 6:  # of a part, or behind it
        return ""
    return f"{made} = {(' + ' if is_sum else '·').join(map(str, sizes))}"


def _from(graph: Graph, tensor: int) -> tuple[str, Source | None]:
    call = graph.producer(tensor)
    if call is None or not call.inputs or graph.library_data(tensor):
        return data_name(graph, tensor), None
    if is_loaded(graph, tensor):
        return data_name(graph, shaped_at(graph, tensor)), None
    layer = graph.layer_of(call)
    name = graph.spoken(layer) if layer is not None else call.name
    return f"from {name}", call.source
