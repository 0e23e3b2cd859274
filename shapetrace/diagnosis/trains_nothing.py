"""Repairs with which a program runs and learns nothing of what was meant: they fit, and
are never called verified."""

from __future__ import annotations

import ast
from collections.abc import Callable

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.class_indices import RECKONS
from shapetrace.diagnosis.evidence.history import TOOK_IT
from shapetrace.diagnosis.evidence.kind import BEFORE
from shapetrace.diagnosis.evidence.layout import root
from shapetrace.diagnosis.evidence.samples import PRODUCTS, UNASKED
from shapetrace.diagnosis.evidence.stretching import PAIRS
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.rank import Scored
from shapetrace.diagnosis.repair.edited_dims import made_of
from shapetrace.signatures import kind
from shapetrace.signatures import loss as facts_of
from shapetrace.source.line import find
from shapetrace.source.scope import nodes

#: evidence that says so already
_FACTS = (
    "mixes samples",
    "joins samples with others",
    "moves the first dimension",
    PAIRS,
    RECKONS,
    TOOK_IT,
    BEFORE,
    UNASKED,
)


def trains_nothing(entry: Scored, case: Case) -> bool:
    """Whether it puts parts of several samples together, or the like."""
    told = any(fact.name.startswith(_FACTS) for fact in entry.facts)
    return told or any(one(entry.hypothesis, case) for one in CONDITIONS)


def _copies(hypothesis: Hypothesis, case: Case) -> bool:
    """Whether a model would be given the very class indices that it is to predict."""
    target, call = case.target, case.call_of(hypothesis.site)
    if target is None or target.dtype.is_floating_point or hypothesis.form != "omit":
        return False
    if call is None or call.name != "getitem" or not call.outputs:
        return False
    behind = case.graph.ancestors(target.id)
    return call.inputs[0].id in behind and call.outputs[0].id not in behind


def _repeats(hypothesis: Hypothesis, case: Case) -> bool:
    """Whether a loss would get one prediction for all samples."""
    repair, edit = hypothesis.repair, hypothesis.edit
    if repair is None or edit is None or not repair.taken or not case.mismatch.loss:
        return False
    before = case.graph.tensors[repair.taken[0].tensor]
    if before.shape[:1] != (1,) or not case.graph.from_model(before.id):
        return False
    made = edit.apply(before).shape
    same = len(made) == len(before.shape) and made[1:] == before.shape[1:]
    return same and made[0] > 1


def _tears(hypothesis: Hypothesis, case: Case) -> bool:
    """Whether a view takes a part of one dimension and another one as one."""
    repair, edit = hypothesis.repair, hypothesis.edit
    if repair is None or edit is None or not repair.taken:
        return False
    before = case.graph.tensors[repair.taken[0].tensor]
    if len(before.shape) < 2 or root(case.graph, before.id, 0)[0] != "batch":
        return False
    if made_of(edit, before.shape) is not None:
        return False
    made = edit.apply(before).shape
    return made[:1] == before.shape[:1] and _torn(before.shape, made)


