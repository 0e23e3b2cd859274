"""Tensors that are given another dtype, or moved to another device, on their way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check, check
from shapetrace.checks.finding.report import culprit, data_culprit, finding
from shapetrace.checks.fixes.lines import operand
from shapetrace.lineage import Call
from shapetrace.lineage.dimensions import PARAMETER
from shapetrace.records import Culprit, Diagnosis, FunctionCall, TensorRef
from shapetrace.signatures import kind

_MOVES = ("to", "cpu", "cuda")
#: calls that are looked back over for an earlier move
_FAR = 64


@check(
    "device-transfer",
    "warning",
    "a tensor leaves its device and comes back inside of forward: each way waits for "
    "the device and copies",
)
def device_transfer(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    for call in context.calls(*_MOVES):
        if call.parent is None or not call.inputs or not call.outputs:
            continue
        given, made = call.inputs[0], call.outputs[0]
        if given.device == made.device or not made.dtype.is_floating_point:
            continue
        if "cpu" not in (given.device.type, made.device.type):
            continue  # a model spread over several accelerators
        for count, (_, earlier) in enumerate(context.graph.chain(given.id)):
            if count > _FAR or not isinstance(earlier, FunctionCall):
                break
            if not earlier.inputs or not earlier.outputs or earlier.parent is None:
                break
            start, end = earlier.inputs[0].device, earlier.outputs[0].device
            if start == made.device and end == given.device and start != end:
                yield finding(
                    context,
                    rule,
                    call,
                    f"a tensor of {given.shape} goes from {start} to {end} at "
                    f"{earlier.source} and back to {start} here.",
                    culprits=[
                        culprit(context, earlier, f"moves it to {end}"),
                        culprit(context, call, f"moves it back to {start}"),
                    ],
                    fixes=[f"leave {earlier.name}() out, and let it stay on {start}"],
                    shapes=[("input", given, None)],
                    way=(given.id, None),
                )
                break


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
