"""Recurrent layers that are called step by step, and begin each step anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shapetrace.checks.facts.batches import sequence_roles
from shapetrace.checks.facts.steps import outermost
from shapetrace.checks.finding.context import SAME_VALUES, CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.records import Culprit, Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind

_CELLS = ("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
#: fewer steps are no sequence: two views of a sample, a pair
_STEPS = 3

Steps = list[FunctionCall]
#: a tensor, and the views and choices that make a state of it
Begin = tuple[int, tuple[str, ...]]


@check(
    "state-forgotten",
    "warning",
    "a recurrent layer that is called step by step begins every step with the same "
    "state: it remembers nothing of the steps before",
)
def state_forgotten(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    found: dict[str, dict[int | None, Steps]] = {}
    calls = [*context.of_kind("recurrent"), *context.calls(*_CELLS)]
    for call in sorted(calls, key=lambda call: call.index):
        layer = context.layer(call)
        if layer is not None:
            runs = found.setdefault(layer.name, {})
            runs.setdefault(outermost(context, call), []).append(call)
    told: dict[str, Steps] = {}
    for runs in found.values():
        if all(_forgets(context, steps) for steps in runs.values()):
            steps = next(iter(runs.values()))
            told.setdefault(_called_each_time(context, steps), steps)
    for name, steps in told.items():
        yield _found(context, rule, name, steps)


def _called_each_time(context: CheckContext, steps: Steps) -> str:
    """The outermost module around a layer that is called for each of the steps."""
    ways = [_modules(context, step) for step in steps]
    inner = next(
        at for at, calls in enumerate(zip(*ways)) if len(set(calls)) == len(steps)
    )
    return context.graph.rec.calls[ways[0][inner]].name


def _modules(context: CheckContext, call: FunctionCall) -> list[int]:
    """The module calls around a call, the outermost first."""
    found, at = list[int](), call.parent
    while at is not None:
        found.insert(0, at)
        at = context.graph.rec.calls[at].parent
    return found


def _forgets(context: CheckContext, steps: Steps) -> bool:
    """Whether no step is given what one before it has made, and each takes another
    input: the state is made for each, or is one for all, though what a step makes goes
    into the next one."""
    given = {_origin(context, step.inputs[0]) for step in steps}
    if len(steps) < _STEPS or len(given) < len(steps):
        return False
    if not all(_is_one_step(context, step) for step in steps):
        return False
    begun = [_begun(context, step) for step in steps]
    if all(
        _is_new(context, one.index, states) for one, states in zip(steps, begun[1:])
    ):
        return True
    made = context.descendants(ref.id for ref in steps[0].outputs or ())
    return len(set(begun)) == 1 and steps[1].inputs[0].id in made


def _is_one_step(context: CheckContext, call: FunctionCall) -> bool:
    roles = sequence_roles(context, call)
    one = roles is not None and call.inputs[0].shape[roles[0]] == 1
    return one or call.name in _CELLS


def _begun(context: CheckContext, call: FunctionCall) -> tuple[Begin, ...]:
    """The tensors that the states of a call are taken from, each with how."""
    states = [ref for ref in call.inputs if ref.path.startswith("args[1]")]
    return tuple(_origin(context, ref) for ref in states)


def _origin(context: CheckContext, ref: TensorRef) -> Begin:
    way: list[str] = []
    made = context.made_by(ref.id)
    while made is not None and made.inputs and plain(made.name) in SAME_VALUES:
        part = [one.id for one in made.outputs or ()].index(ref.id)
        way.append(f"{part}{made.name}{made.args[1:]}{made.kwargs}")
        ref = made.inputs[0]
        made = context.made_by(ref.id)
    return ref.id, tuple(way)


def _is_new(context: CheckContext, before: int, states: Sequence[Begin]) -> bool:
    """Whether all states are filled with one number, and that behind the last step."""
    for tensor, _ in states:
        made = context.made_by(tensor)
        if made is None or kind(made.name) != "fill" or made.index < before:
            return False
    return True


def _found(context: CheckContext, rule: Check, name: str, steps: Steps) -> Diagnosis:
    first = steps[0]
    reason = "begins every step with the same state"
    return finding(
        context,
        rule,
        first,
        f"{context.graph.said(name)} is called for {len(steps)} steps one by one, and "
        "begins each with the same state: what a step returns is given to none after "
        "it.",
        culprits=[
            Culprit("module", name, source=first.source, reason=reason),
            culprit(context, first, "returns a state that no step takes"),
        ],
        fixes=["hand the state that a step returns to the next one"],
        shapes=[("input", first.inputs[0], None)],
        way=(first.inputs[0].id, None),
    )
