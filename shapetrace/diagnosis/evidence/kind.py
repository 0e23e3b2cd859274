"""How common such a change is: its kind, what it changes, where it stands, how far."""

from __future__ import annotations

import re
from math import log1p

import torch

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.evidence.layout import root
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.repair.edits import NO_SUCH_SHAPE
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import kind as what_is

#: the samples would no longer be the first dimension
BEFORE = "puts a dimension before the samples"
_VERB = re.compile(r"\{\}\.(\w+)\(|F\.(\w+)\(")


def kind(hypothesis: Hypothesis, case: Case) -> Fact:
    """The form of the repair, at such a mismatch."""
    known = case.mismatch.kind
    where = "loss" if case.mismatch.loss and known != "range" else known
    return Fact(f"{hypothesis.form} at {where}")


def change(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """The call that is put in, or letters of an equation, which say what was meant.
    Which function or layer is changed says nothing else that holds for other programs:
    with a weight for each, 154 of 205 real reports were told right in cross-validation,
    without 163."""
    outcome = hypothesis.outcome
    if hypothesis.form == "exchange" and hypothesis.site.name == "einsum":
        if outcome is not None and outcome.broke:
            return None  # another order of letters is none that was meant
        return Fact("exchanges letters of an equation")
    if hypothesis.edit is None:
        return None
    if _lacks_batch(hypothesis, case):
        return Fact("gives one sample its batch")
    if hypothesis.edit.index:
        return Fact("put in an index of the code's own")
    found = _VERB.match(hypothesis.edit.text)
    if found is not None:
        verb = found[1] or found[2]
    else:
        verb = "[None]" if "None" in hypothesis.edit.text else "other"
    return Fact(f"put in {verb}")


def order(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """How far an edit turns the dimensions round: whether the first, which the batch
    is, stays in its place."""
    if hypothesis.edit is None or _of_parameter(hypothesis, case):
        return None
    shape = tuple(range(2, 2 + _rank(hypothesis, case)))
    bare = TensorRef("", 0, shape, torch.float32, torch.device("cpu"))
    try:
        made = hypothesis.edit.apply(bare).shape
    except NO_SUCH_SHAPE:  # an edit for another number of dimensions
        return None
    if len(made) > len(shape):
        before = made[:1] == (1,) and _counts_samples(hypothesis, case)
        before = before and not _lacks_batch(hypothesis, case)
        return Fact(BEFORE) if before else None
    if hypothesis.edit.back is None:
        return None
    moved = sum(a != b for a, b in zip(shape, made))
    if made[:1] != shape[:1]:
        return Fact("moves the first dimension", moved / 2)
    return Fact("moves dimensions", moved / 2)


def _lacks_batch(hypothesis: Hypothesis, case: Case) -> bool:
    """Whether one sample gets a batch of one, of which a convolution took the first
    dimension for channels: it takes (C, H, W) as readily as (N, C, H, W)."""
    repair = hypothesis.repair
    if repair is None or hypothesis.edit is None or not repair.taken:
        return False
    ref = case.graph.tensors[repair.taken[0].tensor]
    if hypothesis.edit.text != "{}.unsqueeze(0)" or len(ref.shape) < 2:
        return False
    return any(
        isinstance(user, FunctionCall)
        and what_is(user.name) == "convolution"
        and user.inputs[0].id == ref.id
        and len(user.inputs[1].shape) == len(ref.shape) + 1
        for user in case.graph.users.get(ref.id, ())
    )


def _of_parameter(hypothesis: Hypothesis, case: Case) -> bool:
    """Whether a parameter is edited, which has no samples."""
    taken = hypothesis.repair.taken if hypothesis.repair is not None else ()
    return any(case.graph.is_parameter(one.tensor) for one in taken)


def _counts_samples(hypothesis: Hypothesis, case: Case) -> bool:
    """Whether the first dimension of the edited tensor is the batch."""
    repair = hypothesis.repair
    if repair is None or not repair.taken:
        return False
    tensor = repair.taken[0].tensor
    if not case.graph.tensors[tensor].shape or case.graph.is_parameter(tensor):
        return False
    return root(case.graph, tensor, 0)[0] == "batch"


def _rank(hypothesis: Hypothesis, case: Case) -> int:
    repair = hypothesis.repair
    tensor = repair.taken[0].tensor if repair is not None and repair.taken else None
    return len(case.graph.tensors[tensor].shape) if tensor is not None else 0


def place(hypothesis: Hypothesis, case: Case) -> Fact:
    """Who would have to change something, and whether that is the failing call."""
    site = hypothesis.site
    if case.layer is not None and site.name == case.layer.name:
        return Fact("at the failing layer")
    failing = (case.call.name, case.call.source)
    if site.kind == "function" and site.place == failing:
        return Fact("at the failing function")
    at = " of a loss" if case.mismatch.loss else ""
    return Fact(f"at a {site.kind}{at}")


def distance(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """How many calls lie between the change and the failure."""
    return Fact("calls between", log1p(hypothesis.hops)) if hypothesis.hops else None
