"""Sums in which one tensor stands twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import instead_of
from shapetrace.lineage.dimensions import PARAMETER
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef


@check(
    "added-twice",
    "warning",
    "a residual is added to what holds it already, or a result to itself: the block "
    "gives twice the one and too little of the other",
)
def added_twice(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for call in context.calls("add"):
        if call.parent is None or not _adds(call):
            continue
        terms = _terms(context, call)
        twice = [ref for ref in call.inputs if terms[ref.id] > 1]
        # a sum of many may hold one of them twice on purpose, as a long skip does
        if not twice or len(terms) > 2 or not twice[0].shape:
            continue
        again = twice[-1]
        if not context.axes.descends(again.id, PARAMETER):
            continue
        itself = len(terms) == 1
        what = "is added to itself" if itself else "is a term of that sum already"
        yield finding(
            context,
            rule,
            call,
            f"{call.name} adds {again.shape} a second time: it {what}, in the same "
            "forward.",
            culprits=[culprit(context, call, "adds it again")],
            fixes=[] if itself else [_left_out(context, call, again)],
            shapes=[("added", again, None)],
            way=(again.id, None),
        )


def _adds(call: FunctionCall) -> bool:
    return len(call.inputs) == 2 and argument(call, "alpha", 2) in (None, 1)


def _terms(context: CheckContext, call: FunctionCall) -> Counter[int]:
    """The tensors that a call adds up in one forward, with what is a sum itself, and is
    used for nothing else, taken apart."""
    found: Counter[int] = Counter()
    todo = [call]
    while todo:
        for ref in todo.pop().inputs:
            made = context.made_by(ref.id)
            inner = (
                made is not None
                and plain(made.name) == "add"
                and made.parent == call.parent
                and _adds(made)
                and len(context.graph.users.get(ref.id, ())) == 1
            )
            if inner and made is not None:
                todo.append(made)
            else:
                found[ref.id] += 1
    return found


def _left_out(
    context: CheckContext, call: FunctionCall, again: TensorRef
) -> Fix | None:
    """The sum without what is added again."""
    kept = next(ref for ref in call.inputs if ref.id != again.id)
    fix = instead_of(call, kept)
    if kept is call.inputs[0]:
        return context.trial(fix, Change(call, "args[0]", instead=True))
    return fix
