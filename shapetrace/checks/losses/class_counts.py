"""Heads of one model with different numbers of classes for the same target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.mending import in_one
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import finding, size_culprit
from shapetrace.checks.fixes.lines import built
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall, TensorRef


@check(
    "class-count",
    "warning",
    "heads of one model that are trained on the same target have different numbers of "
    "classes: one of them was left at its default",
)
def class_count(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    by_target: dict[int, list[tuple[FunctionCall, TensorRef]]] = {}
    for loss in context.calls("cross_entropy"):
        given, target = context.sides.get(loss.index, (None, None))
        if given is None or target is None or len(given.shape) < 2:
            continue
        if (
            context.axes.from_parameter(given.id, 1)
            and not target.dtype.is_floating_point
        ):
            by_target.setdefault(target.id, []).append((loss, given))
    for target_id, heads in by_target.items():
        counts = {given.shape[1] for _, given in heads}
        span = context.graph.rec.value_ranges.get(target_id)
        if span is None or len(counts) < 2 or max(counts) < 2 * min(counts):
            continue
        if span == (0, 0):
            continue  # the place of the positive among any number of negatives
        fitting = [count for count in counts if count > span[1]]
        if not fitting:
            continue
        right = min(fitting)
        makers = {
            given.id: size_culprit(
                context, given.id, 1, f"makes {given.shape[1]} classes", right
            )
            for _, given in heads
            if given.shape[1] != right
        }
        line = _all_heads(context, makers.values(), right)
        for loss, given in heads:
            if given.id not in makers:
                continue
            who = makers[given.id]
            yield finding(
                context,
                rule,
                loss,
                f"this head has {given.shape[1]} classes, another head that is trained "
                f"on the same target has {right} classes, and the target spans only "
                f"{span[0]}…{span[1]}.",
                culprits=[who],
                fixes=[line, f"let that head make {right} classes"],
                shapes=[("input", given, 1)],
                way=(given.id, 1),
            )


def _all_heads(
    context: CheckContext, makers: Iterable[Culprit | None], classes: int
) -> Fix | None:
    """The lines that build some heads with other numbers of classes, as one."""
    names = [who.name for who in makers if who is not None and who.kind == "module"]
    fixes = [
        built(context, name, out_features=classes) for name in [*dict.fromkeys(names)]
    ]
    known = [fix for fix in fixes if fix is not None]
    if len(known) == 1 or not known or len(known) < len(fixes):
        return known[0] if len(known) == len(fixes) == 1 else None
    whole = in_one(known)
    if whole is not None:
        return Fix(whole[0], where=whole[1])
    if any(fix.where is not None for fix in known):
        return None
    pairs = [fix.line.partition(" = ") for fix in known]
    left, right = (", ".join(pair[at] for pair in pairs) for at in (0, 2))
    return Fix(f"{left} = {right}")
