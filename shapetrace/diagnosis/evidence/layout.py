"""Which dimensions meet: a batch with a batch, a width with a width, or across."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.repair.edited_dims import made_of
from shapetrace.diagnosis.sizes.leaves import counts_samples
from shapetrace.lineage import Graph
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import loss, relate

_JOINING = ("cat", "concat", "concatenate")
#: what another size would be for
_SIZED = ("width", "intake", "parameter", "data", "cut", "number", "unknown")

#: (kind, tensor, dimension): where a dimension begins
Root = tuple[str, int, int]
_FORMS = ("insert", "reduce", "omit", "dim", "number", "exchange", "cut", "width")


def layout(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether what meets in the repaired call belongs together."""
    if hypothesis.form not in _FORMS or hypothesis.repair is None:
        return None
    final = case.replay.final(hypothesis.repair)
    if final is None:
        return None
    known = loss(final.name)
    compared = known is not None and known.class_dim is None
    agree = cross = 0
    for meeting in meetings(final):
        roots = [root_of(case, hypothesis, ref, dim) for ref, dim in meeting]
        told = [root for root in roots if root is not None]
        for at, a in enumerate(told):
            for b in told[:at]:
                if a == b or a[0] == b[0]:
                    agree += 1 + (a == b)
                elif compared and {a[0], b[0]} == {"width", "inner"}:
                    continue  # what a layer makes is held against what came with data
                elif "other" not in (a[0], b[0]):
                    cross += 1
    if cross:
        return Fact("dimensions meet across", min(cross, 3))
    return Fact("dimensions belong together", min(agree, 4) / 2) if agree else None


def elsewhere(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a size is to be another where one side has the wanted one in another of
    its dimensions: then it is their order that is wrong."""
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


def meetings(call: FunctionCall) -> Iterator[list[tuple[TensorRef, int]]]:
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


def root_of(
    case: Case, hypothesis: Hypothesis, ref: TensorRef, dim: int
) -> Root | None:
    """Where a dimension of one of the repaired call's tensors begins."""
    graph, tensor = case.graph, ref.id
    if graph.is_parameter(tensor):
        return ("width", tensor, dim)
    repair = hypothesis.repair
    assert repair is not None
    if hypothesis.edit is not None and any(
        taken.tensor == tensor for taken in repair.taken
    ):
        before = graph.tensors[tensor].shape
        dims = made_of(hypothesis.edit, before)
        if dims is None or dim >= len(dims) or len(dims[dim]) != 1:
            return None
        return root(graph, tensor, dims[dim][0])
    for _ in range(8):
        made = graph.producer(tensor)
        if isinstance(made, FunctionCall) and made.index in repair.calls:
            new = repair.calls[made.index]
            outputs = relate(replace(new, outputs=None)).outputs
            if not outputs or dim >= len(outputs[0]):
                return None
            sources = outputs[0][dim].sources
            if len(sources) != 1:
                return None
            source = new.inputs[sources[0][0]].id
            begins = root(graph, source, sources[0][1])
            cut = outputs[0][dim].how == "slice" and graph.is_parameter(source)
            return ("inner", *begins[1:]) if cut else begins
        if made is None or not made.inputs or not made.outputs:
            break
        first = made.inputs[0]
        if len(made.inputs) > 1 or first.shape != made.outputs[0].shape:
            break
        tensor = first.id
    recorded = graph.tensors.get(ref.id)
    if recorded is None:  # the repair made it
        return None
    shape = recorded.shape
    # a width is another number, and begins where it began
    if ref.shape != shape and not (
        hypothesis.form == "width" and len(ref.shape) == len(shape)
    ):
        return None
    return root(graph, ref.id, dim)


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
