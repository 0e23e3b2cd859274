"""Targets and dtypes that do not go together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from shapetrace.checks.activations import argument
from shapetrace.checks.classes import class_dim, last_layer
from shapetrace.checks.context import CheckContext
from shapetrace.checks.lines import built, operand, renamed
from shapetrace.checks.loss_lines import with_option
from shapetrace.checks.registry import Check, check
from shapetrace.checks.report import culprit, data_culprit, finding
from shapetrace.lineage import Call
from shapetrace.lineage.dimensions import PARAMETER
from shapetrace.records import Culprit, Diagnosis, Fix, FunctionCall, TensorRef
from shapetrace.signatures import index_losses, kind, losses_that

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


@check(
    "dtype-promotion",
    "warning",
    "one float64 operand, often from NumPy, makes everything after it float64: slow, "
    "twice the memory, and backward may fail on mixed dtypes",
)
def dtype_promotion(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for call in context.functions:
        if not call.outputs or call.outputs[0].dtype is not torch.float64:
            continue
        if len(call.inputs) < 2 or kind(call.name) == "cast":
            continue
        narrow = [
            ref
            for ref in call.inputs
            if ref.dtype in (torch.float32, torch.float16, torch.bfloat16)
            and context.axes.descends(ref.id, PARAMETER)
        ]
        wide = [ref for ref in call.inputs if ref.dtype is torch.float64 and ref.shape]
        if not narrow or not wide or not all(_crept_in(context, ref) for ref in wide):
            continue
        yield finding(
            context,
            rule,
            call,
            f"{call.name} of {_short(narrow[0])} and {_short(wide[0])} gives float64: "
            "all that follows is float64.",
            culprits=[
                _wide(context, wide[0]),
                culprit(context, call, "promotes to float64"),
            ],
            fixes=[operand(call, wide[0], "{}.float()", "better where it is made")],
            shapes=[("one", narrow[0], None), ("other", wide[0], None)],
            way=(wide[0].id, None),
        )


def _wide(context: CheckContext, ref: TensorRef) -> Culprit:
    """The float64 operand: the target or input that it is, or just a tensor."""
    found = data_culprit(context, ref.id, "is of dtype float64")
    known = ref.id in context.targets or ref.id in context.module_inputs
    if known:
        return found
    return replace(found, name=found.name.replace("target", "tensor", 1))


def _short(ref: TensorRef) -> str:
    return str(ref.dtype).removeprefix("torch.")


def _doubles(call: Call) -> list[TensorRef]:
    if not isinstance(call, FunctionCall):
        return []
    return [one for one in call.inputs if one.dtype is torch.float64]


def _crept_in(context: CheckContext, ref: TensorRef) -> bool:
    """Whether a float64 tensor came so from outside: no call made it so on purpose."""
    for _, call in context.graph.behind(ref.id, _doubles):
        if not isinstance(call, FunctionCall):
            continue
        if call.outputs and kind(call.name) == "cast":
            return False
        if not call.inputs and _asked_for(call):
            return False
    return not context.axes.descends(ref.id, PARAMETER)


def _asked_for(call: FunctionCall) -> bool:
    """A factory that was told float64."""
    return call.kwargs.get("dtype") is torch.float64
