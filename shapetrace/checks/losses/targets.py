"""Targets that do not go together with their loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shapetrace.checks.facts.arguments import argument
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import data_culprit, finding
from shapetrace.checks.fixes.lines import built, operand, renamed
from shapetrace.checks.fixes.loss_lines import with_option
from shapetrace.checks.losses.classes import class_dim, last_layer
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall
from shapetrace.signatures import index_losses, losses_that

_IGNORED = -100


@check(
    "target-out-of-range",
    "error",
    "a class index that no class has: an IndexError on the CPU, on an accelerator an "
    "assertion that ends the process's use of the device",
)
def target_out_of_range(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for loss in context.calls(*index_losses()):
        given, target = context.sides.get(loss.index, (None, None))
        if given is None or target is None or not given.shape:
            continue
        span = context.graph.rec.value_ranges.get(target.id)
        if span is None or target.shape == given.shape:
            continue
        ignored = argument(loss, "ignore_index", 4)
        ignored = _IGNORED if ignored is None else ignored
        at = class_dim(loss, given)
        classes = given.shape[at]
        odd = [v for v in span if v != ignored and not 0 <= v < classes]
        if odd:
            yield finding(
                context,
                rule,
                loss,
                f"the target holds class {odd[-1]}, and {classes} classes go from 0 to "
                f"{classes - 1}.",
                culprits=[
                    last_layer(context, given.id, at),
                    data_culprit(context, target.id, f"spans {span[0]}…{span[1]}"),
                ],
                fixes=_range_fixes(context, loss, span, classes, odd[-1]),
                shapes=[("input", given, at), ("target", target, None)],
                way=(given.id, at),
            )


def _range_fixes(
    context: CheckContext,
    loss: FunctionCall,
    span: tuple[int, int],
    classes: int,
    odd: int,
) -> list[Fix | str | None]:
    given, target = context.sides[loss.index]
    fixes: list[Fix | str | None] = []
    if target is not None and odd == classes and span[0] >= 1:
        fixes.append(operand(loss, target, "{} - 1", "the labels begin at 1"))
    if odd > 0:
        head = last_layer(context, given.id, class_dim(loss, given))
        fixes.append(_wider(context, head, odd + 1))
    ignored = with_option(context, loss, "ignore_index", odd)
    note = "if it marks what is not to be learned"
    fixes.append(ignored and replace(ignored, detail=note))
    words = f"make {odd + 1} classes, or leave class {odd} out"
    return fixes if any(fixes) else [words]


def _wider(context: CheckContext, head: Culprit | None, classes: int) -> Fix | None:
    """The last layer with one output for each class."""
    if head is None or head.kind != "module":
        return None
    info = context.graph.rec.modules.get(head.name)
    note = "one output for each class"
    if info is not None and "out_features" in info.attributes:
        return built(context, head.name, note=note, out_features=classes)
    if info is not None and "out_channels" in info.attributes:
        return built(context, head.name, note=note, out_channels=classes)
    return None


@check(
    "target-dtype",
    "note",
    "an integer target in a regression loss: right for counts, but class indices "
    "belong into cross_entropy",
)
def target_dtype(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for loss in context.calls(*losses_that(targets=("values",))):
        given, target = context.sides.get(loss.index, (None, None))
        if given is None or target is None:
            continue
        kind = target.dtype
        if kind.is_floating_point or kind.is_complex or not target.shape:
            continue
        yield finding(
            context,
            rule,
            loss,
            f"{loss.name} is given a target of {str(kind).removeprefix('torch.')}: "
            "distances between class indices mean nothing.",
            culprits=[data_culprit(context, target.id, "is of an integer dtype")],
            fixes=[
                operand(loss, target, "{}.float()"),
                renamed(loss, "cross_entropy"),
            ],
            shapes=[("input", given, None), ("target", target, None)],
            way=(target.id, None),
        )
