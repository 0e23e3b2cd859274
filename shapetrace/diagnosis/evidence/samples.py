"""What becomes of the samples: a call that mixes them, a layer that would take them for
features, a product that adds them up."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from math import prod
from operator import mul

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.evidence.layout import root, root_of
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.once import once
from shapetrace.diagnosis.repair.edited_dims import made_of
from shapetrace.diagnosis.sizes.leaves import counts_samples, every_part
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import kind, relate

_AS_SAMPLES = "as wide as there are samples"
_DROPS = "drops samples for another call"
_DEALS = "deals elements out anew"
_JOINS = "joins samples with others for another call"
#: what makes sizes fit and is meant by nobody: of 51 lines that join samples with
#: others before a layer, and can be compared, one gave the loss that was meant
MISUSES = (_AS_SAMPLES, _DROPS, _DEALS, _JOINS)
_REDUCES = ("total", "reduce", "choose", "softmax", "log_softmax")
#: a size that fits because nothing there has one
UNASKED = "makes a size that nobody asks for"
_WIDTHS = ("width", "intake", "parameter", "setting")
_VIEWS = ("view", "reshape", "flatten", "unflatten")
PRODUCTS = ("matmul", "mm", "bmm", "baddbmm")


def mixed(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """A view that the change is made at puts parts of several samples together; a layer
    that it is made at would be as wide as there are samples."""
    if hypothesis.form in _WIDTHS:
        if hypothesis.expected is not None and _counts_samples(case):
            return Fact(_AS_SAMPLES)
        return None
    call = case.call_of(hypothesis.site)
    if call is None or call.name not in _VIEWS or not call.inputs:
        return Fact("a view mixes samples, not this") if _any_cuts(case) else None
    changed = hypothesis.repair.calls.values() if hypothesis.repair else ()
    if not _deals(call) and any(_deals(other) for other in changed):
        return Fact(_DEALS, text="with it, no dimension would stay whole")
    if _cuts(case, call):
        before, after = call.inputs[0].shape, (call.outputs or call.inputs)[0].shape
        text = f"it makes {after} of {before}, and takes the batch of {before[0]} too"
        return Fact("mixes samples", text=text)
    return None


def _takes_samples(case: Case, call: FunctionCall) -> bool:
    """Whether a view makes another first dimension of the samples."""
    if call.name not in _VIEWS or not call.inputs or not call.outputs:
        return False
    before, after = call.inputs[0].shape, call.outputs[0].shape
    if len(before) < 2 or root(case.graph, call.inputs[0].id, 0)[0] != "batch":
        return False
    return bool(after) and after[0] != before[0]


def _cuts(case: Case, call: FunctionCall) -> bool:
    """Whether a view that the odd size came through makes rows that are no number of
    samples, nor of places in them: 49 of 16, or 16·8 of (16, 4, 4)."""
    if call.index not in case.passed or not _takes_samples(case, call):
        return False
    before, after = call.inputs[0].shape, (call.outputs or call.inputs)[0].shape
    if len(after) == 1:
        return not _both_join(case)
    whole = [size for size in after if size > 1]  # a 1 in front of them mixes none
    return (whole if len(whole) > 1 else after)[0] not in accumulate(before, mul)


@once
def _any_cuts(case: Case) -> bool:
    """Whether one of the views behind the failure does."""
    views = (behind.call for behind in case.behind)
    return any(isinstance(one, FunctionCall) and _cuts(case, one) for one in views)


def _both_join(case: Case) -> bool:
    """Whether both sides have samples and something else in one dimension, and the
    same samples."""
    return all(
        len(side.odd) + len(side.shared) > 1
        and any(leaf.end.kind == "data" and leaf.end.dim == 0 for leaf in side.shared)
        for side in case.factors
    )


def _deals(call: FunctionCall) -> bool:
    """Whether a view cuts across dimensions: 10·1000 taken as 8·1250."""
    if call.name not in _VIEWS:
        return False
    across = [
        origin.sources
        for dims in relate(replace(call, outputs=None)).outputs
        for origin in dims
        if origin.how == "product" and len(origin.sources) > 1
    ]
    return len(across) > len(set(across))


def edited(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a call that is put in leaves the samples apart, and all of them there."""
    repair, edit = hypothesis.repair, hypothesis.edit
    if repair is None or edit is None or not repair.taken:
        return None
    tensor = repair.taken[0].tensor
    shape = case.graph.tensors[tensor].shape
    if not shape or case.graph.is_parameter(tensor):
        return None
    where = "a loss" if case.mismatch.loss else "another call"
    if hypothesis.form == "cut" and edit.cuts is not None:
        if root(case.graph, tensor, edit.cuts)[0] == "batch":
            return Fact("drops samples for a loss" if case.mismatch.loss else _DROPS)
    if len(shape) < 2 or root(case.graph, tensor, 0)[0] != "batch":
        return None
    dims = made_of(edit, shape)
    if dims is None:  # it deals the elements out anew
        joined = edit.apply(case.graph.tensors[tensor]).shape[:1] != shape[:1]
    else:
        joined = bool(dims) and len(dims[0]) > 1 and 0 in dims[0]
    return Fact(f"joins samples with others for {where}") if joined else None


