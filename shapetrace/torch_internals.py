"""What of torch is private and used all the same: here alone, each with a way without.

A way without sees or does less, and never what is wrong: values are not read, bytes and
FLOPs are unknown. `tests/test_torch_internals.py` names what a new torch has moved.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextlib import nullcontext
from operator import attrgetter
from typing import Any

import torch
from torch import nn

#: every private name that is looked for
NAMES: list[str] = []


def _found(name: str, without: Any) -> Any:
    """What a name stands for in this torch; `without` where it is not there."""
    NAMES.append(name)
    value: Any = torch
    parts = name.split(".")
    for at, part in enumerate(parts[1:], 2):
        try:
            value = getattr(value, part)
        except AttributeError:
            try:
                value = importlib.import_module(".".join(parts[:at]))
            except ImportError:
                return without
    return value


# -- modes --------------------------------------------------------------------------

#: the function modes see nothing of what is done within
unseen_by_modes = _found("torch._C.DisableTorchFunction", nullcontext)
_count = _found("torch._C._len_torch_function_stack", None)
#: how many function modes are active in this thread; without, there may be others
count_modes: Callable[[], int] = _count or (lambda: 1)
_mode_at = _found("torch._C._get_function_stack_at", None)
_push = _found("torch._C._push_on_torch_function_stack", None)
_pop = _found("torch._C._pop_torch_function_stack", None)
#: whether the stack of function modes can be taken apart and put together again
has_mode_stack = None not in (_count, _mode_at, _push, _pop)
#: how many dispatch modes are; without, there may be one that takes all down
count_dispatch_modes = _found("torch._C._len_torch_dispatch_stack", lambda: 1)

_dispatch_modes = _found(
    "torch.utils._python_dispatch._get_current_dispatch_mode_stack", None
)


class Missing(RuntimeError):
    """What is asked for cannot be had from this torch, also by another way: who asks
    goes on without it, and says so."""


class _NoDispatchMode:
    """In place of torch's: what is counted with it is unknown then."""

    def __init__(self) -> None:
        raise Missing("this torch has no mode for operations")


DispatchMode = _found("torch.utils._python_dispatch.TorchDispatchMode", _NoDispatchMode)


def active_modes() -> list[Any]:
    """The function modes of this thread, the outermost first."""
    return [_mode_at(at) for at in range(count_modes())]


def push_mode(mode: Any) -> None:
    """Make a function mode the innermost of this thread."""
    if _push is not None:
        _push(mode)
    else:
        mode.__enter__()


def pop_mode(mode: Any) -> None:
    """Take off a mode that is the innermost of this thread."""
    mode.__exit__(None, None, None)


def replace_modes(modes: list[Any]) -> None:
    """Make these the function modes of this thread, the outermost first."""
    while count_modes():
        _pop()
    for mode in modes:
        _push(mode)


def takes_operations_down() -> bool:
    """Whether a dispatch mode sees each operation, ours too; that of fake tensors keeps
    nothing of them."""
    if not count_dispatch_modes():
        return False
    home = sys.modules.get("torch._subclasses.fake_tensor")
    fake = getattr(home, "FakeTensorMode", ())
    if _dispatch_modes is None:
        return True
    return not all(isinstance(mode, fake) for mode in _dispatch_modes())


def fake_tensors() -> Any:
    """The mode in which tensors have a device and no values."""
    try:
        from torch._subclasses.fake_tensor import FakeTensorMode
    except ImportError as error:
        raise Missing("this torch has no fake tensors") from error
    return FakeTensorMode()


# -- who listens --------------------------------------------------------------------


def _jit_tracing() -> bool | None:
    return torch.jit.is_tracing() or None  # type: ignore[no-untyped-call, attr-defined]


#: what torch.jit.trace is taking down; None where it does not run
jit_tracing = _found("torch._C._get_tracing_state", _jit_tracing)
#: the transformation of torch.func that is at work, None without one
functorch_level = _found("torch._C._functorch.peek_interpreter_stack", lambda: ())
#: all that are at work, the outermost first; None without one
functorch_levels = _found("torch._C._functorch.get_interpreter_stack", lambda: None)
is_profiling = _found("torch._C._autograd._profiler_enabled", lambda: True)
#: what torch.profiler.record_function calls at its begin and end
range_enter = _found("torch.ops.profiler._record_function_enter_new", object())
range_exit = _found("torch.ops.profiler._record_function_exit._RecordFunction", None)


def dynamo_is_loaded() -> bool:
    """Whether anything can have been compiled."""
    return "torch._dynamo.eval_frame" in sys.modules


def compile_stance() -> Any:
    """The stance that `torch.compiler.set_stance` has put in force; None: unknown."""
    try:
        from torch._dynamo import eval_frame
    except ImportError:
        return None
    return getattr(eval_frame, "_stance", None)


# -- autograd -----------------------------------------------------------------------

