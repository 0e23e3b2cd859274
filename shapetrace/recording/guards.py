"""What is asked of the modules to trace, and of what ran, around a `with` block."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import nn

from shapetrace.errors import UsageError
from shapetrace.recording.hooks import is_watched
from shapetrace.recording.recorder import Recorder

RAN_EAGERLY = (
    "compiled code ran eagerly inside the trace: times are those of eager execution"
)
LEFT_FAST_PATH = (
    "nn.MultiheadAttention and nn.TransformerEncoderLayer leave their fused fast path "
    "under a function mode: their times, and the last bits of their outputs, "
    "differ from an untraced run"
)


def check_modules(modules: Iterable[object]) -> None:
    """Raise a UsageError unless all of them are modules."""
    for module in modules:
        if isinstance(module, type) and issubclass(module, nn.Module):
            raise UsageError(
                f"trace() was given the class {module.__name__}, not a module: did you "
                f"forget to instantiate it? Write trace({module.__name__}(...))."
            )
        if not isinstance(module, nn.Module):
            raise UsageError(
                f"trace() takes torch.nn.Module objects, not {type(module).__name__}: "
                "write trace(model), or trace() to trace every module that is called."
            )


def check_options(
    timing: bool, memory: bool, backward: bool, max_calls: int | None
) -> None:
    """Raise a UsageError for options that do not go together."""
    if max_calls is not None and (type(max_calls) is not int or max_calls < 1):
        raise UsageError(
            f"max_calls={max_calls!r}: give the number of module calls to keep, 1 or "
            "more, or leave it out to keep all."
        )
    if max_calls is not None and (memory or backward):
        raise UsageError(
            "trace(max_calls=...) drops the calls that memory=True and backward=True "
            "are about: trace fewer batches with them, or leave max_calls out."
        )
    if backward and not timing:
        raise UsageError("trace(backward=True) takes times: leave timing=False out.")


def name_roots(roots: list[nn.Module]) -> list[tuple[str, nn.Module]]:
    """One root needs no name; several are named by their classes, numbered if alike."""
    if len(roots) == 1:
        return [("", roots[0])]
    named: list[tuple[str, nn.Module]] = []
    counts: dict[str, int] = {}
    for root in roots:
        name = type(root).__name__
        counts[name] = counts.get(name, 0) + 1
        named.append((name if counts[name] == 1 else f"{name}_{counts[name]}", root))
    return named


def compiled(roots: list[nn.Module]) -> bool:
    """Whether compiled code may be called; without dynamo loaded there is none."""
    if "torch._dynamo.eval_frame" not in sys.modules:
        return False
    if not roots:
        return True
    from torch._dynamo.eval_frame import OptimizedModule

    return any(
        isinstance(module, OptimizedModule)
        or (call := module._compiled_call_impl) is not None
        and not is_watched(call)
        for root in roots
        for module in root.modules()
    )


def run_eagerly() -> Callable[[], None]:
    """Let compiled code run eagerly, until what is returned is called.

    Leaving torch's own context would bring back what a trace found that has ended
    before: whichever ends last goes back to what none of them has set.
    """
    set_here: Any = torch.compiler.set_stance("force_eager")
    mine = set_here.stance
    mine.below, mine.over = set_here.prev, False

    def end() -> None:
        from torch._dynamo import eval_frame

        mine.over = True
        found: Any = eval_frame._stance
        while getattr(found, "over", False):
            found = found.below
        eval_frame._set_stance(found)

    return end


def has_fast_path(roots: list[nn.Module]) -> bool:
    """Whether a fused kernel would have been taken: evaluation of these two layers."""
    layers = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
    return any(
        isinstance(module, layers) and not module.training
        for root in roots
        for module in root.modules()
    )


def has_loss(recorder: Recorder | None) -> bool:
    """Whether the block computed a loss or went backward. A forward pass alone is not
    judged when the block closes, which would cost ResNet-50 a tenth of its time; its
    findings are there when they are asked for."""
    if recorder is None or not recorder.functions:
        return False
    kinds = (FunctionType, BuiltinFunctionType)
    called = {event for event in recorder.events if type(event) in kinds}
    return any(
        name.endswith("loss") or "entropy" in name or name in ("kl_div", "backward")
        for name in (function.__name__ for function in called)
    )
