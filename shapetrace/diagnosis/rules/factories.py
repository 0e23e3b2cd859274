"""A proposal for a tensor that the model makes with a number written out: a hidden
state for 32 sequences, a mask for 128 steps."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.diagnosis.edits import Edit
from shapetrace.diagnosis.hypothesis import Repair, Taken
from shapetrace.diagnosis.rules.desk import Candidate, Desk
from shapetrace.diagnosis.rules.suspects import made_in_model
from shapetrace.records import FunctionCall, ModuleCall
from shapetrace.source.line import find
from shapetrace.source.scope import arguments

_FACTORIES = ("zeros", "ones", "randn", "rand", "empty", "full")


def sized_by_input(desk: Desk) -> Iterator[Candidate | None]:
    """The number replaced by the size of the forward's own input."""
    problem, graph = desk.problem, desk.graph
    for spot, other in ((problem.left, problem.right), (problem.right, problem.left)):
        if spot is None or other is None or spot.tensor is None or spot.dim is None:
            continue
        if other.tensor is None or graph.is_parameter(other.tensor):
            continue  # a layer's own number, which no data has
        made = made_in_model(graph, spot.tensor)
        module = None if made is None else graph.module_of(made)
        if made is None or module is None or made.name not in _FACTORIES:
            continue
        end = graph.trail(spot.tensor, spot.dim).end
        if end.call is not made or not made.outputs:
            continue
        yield _resized(desk, made, module, end.dim, other.size)


def _resized(
    desk: Desk, made: FunctionCall, module: ModuleCall, dim: int, wanted: int
) -> Candidate | None:
    line = find(made.source)
    if line is None or not made.outputs:
        return None
    node = line.argument(f"args[{dim}]") or line.argument(f"args[0][{dim}]")
    size = _size_in_scope(made, module, wanted)
    if node is None or size is None:
        return None
    shape = list(made.outputs[0].shape)
    shape[dim] = wanted
    edit = Edit("", lambda t: t.new_empty(shape))
    repair = Repair((Taken(made.outputs[0].id, edit),))
    words = f"follows the input instead of a fixed {made.outputs[0].shape[dim]}"
    text = line.with_part(node, size)
    return Candidate(text, words, made.source, repair, f"function:{made.name}")


def _size_in_scope(made: FunctionCall, module: ModuleCall, wanted: int) -> str | None:
    """`x.size(0)` of an argument of the forward that has that size, batch first."""
    names = arguments(made)
    for position, ref in enumerate(module.inputs):
        if ref.path != f"args[{position}]" or position >= len(names):
            return None
        if wanted in ref.shape:
            return f"{names[position]}.size({ref.shape.index(wanted)})"
    return None
