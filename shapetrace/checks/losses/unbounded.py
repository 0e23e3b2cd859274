"""Losses that have no lower bound, since a sign is missing: the more they fall, the
less likely the labels are, or the further a posterior is from its prior."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.checks.facts.steps import Steps
from shapetrace.checks.finding.context import SAME_VALUES, CheckContext, plain
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.lineage.dimensions import PARAMETER, RECORDED
from shapetrace.records import Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import kind
from shapetrace.source.line import find

#: backwards that are looked at: a training loop makes the same in each step
_FIRST = 8
#: calls of one sum that are looked at
_MOST = 64
_NEGATE = ("neg", "negative")


class Term(NamedTuple):
    """A tensor that a total adds up, its sign, and the last call on the way to it that
    makes one number of many."""

    ref: TensorRef
    sign: int
    total: FunctionCall | None


@check(
    "unbounded-loss",
    "warning",
    "a sign is missing: the loss falls without end while the labels become less "
    "likely, or the posterior leaves its prior",
)
def unbounded_loss(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    if not context.of_kind("log_softmax") and not context.calls("exp", "log"):
        return
    ran = Steps(context)
    for backward in ran.backwards[:_FIRST]:
        steps, _ = ran.after(backward)
        if any(_maximises(call) for step in steps for call in ran.inside(step)):
            continue
        found = list(terms(context, backward.inputs[0]))
        likely = [term for term in found if _of_label(context, term.ref)]
        if likely and all(term.sign > 0 for term in likely):
            yield _falls(context, rule, likely[0], "the log-probability of the labels")
        yield from _divergences(context, rule, found)


def _maximises(call: FunctionCall) -> bool:
    """Whether an optimizer goes up: `maximize=True` turns the gradients round."""
    return call.name.removeprefix("_foreach_").rstrip("_") in _NEGATE


def terms(context: CheckContext, total: TensorRef) -> Iterator[Term]:
    """What a total is a sum of, each with its sign; what is multiplied by another
    tensor is weighed, and its sign is not known."""
    todo, seen = [Term(total, 1, None)], 0
    while todo and seen < _MOST:
        term, seen = todo.pop(), seen + 1
        call = context.made_by(term.ref.id)
        if call is None or not call.inputs:
            continue
        yield term
        name, does = plain(call.name), kind(call.name)
        first = term._replace(ref=call.inputs[0])
        if name in _NEGATE:
            todo.append(first._replace(sign=-term.sign))
        elif name in ("add", "sub") and not _scaled(call):
            sides = [first._replace(ref=ref) for ref in call.inputs]
            if name == "sub":
                second = call.inputs[0].path.startswith("args[1]")
                at = 0 if second and len(sides) == 1 else 1
                sides[at:] = [s._replace(sign=-s.sign) for s in sides[at:]]
            todo += sides
        elif name == "rsub":
            todo.append(first._replace(sign=-term.sign))
        elif name in ("mul", "div") and len(call.inputs) == 1:
            number = next((a for a in call.args if isinstance(a, int | float)), None)
            if number and (name == "mul" or call.args[1:2] == (number,)):
                todo.append(
                    first._replace(sign=term.sign if number > 0 else -term.sign)
                )
        elif does in ("total", "reduce") and name in ("sum", "mean"):
            todo.append(first._replace(total=call))
        elif name in SAME_VALUES and kind(call.name) not in ("pick", "join", "detach"):
            todo.append(first)


def _scaled(call: FunctionCall) -> bool:
    """Whether a sum weighs its second operand: `torch.add(a, b, alpha=-1)`."""
    return "alpha" in call.kwargs


def _of_label(context: CheckContext, ref: TensorRef) -> bool:
    """Whether a tensor is the log-probability that labels pick in each row."""
    call = context.made_by(context.undressed(ref.id))
    if call is None:
        return False
    if plain(call.name) == "log":
        return _picked(context, call.inputs[0], "softmax")
    return _picked(context, ref, "log_softmax")


def _picked(context: CheckContext, ref: TensorRef, does: str) -> bool:
    tensor, labels = ref.id, False
    while (call := context.made_by(tensor)) is not None and call.inputs:
        if kind(call.name) == does:
            return labels
        if plain(call.name) not in SAME_VALUES and kind(call.name) != "pick":
            return False
        if kind(call.name) == "detach":
            return False
        indices = [one for one in call.inputs[1:] if not one.dtype.is_floating_point]
        labels |= any(context.is_raw_data(one.id) for one in indices)
        if any(context.axes.descends(one.id, PARAMETER) for one in indices):
            return False  # what the model has chosen or drawn itself
        tensor = call.inputs[0].id
    return False


def _divergences(
    context: CheckContext, rule: Check, found: list[Term]
) -> Iterator[Diagnosis]:
    """`0.5 * sum(1 + log_var - mu ** 2 - log_var.exp())`, which is the divergence from
    a normal distribution with its sign turned round."""
    pairs = {
        term.ref.id: term for term in found if term.total is not None and term.ref.shape
    }
    for term in pairs.values():
        call = context.made_by(term.ref.id)
        if call is None or plain(call.name) != "exp" or term.sign > 0:
            continue
        own = pairs.get(call.inputs[0].id)
        if (
            own is None
            or own.sign < 0
            or not context.axes.descends(own.ref.id, RECORDED)
        ):
            continue
        yield _falls(context, rule, own, f"x - exp(x) of {own.ref.shape}")


def _falls(context: CheckContext, rule: Check, term: Term, what: str) -> Diagnosis:
    made = term.total or context.made_by(term.ref.id)
    assert made is not None
    return finding(
        context,
        rule,
        made,
        f"{what} is added to the loss with a positive sign: it falls without end.",
        culprits=[culprit(context, made, "lacks a minus sign")],
        fixes=[_negated(made) or "put a minus sign before this term"],
        shapes=[("term", term.ref, None)],
        way=(term.ref.id, None),
    )


def _negated(call: FunctionCall) -> Fix | None:
    line = find(call.source)
    if line is None or not call.direct:
        return None
    return Fix(line.around(f"-{line.code}"), where=line.source)
