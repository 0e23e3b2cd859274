"""Which dimensions meet: a batch with a batch, a width with a width, or across."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from math import prod

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.leaves import counts_samples
from shapetrace.lineage import Graph
from shapetrace.lineage.changed_dimensions import ChangedAxes
from shapetrace.lineage.factors import Root as Begin
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import relate

#: samples meet features, or the like
ACROSS = "dimensions meet across"
_TURNING = ("permute", "transpose", "swapaxes", "movedim", "t", "T", "mT")
_JOINING = ("cat", "concat", "concatenate")
#: what another size would be for
_SIZED = ("width", "intake", "parameter", "data", "cut", "number", "unknown")

#: (kind, tensor, dimension): where a dimension begins
Root = tuple[str, int, int]
#: what a factor of a dimension counts, and where it begins
Part = tuple[str, frozenset[Begin]]
_FORMS = ("insert", "reduce", "omit", "dim", "number", "exchange", "cut", "width")


def layout(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether what meets in the repaired call does not belong together. That it does
    tells nothing: of the repairs that fit, the wrong ones do as often."""
    found = repaired(hypothesis, case) if hypothesis.form in _FORMS else None
    if found is None:
        return None
    axes, final = found
    cross = 0
    for meeting in _meetings(final):
        weighted = any(case.graph.is_parameter(ref.id) for ref, _ in meeting)
        parts = [parts_of(case, axes, ref, dim) for ref, dim in meeting]
        told = [[kind for kind, _ in one] for one in parts if one is not None]
        for a, b in combinations(told, 2):
            if weighted:  # a layer takes maps that were flattened, and no samples
                cross += "batch" in a + b
            else:
                cross += _levelled(a) != _levelled(b)
    return Fact(ACROSS, min(cross, 3)) if cross else None


def repaired(
    hypothesis: Hypothesis, case: Case
) -> tuple[ChangedAxes, FunctionCall] | None:
    """What the dimensions are made of with a repair, and the failing call; None where
    that is not known, or another call would fail first."""
    repair, outcome = hypothesis.repair, hypothesis.outcome
    if repair is None or outcome is None or outcome.broke:
        return None
    return case.replay.repaired(repair)


def parts_of(
    case: Case, axes: ChangedAxes, ref: TensorRef, dim: int
) -> tuple[Part, ...] | None:
    """What a dimension of the repaired program is made of; None where that is not
    known for all of it."""
    found = [axis for axis in axes.of(ref.id, dim) if axis.size > 1]
    if prod(axis.size for axis in found) != ref.shape[dim]:
        return None
    parts: list[Part] = []
    for axis in found:
        kinds = {kind_of(case, one) for one in axis.roots}
        if len(kinds) != 1 or kinds == {"other"} or not axis.sure:
            return None
        part = (kinds.pop(), axis.roots)
        if not parts or parts[-1] != part:
            parts.append(part)
    return tuple(parts)


def kind_of(case: Case, begin: Begin) -> str:
    """Whether a dimension that begins so counts samples, what else data has, or a
    layer's features."""
    kind, tensor, dim = begin
    if kind == "parameter":
        return "width"
    if kind != "data":
        return "other"
    shape = case.graph.tensors[tensor].shape
    if dim == len(shape) - 1 and shape[-2:] == (shape[-1],) * 2:
        return "other"  # neighbours in a graph, or features as many as there are rows
    return root(case.graph, tensor, dim)[0]


def _levelled(kinds: list[str]) -> list[str]:
    """The same where features of a layer are as good as those of data: they are added
    to each other, and held against each other by losses."""
    return ["inner" if kind == "width" else kind for kind in kinds]


def elsewhere(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a size is to be another where one side has the wanted one in another of
    its dimensions: then it is their order that is wrong. And whether a change turns
    round what the program turns round itself."""
    if hypothesis.form == "insert":
        return _turned_again(hypothesis, case)
    if hypothesis.form not in _SIZED:
        return None
    inputs = case.mismatch.call.inputs
    for clash in case.mismatch.conflicts:
        for own, other in ((clash.left, clash.right), (clash.right, clash.left)):
            if own.input is None or own.dim is None or other.dim is None:
                continue
            ref = inputs[own.input]
            if ref.shape.count(other.size) != 1 or other.size < 2:
                continue
            if not case.graph.is_parameter(ref.id):
                return Fact("the wanted size stands in another dimension")
    return None


def made_for_it(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether tensors are joined along a dimension that the code put in for that."""
    call = case.call_of(hypothesis.site)
    if hypothesis.form != "dim" or call is None or call.name not in _JOINING:
        return None
    dim = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else 0)
    for ref in call.inputs if isinstance(dim, int) else ():
        if -len(ref.shape) <= dim < len(ref.shape):
            end = case.graph.trail(ref.id, dim % len(ref.shape)).end
            if end.kind == "new":
                text = "the dimension that it works on was put in for it"
                return Fact("works on a dimension made for it", text=text)
    return None


def _turned_again(hypothesis: Hypothesis, case: Case) -> Fact | None:
    if hypothesis.repair is None or hypothesis.edit is None:
        return None
    if not hypothesis.edit.text.startswith(tuple(f"{{}}.{one}(" for one in _TURNING)):
        return None
    for taken in hypothesis.repair.taken:
        made = case.graph.producer(taken.tensor)
        for call in (made, *case.graph.users.get(taken.tensor, ())):
            if isinstance(call, FunctionCall) and call.name in _TURNING:
                return Fact("turns round what is turned round beside it")
    return None


def _meetings(call: FunctionCall) -> Iterator[list[tuple[TensorRef, int]]]:
    """The dimensions of a call's tensors that have to be equal, of sizes above 1."""
    relation = relate(replace(call, outputs=None))
    groups: dict[object, set[tuple[int, int]]] = {}
    named: dict[tuple[str, int], list[int]] = {}
    for (position, dim), name in relation.roles.items():
        named.setdefault((name, position), []).append(dim)
    for (role, position), own in named.items():
        # a name for several dimensions: the last of one operand meets the last of all
        for back, dim in enumerate(sorted(own, reverse=True)):
            groups.setdefault((role, back), set()).add((position, dim))
    for number, dims in enumerate(relation.outputs):
        for at, origin in enumerate(dims):
            if origin.how in ("same", "broadcast") and len(origin.sources) > 1:
                groups.setdefault((number, at), set()).update(origin.sources)
    for places in groups.values():
        found = [
            (call.inputs[position], dim)
            for position, dim in sorted(places)
            if call.inputs[position].shape[dim : dim + 1] not in ((), (1,))
        ]
        if len(found) > 1:
            yield found


def root(graph: Graph, tensor: int, dim: int) -> Root:
    """Where a dimension begins: "batch" (the first of data), "inner" (another of it),
    "width" (of a parameter), or "other"."""
    trail = graph.trail(tensor, dim)
    end = trail.end
    if end.kind == "data":
        samples = counts_samples(graph, trail.hops, end)
        return ("batch" if samples else "inner", end.tensor, end.dim)
    if end.kind == "parameter":
        last = trail.hops[-1].origin.how if trail.hops else ""
        # what is cut of a table is as long as the steps that it is cut for
        return ("inner" if last == "slice" else "width", end.tensor, end.dim)
    return ("other", end.tensor, end.dim)