def _torn(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether a view puts a part of one dimension together with another: (8, 8) taken
    as (4, 16)."""
    left = [size for size in before if size > 1]
    for size in after:
        pieces = 0
        while size > 1 and left:
            whole = left.pop(0)
            pieces += 1
            if size % whole == 0:
                size //= whole
                continue
            if whole % size or pieces > 1:
                return True
            left.insert(0, whole // size)
            rest, size = left[0], 1
            if len(left) > 1 and rest not in after:
                return True
    return False


def _takes_a_column(hypothesis: Hypothesis, case: Case) -> bool:
    """Whether the dimension that a sum or a mean took away is put back, and a product
    of matrices then takes it for a column: it fits as well without the sum."""
    call = case.call_of(hypothesis.site)
    if call is None or case.call.name not in PRODUCTS or hypothesis.repair is None:
        return False
    if kind(call.name) not in ("total", "reduce") or hypothesis.form == "omit":
        return False
    final = case.replay.final(hypothesis.repair)
    ends = [ref.shape[-1:] for ref in final.inputs[1:2]] if final is not None else []
    return ends == [(1,)]


def _turned_round(hypothesis: Hypothesis, case: Case) -> bool:
    """Whether a loss was given data as its prediction and a model's output as its
    target, `vae_loss(x, x_hat)` for `vae_loss(x_hat, x)`: with another shape it goes
    through and learns something else. A loss that takes values of any kind is the same
    either way round."""
    known, graph = facts_of(case.call.name), case.graph
    given, target = case.prediction, case.target
    if known is None or known.takes == "values" or given is None or target is None:
        return False
    return not graph.from_model(given.id) and graph.from_model(target.id)


def _levels(hypothesis: Hypothesis, case: Case) -> bool:
    """Whether several of the layers that one line builds would get the width that
    another of them has: the line then has a number where it followed what each of them
    is given. One alone that is unlike all others may be the mistake itself."""
    repair = hypothesis.repair
    if repair is None or len(repair.modules) < 3:
        return False
    known = case.graph.rec.modules
    news = [info.attributes for info in repair.modules.values()]
    for key in news[0]:
        then = [str(known[name].attributes.get(key)) for name in repair.modules]
        now = [str(one.get(key)) for one in news]
        changed = sum(old != new for old, new in zip(then, now, strict=True))
        if changed > 1 and len(set(then)) > 1 and len(set(now)) == 1:
            return True
    return False


def _takes_all(hypothesis: Hypothesis, case: Case) -> bool:
    """Whether a window of data, or one column of it, is given up for all of it: which
    part was meant is the user's choice, and all of them seldom fit for good."""
    if hypothesis.form != "omit":
        return False
    for call, _ in case.changed_calls(hypothesis.repair):
        if call.name != "getitem" or case.graph.from_model(call.inputs[0].id):
            continue
        index = call.args[1] if len(call.args) > 1 else None
        for part in index if isinstance(index, tuple) else (index,):
            window = isinstance(part, slice) and part.start and part.stop is not None
            if window or type(part) is int:
                return True
    return False


def _puts_before(hypothesis: Hypothesis, case: Case) -> bool:
    """Whether a dimension of size 1 is put in front of the samples that are first, or
    they are joined with what is behind them."""
    if hypothesis.form != "dim":
        return False
    for _, new in case.changed_calls(hypothesis.repair):
        if new.name not in ("unsqueeze", "flatten"):
            continue
        name = "dim" if new.name == "unsqueeze" else "start_dim"
        dim = new.args[1] if len(new.args) > 1 else new.kwargs.get(name)
        ref = new.inputs[0]
        if dim == 0 and ref.shape and root(case.graph, ref.id, 0)[0] == "batch":
            return True
    return False


def _casts_one(hypothesis: Hypothesis, case: Case) -> bool:
    """Whether a tensor is cast for one of the calls that a function gives it to: the
    others go on with the other type, and the results meet."""
    edit, repair = hypothesis.edit, hypothesis.repair
    if edit is None or repair is None or case.mismatch.kind != "dtype":
        return False
    line = find(case.call.source)
    for taken in repair.taken:
        ref = next((r for r in case.call.inputs if r.id == taken.tensor), None)
        node = line.argument(ref.path) if line is not None and ref is not None else None
        if line is None or not isinstance(node, ast.Name):
            continue
        read = [
            each
            for each, _ in nodes(line.file.home(line.node))
            if isinstance(each, ast.Name) and each.id == node.id
        ]
        if sum(isinstance(each.ctx, ast.Load) for each in read) > 1:
            return True
    return False


CONDITIONS: tuple[Callable[[Hypothesis, Case], bool], ...] = (
    _copies,
    _repeats,
    _tears,
    _takes_a_column,
    _turned_round,
    _levels,
    _takes_all,
    _puts_before,
    _casts_one,
)
