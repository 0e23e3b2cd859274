"""FLOPs of function calls, by torch's own formulas.

A recorded call is repeated on the meta device, where nothing is computed and nothing
random drawn, under `FlopCounterMode`; calls alike are repeated once. What attention is
made of depends on the device: it is repeated as what the processor would run, whose
fused kernel has the formula of those of accelerators.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from shapetrace.costs.gradients import differentiable
from shapetrace.records import FunctionCall, Opaque, TensorRef
from shapetrace.signatures.names import home_and_name

_HOMES = {
    "torch": torch,
    "torch.Tensor": torch.Tensor,
    "torch.functional": torch.functional,
    "torch.nn.functional": torch.nn.functional,
    "torch._C._nn": torch._C._nn,
    "torch._VF": torch._VF,
    "torch.linalg": torch.linalg,
    "torch.fft": torch.fft,
    "torch.special": torch.special,
}
#: they make fused attention, if they may
_ATTENTION = {"scaled_dot_product_attention", "multi_head_attention_forward"}
#: under another name in torch.ops.aten
_ATEN = {"getitem": "index", "setitem": "index_put_", "eq": "eq", "T": "t"}
#: run a graph or register something; they compute nothing that has a formula
_NOTHING = {"backward", "grad", "requires_grad_", "retain_grad", "register_hook"}
_NOTHING |= {"item", "tolist", "numpy", "numel", "size", "dim", "stride"}


class Count(NamedTuple):
    """`backward` is for the mask that was asked for; None where it is unknown."""

    forward: int | None
    backward: int | None


class FlopCounter:
    """Counts recorded calls, each kind of them once. Use it as a context manager."""

    def __init__(self) -> None:
        self._known: dict[Any, Count] = {}
        self._stack = ExitStack()

    def __enter__(self) -> FlopCounter:
        self._stack.enter_context(torch._C.DisableTorchFunction())
        self._stack.enter_context(torch.inference_mode(False))
        self._stack.enter_context(torch.enable_grad())
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def count(self, call: FunctionCall, mask: tuple[bool, ...] | None) -> Count:
        """Forward FLOPs; with a mask those of the backward to these inputs too."""
        if call.error is not None or call.outputs is None:
            return Count(0, 0)  # it raised, and what it had done by then is unknown
        if not call.inputs or call.name in _NOTHING:
            return Count(0, 0)
        key = _key((call.qualname, mask, call.args, tuple(call.kwargs.items())))
        if key not in self._known:
            self._known[key] = _count(call, mask)
        return self._known[key]


def _count(call: FunctionCall, mask: tuple[bool, ...] | None) -> Count:
    func = _resolve(call.qualname)
    if func is None:
        return Count(_free(call.name), None if mask else 0)
    try:
        return _repeat(func, call, mask)
    # Not to be had on the meta device (its result depends on values), or an argument
    # was not kept: then only torch's list of formulas can tell.
    except Exception:
        return Count(_free(call.name), None if mask else 0)


def _repeat(func: Any, call: FunctionCall, mask: tuple[bool, ...] | None) -> Count:
    from torch.utils.flop_counter import FlopCounterMode

    device = "meta"
    mode: AbstractContextManager[Any] = nullcontext()
    if call.name in _ATTENTION:
        from torch._subclasses.fake_tensor import FakeTensorMode

        device, mode = "cpu", FakeTensorMode()
    with mode:
        leaves: list[Tensor] = []
        given: dict[str, Tensor] = {}
        for at, ref in enumerate(call.inputs):
            tensor = torch.empty(ref.shape, dtype=ref.dtype, device=device)
            if mask and mask[at] and differentiable(ref.dtype):
                leaves.append(tensor.requires_grad_())
                tensor = tensor.clone()  # a leaf may not be changed in place
            given[ref.path] = tensor
        args = [_thawed(arg, given, device) for arg in call.args]
        kwargs = {key: _thawed(arg, given, device) for key, arg in call.kwargs.items()}
        with FlopCounterMode(display=False) as counter:
            output = func(*args, **kwargs)
        forward = counter.get_total_flops()
        if not leaves:
            return Count(forward, 0)
        ends: list[Tensor] = []
        _tensors(output if output is not None else args[0], ends)
        ends = [end for end in ends if end.requires_grad]
        if not ends:
            return Count(forward, 0)
        with FlopCounterMode(display=False) as counter:
            torch.autograd.grad(
                ends, leaves, [torch.ones_like(end) for end in ends], allow_unused=True
            )
        return Count(forward, counter.get_total_flops())


def _resolve(qualname: str) -> Any:
    """The function of that name, where it is one of torch's; the user's own code is
    not run again."""
    home, name = home_and_name(qualname)
    if home == "torch._ops.aten" and name.startswith("aten::"):
        return getattr(torch.ops.aten, name.removeprefix("aten::"), None)
    func = getattr(_HOMES.get(home), name, None)
    if func is not None and not callable(func):  # x.T, x.mT, x.real
        return lambda tensor: getattr(tensor, name)
    return func


def _free(name: str) -> int | None:
    """0 where torch has the function as one operation and no formula for it, so that
    `FlopCounterMode` counts none; None: unknown, it is made of others."""
    from torch.utils.flop_counter import flop_registry

    packet = getattr(torch.ops.aten, _ATEN.get(name, name), None)
    if packet is None or packet in flop_registry:
        return None
    for overload in packet.overloads():
        try:
            if getattr(packet, overload)._can_decompose():
                return None
        except RuntimeError:  # an overload of TorchScript alone
            continue
    return 0


def _thawed(value: Any, given: dict[str, Tensor], device: str) -> Any:
    if isinstance(value, TensorRef):
        return given[value.path]
    if isinstance(value, Opaque):
        raise LookupError(value.type)
    if isinstance(value, torch.device):
        return torch.device(device)
    if isinstance(value, list):
        return [_thawed(part, given, device) for part in value]
    if type(value) is tuple:
        return tuple(_thawed(part, given, device) for part in value)
    return value


def _tensors(value: Any, found: list[Tensor]) -> None:
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, (tuple, list)):
        for part in value:
            _tensors(part, found)


def _key(value: Any) -> Any:
    """Equal for calls that cost the same: shapes and dtypes, not which tensors."""
    if isinstance(value, TensorRef):
        return (value.path, value.shape, value.dtype)
    if isinstance(value, (tuple, list)):
        return tuple(_key(part) for part in value)
    if isinstance(value, dict):
        return tuple((key, _key(part)) for key, part in value.items())
    if isinstance(value, slice):
        return ("slice", _key((value.start, value.stop, value.step)))
    return (type(value), value)
