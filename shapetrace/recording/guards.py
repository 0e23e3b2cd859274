"""What is asked of the modules to trace, and of what ran, around a `with` block."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

import shapetrace.torch_internals as torch_internals
from shapetrace.errors import UsageError
from shapetrace.recording.events import error_tuple
from shapetrace.recording.recorder import Recorder
from shapetrace.recording.snapshot import SeenModule
from shapetrace.recording.unseen import unseen_calls
from shapetrace.records import FunctionCall, ModuleCall

RAN_EAGERLY = (
    "compiled code ran eagerly inside the trace: times are those of eager execution"
)
LEFT_FAST_PATH = (
    "nn.MultiheadAttention and nn.TransformerEncoderLayer leave their fused fast path "
    "under a function mode: their times, and the last bits of their outputs, "
    "differ from an untraced run"
)
JIT_TRACED = "what torch.jit.trace ran is not recorded: its graph would hold it"


HINDERS_DYNAMO = (
    "torch takes no whole graph (torch.export with strict=True) while there are hooks "
    "of all modules, as a trace has: take it before the block, or with strict=False"
)
HINDERS_SWAP = (
    "torch exchanges no tensor that anybody refers to, if only weakly, as a trace "
    "does to what is computed in its block: exchange it outside"
)


def hindered_by_trace(error: BaseException | None) -> str:
    """What the user's exception may have to do with the trace itself: what torch does
    not do while anybody watches. Empty where nothing."""
    for _ in range(10):  # what was raised from what
        if error is None:
            break
        if type(error).__module__ == "torch._dynamo.exc":
            return HINDERS_DYNAMO
        if "has weakref associated with it" in error_tuple(error)[1]:
            return HINDERS_SWAP
        error = error.__cause__ or error.__context__
    return ""


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


def has_ranks() -> bool:
    """Whether several processes take part, and can be reached."""
    ranks = torch.distributed
    if not (ranks.is_available() and ranks.is_initialized()):
        return False
    return ranks.get_world_size() > 1


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


class Eagerly:
    """Compiled code runs eagerly while any trace runs: it calls no modules and no
    modes. What is compiled is used again afterwards as it is.

    The stance is the process's; so are the traces that need it. The first to begin
    sets it, whichever is the last to end sets what was before.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._needed_by: set[object] = set()
        self._stance: Any = None

    def start(self, trace: object) -> None:
        """Where Dynamo is not loaded there is no compiled code, and none is needed."""
        if not torch_internals.dynamo_is_loaded():
            return
        with self._lock:
            self._needed_by.add(trace)
            if self._stance is None:
                self._stance = torch.compiler.set_stance("force_eager")

    def end(self, trace: object) -> None:
        """Safe to call again, and without `start`."""
        with self._lock:
            self._needed_by.discard(trace)
            stance = self._stance
            if stance is None or self._needed_by:
                return
            found = torch_internals.compile_stance()
            if found in (None, stance.stance):  # the user has not set another
                stance.__exit__(None, None, None)
            self._stance = None


EAGERLY = Eagerly()


def notes(
    recorder: Recorder,
    calls: Sequence[ModuleCall],
    functions: Sequence[FunctionCall],
    seen: Sequence[SeenModule],
) -> list[str]:
    """What a reader must know of how the batch ran."""
    said = []
    if recorder.stacks.met_compiled:
        said.append(RAN_EAGERLY)
    if recorder.has_mode:
        fast = {one.name for one in seen if has_fast_path(one.kind, one.training)}
        if any(call.name in fast for call in calls) or any(map(_was_fast, functions)):
            said.append(LEFT_FAST_PATH)
    if recorder.jit_traced:
        said.append(JIT_TRACED)
    said += unseen_calls(functions, calls, seen)
    return said + recorder.faults.notes()


def has_fast_path(kind: type[nn.Module], training: bool) -> bool:
    """Whether a fused kernel would have been taken: evaluation of these two layers."""
    layers = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
    return issubclass(kind, layers) and not training


def _was_fast(call: FunctionCall) -> bool:
    """The same of a layer that is none of those traced, by what it calls instead."""
    if call.name != "multi_head_attention_forward" or call.grad:
        return False
    return call.kwargs.get("training") is False


class HiddenWarning:
    """Keeps one warning of torch's from the user: it says that there are global hooks,
    which are the trace's own. Put among the filters without telling `warnings`, which
    would then forget what it has shown already."""

    def __init__(self) -> None:
        message = re.compile("Using `torch.compile.* when there are global hooks")
        self._filter = ("ignore", message, UserWarning, None, 0)

    def start(self) -> None:
        """The user's own hooks are warned of as ever."""
        hooks = (
            *torch_internals.forward_pre_hooks.values(),
            *torch_internals.forward_hooks.values(),
        )
        package = __name__.partition(".")[0]
        if all(getattr(one, "__module__", "").startswith(package) for one in hooks):
            warnings.filters.insert(0, self._filter)  # type: ignore[attr-defined]

    def end(self) -> None:
        """Safe to call again, and without `start`."""
        filters: Any = warnings.filters
        for at in reversed(range(len(filters))):
            if filters[at] is self._filter:
                del filters[at]
