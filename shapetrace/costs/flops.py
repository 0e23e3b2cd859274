"""FLOPs of function calls, by torch's own formulas; grouped convolutions excepted.

A recorded call is repeated on the meta device, where nothing is computed and nothing
random drawn, under `FlopCounterMode`; calls alike are repeated once. What attention is
made of depends on the device: it is repeated as what the processor would run, whose
fused kernel has the formula of those of accelerators.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from shapetrace.costs.gradients import Need, differentiable
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
#: what Python itself asks of a tensor
_NOTHING |= {"bool", "int", "float", "complex", "index", "len", "iter", "contains"}
_NOTHING |= {"array", "format", "repr"}
#: torch has them made of others, and what comes out hangs on the values
_NOTHING |= {"where", "unique"}
#: operations made of products, for which no torch so far has a formula, or not each
_PRODUCTS = {
    *("dot", "vdot", "mv", "_int_mm", "_grouped_mm", "_scaled_grouped_mm"),
    *("_sparse_mm", "_sparse_addmm", "_cdist_forward", "_cdist_backward"),
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention_for_cpu_backward",
    *("_linalg_det", "_linalg_svd", "_linalg_eigh", "_linalg_solve_ex"),
    *("linalg_eig", "linalg_lstsq", "linalg_qr", "linalg_lu", "linalg_inv_ex"),
    *("linalg_lu_factor_ex", "linalg_lu_solve", "linalg_ldl_factor_ex"),
    *("linalg_cholesky_ex", "linalg_solve_triangular", "triangular_solve"),
    *("cholesky", "cholesky_solve", "cholesky_inverse", "geqrf", "ormqr"),
    *("linalg_householder_product", "linalg_matrix_exp"),
}


class Count(NamedTuple):
    """FLOPs, None where they are unknown; not `whole` where some are left out."""

    flops: int | None
    whole: bool = True


_NONE = Count(0)
_UNKNOWN = Count(None, whole=False)
Counts = tuple[Count, Count]


class FlopCounter:
    """Counts recorded calls, each kind of them once. Use it as a context manager."""

    def __init__(self) -> None:
        self._known: dict[Any, Counts] = {}
        self._stack = ExitStack()

    def __enter__(self) -> FlopCounter:
        self._stack.enter_context(torch._C.DisableTorchFunction())
        self._stack.enter_context(torch.inference_mode(False))
        self._stack.enter_context(torch.enable_grad())
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def forward(self, call: FunctionCall, flowing: Collection[int]) -> Count:
        """Of the call itself; `flowing` are the tensors that need a gradient."""
        need = None
        if call.name in _ATTENTION and call.grad:
            # it is made of something else where the mask needs a gradient
            need = Need(tuple(ref.id in flowing for ref in call.inputs), ())
        return self._counts(call, need)[0]

    def backward(self, call: FunctionCall, need: Need) -> Count:
        """Of the backward through it; none but unknown ones where it is a backward
        itself, whose way the records do not show."""
        if not need.inputs:
            return _UNKNOWN
        return self._counts(call, need)[1]

    def _counts(self, call: FunctionCall, need: Need | None) -> Counts:
        if call.error is not None or call.outputs is None:
            return _NONE, _NONE  # it raised, and what it had done by then is unknown
        if not call.inputs or call.name in _NOTHING:
            return _NONE, _NONE
        key = _key((call.qualname, need, call.args, tuple(call.kwargs.items())))
        if key not in self._known:
            self._known[key] = _counts(call, need)
        return self._known[key]


class _Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts, and notes whether products ran that no formula counts."""

    def __init__(self) -> None:
        from torch.utils.flop_counter import FlopCounterMode, flop_registry

        super().__init__()  # type: ignore[no-untyped-call]
        own = {torch.ops.aten.convolution_backward: _convolution_backward}
        self._counter = FlopCounterMode(display=False, custom_mapping=own)
        self._formulas = flop_registry
        self._whole = True

    def __enter__(self) -> _Counted:
        super().__enter__()  # type: ignore[no-untyped-call]
        self._counter.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exc: Any) -> None:
        self._counter.__exit__(*exc)  # type: ignore[no-untyped-call]
        super().__exit__(*exc)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        packet = func._overloadpacket
        if packet.__name__ in _PRODUCTS and packet not in self._formulas:
            self._whole = False
        return func(*args, **(kwargs or {}))

    @property
    def count(self) -> Count:
        flops = self._counter.get_total_flops()
        return Count(flops if flops or self._whole else None, self._whole)


def _convolution_backward(
    grad_shape: Sequence[int],
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    output_mask: Sequence[bool],
    **_: Any,
) -> int:
    """Each of the two gradients pairs the same elements as the forward does. Torch's
    formula forgets the groups in that of the weight, also in 2.15: a depthwise layer of
    16 channels would have 16 times its FLOPs there."""
    places = (x_shape if transposed else grad_shape)[2:]
    # the weight holds the channels of one group on one side, so that the groups are in
    forward = 2 * grad_shape[0] * math.prod(places) * math.prod(weight_shape)
    return forward * sum(output_mask[:2])


def _counts(call: FunctionCall, need: Need | None) -> Counts:
    try:
        func = _resolve(call.qualname)
        if func is not None:
            return _repeat(func, call, need)
    except Exception:  # its result depends on values, or an argument was not kept
        pass  # then only torch's list of formulas can tell
    if _is_free(call.name):
        return _NONE, _NONE
    return _UNKNOWN, _UNKNOWN if need else _NONE


def _repeat(func: Any, call: FunctionCall, need: Need | None) -> Counts:
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
            if need and need.inputs[at] and differentiable(ref.dtype):
                leaves.append(tensor.requires_grad_())
                tensor = tensor.clone()  # a leaf may not be changed in place
            given[ref.path] = tensor
        args = [_thawed(arg, given, device) for arg in call.args]
        kwargs = {key: _thawed(arg, given, device) for key, arg in call.kwargs.items()}
        with _Counted() as forward:
            output = func(*args, **kwargs)
        ends: list[Tensor] = []
        _tensors(output if output is not None else args[0], ends)
        if need and len(need.outputs) == len(ends):
            ends = [end for end, met in zip(ends, need.outputs, strict=True) if met]
        ends = [end for end in ends if end.requires_grad]
        if not leaves or not ends:
            return forward.count, _NONE
        with _Counted() as backward:
            torch.autograd.grad(
                ends, leaves, [torch.ones_like(end) for end in ends], allow_unused=True
            )
        return forward.count, backward.count


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


def _is_free(name: str) -> bool:
    """Whether torch has the function as one operation and no formula for it, so that
    `FlopCounterMode` counts none; else it is made of others, or of products."""
    from torch.utils.flop_counter import flop_registry

    packet = getattr(torch.ops.aten, _ATEN.get(name, name), None)
    if packet is None or packet in flop_registry or name in _PRODUCTS:
        return False
    for overload in packet.overloads():
        try:
            if getattr(packet, overload)._can_decompose():
                return False
        except RuntimeError:  # an overload of TorchScript alone
            continue
    return True


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
