"""Terms that hold one side fixed, and whose other side is that side and a constant."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.checks.finding.context import SAME_VALUES, CheckContext, plain
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import culprit, finding
from shapetrace.records import Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind, losses_that


def fitted_straight_through(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """`(x.detach() - y) ** 2` with `y = x + (e - x).detach()`: the gradient reaches x
    alone, and drives it away from e, which was to come nearer."""
    if not context.of_kind("detach"):
        return
    for call in context.calls(*losses_that(takes="values"), "sub"):
        sides = context.sides.get(call.index, call.inputs[:2])
        pair = [ref for ref in sides if ref is not None]
        if len(pair) != 2 or not call.grad:
            continue
        for fixed, live in (pair, pair[::-1]):
            held, cut = _begun(context, fixed)
            if not cut:
                continue
            passed = _passed(context, live, held)
            if passed is None:
                continue
            yield finding(
                context,
                rule,
                call,
                f"{call.name} fits {live.shape} to what is detached, and {live.shape} "
                "is the same and a detached difference: of what was put in by that "
                f"difference, at {passed.source}, nothing learns from this term.",
                culprits=[
                    culprit(context, passed, "cuts the gradient"),
                    culprit(context, call, "takes what was passed straight through"),
                ],
                fixes=[
                    "give this term what was looked up itself, and what is passed "
                    "straight through only to the decoder"
                ],
                shapes=[("fitted", live, None), ("fixed", fixed, None)],
                way=(live.id, None),
            )
            break


def _begun(context: CheckContext, ref: TensorRef) -> tuple[set[int], bool]:
    """The tensors whose numbers a tensor holds, all of each, and whether it is
    detached from them."""
    found, cut, todo, seen = set[int](), False, [ref.id], {ref.id}
    while todo:
        tensor = todo.pop()
        call = context.made_by(tensor)
        name = "" if call is None else plain(call.name)
        if call is None or name not in SAME_VALUES or kind(name) == "pick":
            found.add(tensor)
            continue
        cut |= kind(name) == "detach"
        given = call.inputs if kind(name) == "join" else call.inputs[:1]
        todo += [one.id for one in given if one.id not in seen]
        seen.update(one.id for one in given)
    return found, cut


def _passed(
    context: CheckContext, live: TensorRef, held: set[int]
) -> FunctionCall | None:
    """The detach of the difference, where all parts of a tensor are tensors that are
    held fixed and such differences from them."""
    parts, cut = _begun(context, live)
    found = None
    for tensor in sorted(parts):
        added = context.made_by(tensor)
        if cut or added is None or plain(added.name) != "add":
            return None
        found = _of_difference(context, added, held)
        if found is None:
            return None
    return found


def _of_difference(
    context: CheckContext, added: FunctionCall, held: set[int]
) -> FunctionCall | None:
    if len(added.inputs) != 2:
        return None
    for base, other in (added.inputs, added.inputs[::-1]):
        own, cut = _begun(context, base)
        detach = context.made_by(other.id)
        if cut or not own <= held or detach is None or kind(detach.name) != "detach":
            continue
        less = context.made_by(detach.inputs[0].id)
        if less is None or plain(less.name) != "sub" or len(less.inputs) != 2:
            continue
        if _begun(context, less.inputs[1])[0] == own:
            return detach
    return None
