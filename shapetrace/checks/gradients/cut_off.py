"""Terms of a loss that are cut off from what the step after them trains."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from shapetrace.checks.facts.steps import Steps, behind, frozen_in, outermost
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.checks.finding.trying import Change
from shapetrace.checks.fixes.lines import instead
from shapetrace.checks.gradients.dead_penalties import dead_penalties
from shapetrace.checks.gradients.gradient import terms
from shapetrace.checks.gradients.straight_through import fitted_straight_through
from shapetrace.checks.gradients.taken_numbers import numbers_added
from shapetrace.records import Diagnosis, FunctionCall, Source, TensorRef
from shapetrace.signatures import kind

#: backwards that are looked at: a training loop makes the same in each step
_FIRST = 8


@check(
    "term-cut-off",
    "warning",
    "a term of the loss does not train what it is there for: it was made a number, or "
    "a detach cuts it off, and its gradients go to what was to be held fixed",
)
def term_cut_off(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    yield from fitted_straight_through(context, rule)
    yield from numbers_added(context, rule)
    yield from dead_penalties(context, rule)
    ran = Steps(context)
    if not ran.steps or not context.of_kind("detach"):
        return
    frozen, windows = frozen_in(context), list[_Window]()
    for backward in ran.backwards[:_FIRST]:
        steps, _ = ran.after(backward)
        held = [ran.held(step) for step in steps]
        if steps and all(held):
            windows.append(_Window(context, frozen, backward, set[str]().union(*held)))
    told = set[Source | None]()
    for window in windows:
        for term in window.terms:
            if not term.reached or term.reached & window.held:
                continue
            cut = window.cut(term)
            if cut is None or cut.source in told:
                continue
            if _elsewhere(ran, windows, term):
                told.add(cut.source)
                yield _found(context, rule, window, term, cut)


class _Term(NamedTuple):
    """One of the terms that a total adds up: the place of the code that made it, and
    the parameters that it reaches."""

    ref: TensorRef
    place: Source | None
    calls: list[FunctionCall]
    reached: set[str]


class _Window:
    """A backward, and what the steps after it hold."""

    def __init__(
        self,
        context: CheckContext,
        frozen: set[int],
        backward: FunctionCall,
        held: set[str],
    ) -> None:
        self.backward, self.held = backward, held
        self._context, self._frozen = context, frozen

    @cached_property
    def terms(self) -> list[_Term]:
        context, found = self._context, []
        parts = terms(context, self.backward.inputs[:1])
        for tensor in sorted(parts):
            made = context.made_by(tensor)
            if made is None or any(ref.id in parts for ref in made.inputs):
                continue
            calls = behind(context, tensor)
            if not calls:
                continue
            top = outermost(context, made)
            place = made.source
            if top is not None:
                place = context.graph.rec.calls[top].source
            ref = context.graph.tensors[tensor]
            found.append(_Term(ref, place, calls, self._weights(calls)))
        return found

    def cut(self, term: _Term) -> FunctionCall | None:
        """The detach that cuts a term off from what the steps train."""
        context = self._context
        for call in term.calls:
            for ref in call.inputs:
                made = context.made_by(ref.id)
                if made is None or kind(made.name) != "detach" or not made.inputs:
                    continue
                if self._weights(behind(context, made.inputs[0].id)) & self.held:
                    return made
        return None

    def _weights(self, calls: list[FunctionCall]) -> set[str]:
        graph = self._context.graph
        return {
            origin.name
            for call in calls
            for ref in call.inputs
            if (origin := graph.origin(ref.id)) is not None
            and origin.kind == "parameter"
            and origin.requires_grad
            and ref.id not in self._frozen
        }


def _elsewhere(ran: Steps, windows: list[_Window], term: _Term) -> bool:
    """Whether what a term reaches is trained by the steps of other losses, and never by
    this one: its gradients are cleared before those, and of no use."""
    own, others = set[str](), set[str]()
    for window in windows:
        if any(one.place == term.place for one in window.terms):
            own |= window.held & term.reached
        elif _is_cleared(ran, window.backward):
            others |= window.held & term.reached
    return bool(others - own)


def _is_cleared(ran: Steps, backward: FunctionCall) -> bool:
    """Whether gradients are cleared between a backward and the one before it."""
    before = [one.order for one in ran.backwards if one.order < backward.order]
    start = max(before, default=-1)
    return any(start < clear.order < backward.order for clear in ran.clears)


def _found(
    context: CheckContext,
    rule: Check,
    window: _Window,
    term: _Term,
    cut: FunctionCall,
) -> Diagnosis:
    made = context.made_by(term.ref.id)
    name = "a term" if made is None else f"{made.name} at {made.source}"
    ref = cut.inputs[0]
    return finding(
        context,
        rule,
        cut,
        f"{name} is part of the loss at {window.backward.source}, and {cut.name} cuts "
        "it off from all parameters that the step after it trains: its gradients go to "
        "a model that has a step and a loss of its own.",
        culprits=[culprit(context, cut, "cuts the gradient")],
        fixes=[context.trial(instead(cut, "{}"), Change(cut, "args[0]", instead=True))],
        shapes=[("input", ref, None)],
        way=(ref.id, None),
    )