#: the number of the backward that runs in this thread, -1 without one
backward_number = _found("torch._C._current_graph_task_id", lambda: -1)
#: nodes that will be made have this number or a larger one
next_node_number = _found("torch.autograd._get_sequence_nr", lambda: 0)
#: what packs saved tensors; None: nothing. Without, there may be something
saved_tensors_hooks = _found(
    "torch._C._autograd._top_saved_tensors_default_hooks", lambda ignore: ()
)
_rerun_hook = _found("torch.utils.checkpoint._recomputation_hook", None)
_engine = _found("torch.autograd.Variable._execution_engine", None)
#: the sequence number of nodes that accumulate a parameter's gradient lies above
LEAF = 1 << 62


def unpacks_what_was_packed(hooks: Any) -> bool:
    """Whether to unpack what these have packed has no effect: those of checkpointing
    while it runs a forward again give back what they were given."""
    made = f"{getattr(_rerun_hook, '__qualname__', None)}.__init__."
    names = [getattr(hook, "__qualname__", "") for hook in hooks or ()]
    homes = {getattr(hook, "__module__", None) for hook in hooks or ()}
    home = getattr(_rerun_hook, "__module__", None)
    return homes == {home} and all(name.startswith(made) for name in names)


def after_backward(call: Callable[[], None]) -> None:
    """Call this when the backward that runs has ended."""
    if _engine is None:
        raise Missing("this torch does not tell when a backward ends")
    _engine.queue_callback(call)


def node_number(node: Any) -> int:
    """The number of a node of autograd's graph; that of a leaf where it has none."""
    number = getattr(node, "_sequence_nr", None)
    return int(number()) if number is not None else LEAF


def function_of(node: Any) -> type[Any] | None:
    """The `autograd.Function` whose backward a node runs; None where it is another."""
    return getattr(node, "_forward_cls", None)


def storage_key(storage: Any) -> int:
    """What tells an untyped storage from all others alive."""
    key = getattr(storage, "_cdata", None)
    return int(key if key is not None else storage.data_ptr())


# -- modules ------------------------------------------------------------------------

_HOOKS = "torch.nn.modules.module._global_"
#: hooks of all modules, by the number of their handle
forward_pre_hooks: dict[int, Any] = _found(f"{_HOOKS}forward_pre_hooks", {})
forward_hooks: dict[int, Any] = _found(f"{_HOOKS}forward_hooks", {})
with_kwargs: dict[int, Any] = _found(f"{_HOOKS}forward_hooks_with_kwargs", {})
always_called: dict[int, Any] = _found(f"{_HOOKS}forward_hooks_always_called", {})
backward_hooks: dict[int, Any] = _found(f"{_HOOKS}backward_hooks", {})
backward_pre_hooks: dict[int, Any] = _found(f"{_HOOKS}backward_pre_hooks", {})
#: the function whose frame is that of a module's call
module_call = _found("torch.nn.Module._call_impl", nn.Module.__call__)

_exchanging = (
    _found("torch.nn.Module._apply", None),
    _found("torch.nn.Module._load_from_state_dict", None),
)
#: the code of a module's methods that may exchange its tensors for others
exchanging = {one.__code__ for one in _exchanging if one is not None}


_MODULE = vars(nn.Module())
_Own = Callable[[nn.Module], dict[str, Any]]
_HOOKS_OF = (
    *("_forward_pre_hooks", "_forward_hooks"),
    *("_backward_hooks", "_backward_pre_hooks"),
)


def _own(name: str, without: _Own) -> _Own:
    """What gives a register of a module. Where torch has it and a module of the user's
    has lost it, that is not made up for."""
    return attrgetter(name) if name in _MODULE else without


#: a module's own parameters, buffers and modules, by the names under which it has them
parameters_of = _own(
    "_parameters",
    lambda one: dict(one.named_parameters(recurse=False, remove_duplicate=False)),
)
buffers_of = _own(
    "_buffers",
    lambda one: dict(one.named_buffers(recurse=False, remove_duplicate=False)),
)
#: whether a module's own registers are what the two before give
has_registers = {"_parameters", "_buffers"} <= set(_MODULE)
children_of = _own("_modules", lambda one: dict(one.named_children()))
#: a module's own hooks: before and after its forward, after and before its backward
hooks_of: Callable[[nn.Module], tuple[dict[int, Any], ...]] = (
    attrgetter(*_HOOKS_OF) if set(_HOOKS_OF) <= set(_MODULE) else lambda one: ({},) * 4
)


def is_replica(module: nn.Module) -> bool:
    """Whether `nn.DataParallel` made it of another."""
    return bool(getattr(module, "_is_replica", False))


# -- all else -----------------------------------------------------------------------

#: how a container is taken apart, by its class
containers: dict[type, Any] = _found("torch.utils._pytree.SUPPORTED_NODES", {})
#: where torch keeps functions that have no public name
nn_functions = _found("torch._C._nn", None)
vf_functions = _found("torch._VF", None)


def packet_of(operation: Any) -> Any:
    """All overloads of an operation of torch's."""
    return getattr(operation, "_overloadpacket", operation)


def can_decompose(operation: Any) -> bool:
    """Whether an operation is made of others; without, it may be."""
    asked = getattr(operation, "_can_decompose", None)
    return True if asked is None else bool(asked())


def default_store() -> Any:
    """The store through which the ranks of the default group found each other; None
    where this torch does not hand it out."""
    from torch.distributed import distributed_c10d

    try:
        return distributed_c10d._get_default_store()
    except AttributeError:
        return None