def restored(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a call that is left out took the very shape of the other side away."""
    if hypothesis.form != "omit" or hypothesis.loses:
        return None
    for call, _ in case.changed_calls(hypothesis.repair):
        before = call.inputs[0].shape
        if any(ref.shape == before for ref in case.operands):
            return Fact("had the other side's shape before")
    return None


@once
def _counts_samples(case: Case) -> bool:
    """Whether the number of samples is what did not fit, or a factor of it that the
    other side has not."""
    left, right = case.mismatch.left, case.mismatch.right
    for spot, other in ((left, right), (right, left)):
        if spot is None or spot.tensor is None or spot.dim is None:
            continue
        if case.graph.is_parameter(spot.tensor):
            continue
        found = list(every_part(case.graph, spot.tensor, spot.dim))
        counted = [p.size for p in found if counts_samples(case.graph, p.hops, p.end)]
        size = other.size if other is not None and len(found) > 1 else 1
        if counted and size % prod(counted):
            return True
    return False


def unasked(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether dimensions are joined to have fewer of them, as one of a size that no
    other tensor there has."""
    repair, edit = hypothesis.repair, hypothesis.edit
    if case.mismatch.kind != "rank" or repair is None or edit is None:
        return None
    asked = {spot.size for spot in case.mismatch.spots if spot.tensor is None}
    asked |= {n for r in case.call.inputs for n in r.shape}
    for taken in repair.taken:
        before = case.graph.tensors[taken.tensor]
        dims, made = made_of(edit, before.shape), edit.apply(before).shape
        for group, size in zip(dims or (), made):
            joined = [before.shape[dim] for dim in group]
            if len(joined) > 1 and size not in asked and size not in joined:
                return Fact(UNASKED)
    return None


def _is_square_data(case: Case, ref: TensorRef) -> bool:
    rows, columns = ref.shape[-2:]
    known = ref.id in case.graph.tensors and not case.graph.is_parameter(ref.id)
    return rows == columns > 1 and known and not case.graph.from_model(ref.id)


def reduced(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a sum, a mean or a maximum would run over the samples, and did not."""
    if hypothesis.form != "dim":
        return None
    for old, new in case.changed_calls(hypothesis.repair):
        if kind(new.name) not in _REDUCES:
            continue
        ref = new.inputs[0]
        dims = [_over(call, len(ref.shape)) for call in (new, old)]
        if dims == [0, dims[1]] and dims[1] != 0 and ref.shape[0] > 1:
            parts = every_part(case.graph, ref.id, 0)
            if any(counts_samples(case.graph, p.hops, p.end) for p in parts):
                return Fact("reduces over the samples")
    return None


def _over(call: FunctionCall, rank: int) -> int | None:
    """The one dimension that a call works over."""
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim")
    return dim % rank if type(dim) is int and rank else None


def summed(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """What a product of matrices would add up: features, or samples and steps."""
    repair = hypothesis.repair
    if repair is None or case.call.name not in PRODUCTS:
        return None
    final = case.replay.final(repair)
    if final is None or len(final.inputs) < 2:
        return None
    a, b = final.inputs[-2:]
    if len(a.shape) < 2 or len(b.shape) < 2:
        return None
    rows = root_of(case, hypothesis, a, len(a.shape) - 2)
    if rows is not None and rows[0] == "width":
        return Fact("makes rows of features")
    kinds = set()
    for ref, dim in ((a, len(a.shape) - 1), (b, len(b.shape) - 2)):
        begins = root_of(case, hypothesis, ref, dim)
        if begins is not None:
            kinds.add(begins[0])
    if _is_square_data(case, a) or _is_square_data(case, b):
        return None  # neighbours in a graph are there to be added up
    if "width" in kinds and "batch" not in kinds:
        return Fact("adds features up")  # a layer's, or data's that meet a layer's
    return Fact("adds samples or steps up") if kinds & {"batch", "inner"} else None
