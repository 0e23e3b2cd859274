"""Recorded function calls, repeated without data, to see what they were made of.

A call is repeated on the meta device, where nothing is computed and nothing random
drawn; calls alike are repeated once. A tensor lies in memory as the call that made it
left it, so that copies are told from views. What attention is made of depends on the
device: it is repeated as what the processor would run, whose fused kernel has the
formula of those of accelerators.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from types import FunctionType, MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

import shapetrace.torch_internals as torch_internals
from shapetrace.costs.flops import Count, counting, is_free
from shapetrace.costs.gradients import Need, differentiable
from shapetrace.errors import costs_an_answer, telling
from shapetrace.records import FunctionCall, Opaque, TensorRef
from shapetrace.signatures.kinds import RESHAPING, SAME_NUMBERS, kind
from shapetrace.signatures.names import home_and_name
from shapetrace.signatures.refusal import Refused, of_torch

Strides = tuple[int, ...]

_HOMES = {
    "torch": torch,
    "torch.Tensor": torch.Tensor,
    "torch.functional": torch.functional,
    "torch.nn.functional": torch.nn.functional,
    "torch._C._nn": torch_internals.nn_functions,
    "torch._VF": torch_internals.vf_functions,
    "torch.linalg": torch.linalg,
    "torch.fft": torch.fft,
    "torch.special": torch.special,
}
#: torch's own operations, called as such: torch.ops.aten.mm
_ATEN = "torch._ops.aten"
#: they make fused attention, if they may
_ATTENTION = {"scaled_dot_product_attention", "multi_head_attention_forward"}
#: on the processor they multiply all inputs at once and then go through time; the fused
#: kernel of `lstm` there has no formula
_CELLS = {"gru", "rnn_tanh", "rnn_relu"}
_RECURRENT = {*_CELLS, "lstm"}
#: run a graph or register something; they compute nothing that has a formula
_NOTHING = {"backward", "grad", "requires_grad_", "retain_grad", "register_hook"}
_NOTHING |= {"item", "tolist", "numpy", "numel", "size", "dim", "stride"}
#: they move a tensor to another device, or give it as it is
_MOVING = {"to", "cpu", "cuda", "xpu"}
#: what Python itself asks of a tensor: `float(x)`, which calls `x.__float__()`
_PYTHON = {"bool", "int", "float", "complex", "index", "len", "iter", "contains"}
_PYTHON |= {"array", "format", "repr"}
#: torch has them made of others, none of which is a product, and what comes out, or
#: whether they go through, hangs on the values
_BY_VALUES = {"where", "unique", "repeat_interleave", "ctc_loss", "istft"}
_BY_VALUES |= {"fake_quantize_per_tensor_affine", "fake_quantize_per_channel_affine"}


#: of these kinds an operand may be a number, whichever
_BY_NUMBERS = {"sum", "scale", "compare"}


class Made(NamedTuple):
    """What one call is made of: FLOPs, the bytes it moves (None: unknown), and of each
    output how it lies in memory, None where contiguous."""

    forward: Count
    backward: Count
    moved: int | None
    layouts: tuple[Strides | None, ...] = ()
    #: bytes of what it made, the most at a time, and what is left of them
    most: int = 0
    left: int = 0
    #: by the names of its backward's nodes, the bytes that one has beside what it gives
    nodes: Mapping[str, int] = MappingProxyType({})


_NO_FLOPS = Count(0)
_UNKNOWN = Count(None, whole=False)
_NOTHING_MADE = Made(_NO_FLOPS, _NO_FLOPS, 0)


@contextmanager
def repeating() -> Iterator[Repeater]:
    """Where calls may be repeated, whatever is on around."""
    with torch_internals.unseen_by_modes(), torch.inference_mode(False):
        with torch.enable_grad():
            yield Repeater()


class Repeater:
    """Repeats recorded calls, in their order; see `repeating`."""

    def __init__(self) -> None:
        self._known: dict[Any, Made] = {}
        self._strides: dict[int, Strides] = {}

    def forward(self, call: FunctionCall, flowing: Collection[int]) -> Made:
        """Of the call itself; `flowing` are the tensors that need a gradient."""
        need = None
        if call.name in _ATTENTION and call.grad:
            # it is made of something else where the mask needs a gradient
            need = Need(tuple(ref.id in flowing for ref in call.inputs), ())
        made = self._made(call, need)
        for ref, strides in zip(call.outputs or (), made.layouts, strict=False):
            if strides is not None and len(strides) == len(ref.shape):
                self._strides[ref.id] = strides
        return made

    def most(self, call: FunctionCall, flowing: Collection[int]) -> int:
        """Bytes that the call made and held at a time beside what is left of it: of
        its results, and of what autograd keeps; 0 where that was all there was."""
        made = self._made(call, None)
        if made.most > made.left:
            need = None
            if call.grad:
                need = Need(tuple(ref.id in flowing for ref in call.inputs), ())
            made = self._made(call, need, forward_only=True)
        return made.most if made.most > made.left else 0

    def backward(self, call: FunctionCall, need: Need) -> Made:
        """With the backward through it; that is unknown where it is a backward itself,
        whose way the records do not show."""
        if not need.inputs or call.name == "grad":  # through gradients: create_graph
            return Made(_UNKNOWN, _UNKNOWN, None)
        return self._made(call, need)

    def _made(
        self, call: FunctionCall, need: Need | None, forward_only: bool = False
    ) -> Made:
        if call.error is not None or call.outputs is None:
            return _NOTHING_MADE  # it raised, and what it had done by then is unknown
        if call.name in _NOTHING:
            return _NOTHING_MADE
        if call.name in _PYTHON and call.qualname.endswith("__"):
            return _NOTHING_MADE
        if not call.inputs or call.qualname.startswith("torch.nn.init."):
            filled = 0 if "empty" in call.name else size(call.outputs)
            return Made(_NO_FLOPS, _NO_FLOPS, filled)
        strides = [self._strides.get(ref.id) for ref in call.inputs]
        first: dict[int, int] = {}
        # q, k and v may be one tensor
        same = tuple(
            [first.setdefault(ref.id, at) for at, ref in enumerate(call.inputs)]
        )
        args = _that_cost(call)
        key = _key((call.qualname, need, same, args, tuple(call.kwargs.items())))
        if call.name in _MOVING:
            key = (key, *(ref.device for ref in (*call.inputs, *call.outputs)))
        key = (key, tuple(strides), forward_only)
        if key not in self._known:
            self._known[key] = _repeated(call, need, strides, forward_only)
        return self._known[key]


def _that_cost(call: FunctionCall) -> Any:
    """The arguments without what makes no difference: which number is added or
    multiplied, and which elements are read, where the result says how many."""
    does = kind(call.name)
    if does in _BY_NUMBERS:
        return [
            type(arg) if isinstance(arg, (int, float)) else arg for arg in call.args
        ]
    if call.name != "getitem" or call.outputs is None or len(call.args) < 2:
        return call.args
    index = call.args[1]
    parts = index if type(index) is tuple else (index,)
    return [
        call.args[0],
        type(index),
        *map(_extent, parts),
        *(ref.shape for ref in call.outputs),
    ]


def _extent(part: Any) -> Any:
    if isinstance(part, slice):
        ends = (part.start, part.stop)
        known = all(end is None or type(end) is int for end in ends)
        return (slice, part.step) if known else part
    return int if type(part) is int else part


def size(tensors: Sequence[TensorRef]) -> int:
    """Bytes, each tensor once, however often it is named."""
    sizes = {ref.id: math.prod(ref.shape) * ref.dtype.itemsize for ref in tensors}
    return sum(sizes.values())


def _repeated(
    call: FunctionCall,
    need: Need | None,
    strides: Sequence[Strides | None],
    forward_only: bool,
) -> Made:
    moved = size((*call.inputs, *(call.outputs or ())))
    if call.name in _MOVING and len(call.inputs) == 1 == len(call.outputs or ()):
        there = [ref.device for ref in (*call.inputs, *(call.outputs or ()))]
        if there[0] != there[1]:
            return Made(_NO_FLOPS, _NO_FLOPS, moved)
        if call.name != "to":
            return _NOTHING_MADE
    home, _ = home_and_name(call.qualname)
    if home.startswith("torch._ops.") and home != _ATEN:
        # an operation that somebody has registered, whatever it is called
        return Made(_UNKNOWN, _UNKNOWN if need else _NO_FLOPS, moved)
    later: list[tuple[str, BaseException]] = []

    def told(lost: str, fault: BaseException) -> None:
        later.append((lost, fault))

    try:
        func = _resolve(call.qualname)
        if func is not None:
            with telling(told), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the batch has given its own already
                return _repeat(func, call, need, strides, forward_only)
    except Refused:  # what follows says what its name alone tells
        pass
    finally:
        for one in later:
            costs_an_answer(*one)
    does = kind(call.name)
    if does in RESHAPING and does != "copy":
        return _NOTHING_MADE  # x.view(size), of a size that is in a tensor
    if does in ("pick", "write"):
        moved = _chosen(call)
    if call.name in _BY_VALUES or does in SAME_NUMBERS or is_free(call.name):
        return Made(_NO_FLOPS, _NO_FLOPS, moved)
    return Made(_UNKNOWN, _UNKNOWN if need else _NO_FLOPS, moved)


def _chosen(call: FunctionCall) -> int:
    """Bytes moved where a mask says which elements: of what is read, the result says
    how many; of what is written, at least as many as are given."""
    chosen = size(call.inputs[1:])
    if kind(call.name) == "write":
        return chosen + size(
            [one for one in call.args if isinstance(one, TensorRef)][2:]
        )
    return chosen + 2 * size(call.outputs or ())


def _repeat(
    func: Any,
    call: FunctionCall,
    need: Need | None,
    strides: Sequence[Strides | None],
    forward_only: bool,
) -> Made:
    device = "meta"
    mode: AbstractContextManager[Any] = nullcontext()
    if call.name in _ATTENTION or forward_only and call.name in _CELLS:
        device, mode = _whose_kernels(call), torch_internals.fake_tensors()
    with mode:
        leaves: list[Tensor] = []
        given: dict[str, Tensor] = {}
        known: dict[int, Tensor] = {}
        for at, (ref, steps) in enumerate(zip(call.inputs, strides, strict=True)):
            if ref.id in known:
                given[ref.path] = known[ref.id]
                continue
            counts = _step_sizes(call) if at == 1 else None
            tensor = _empty(ref, steps, device) if counts is None else counts
            if need and need.inputs[at] and differentiable(ref.dtype):
                leaves.append(tensor.requires_grad_())
                tensor = tensor.clone()  # a leaf may not be changed in place
            given[ref.path] = known[ref.id] = tensor
        args = [_thawed(arg, given, device) for arg in call.args]
        kwargs = {key: _thawed(arg, given, device) for key, arg in call.kwargs.items()}
        if call.name == "to":  # x.to("cpu"), x.to(0)
            args = [device if type(arg) in (str, int) else arg for arg in args]
        if kwargs.get("device") is not None:
            kwargs["device"] = device
        with counting() as forward:
            output = of_torch(func, *args, **kwargs)
        ends: list[Tensor] = []
        _tensors(output if output is not None else args[0], ends)
        layouts = tuple(
            None if end.layout != torch.strided or end.is_contiguous() else end.stride()
            for end in ends
        )
        seen = forward.moved, layouts, forward.most, forward.left
        if need and len(need.outputs) == len(ends):
            ends = [end for end, met in zip(ends, need.outputs, strict=True) if met]
        ends = [end for end in ends if end.requires_grad]
        if forward_only or not leaves or not ends:
            return Made(forward.count, _NO_FLOPS, *seen)
        with counting() as backward:
            backward.follow(ends)
            ones = [torch.ones_like(end) for end in ends]
            of_torch(torch.autograd.grad, ends, leaves, ones, allow_unused=True)
        return Made(forward.count, backward.count, *seen, backward.nodes)


def _step_sizes(call: FunctionCall) -> Tensor | None:
    """How many sequences a packed one has at each step, in place of the true numbers,
    which are not kept: any that fall and have the same sum cost the same."""
    if call.name not in _RECURRENT or call.inputs[1].dtype != torch.int64:
        return None
    rows, (steps,), most = (
        call.inputs[0].shape[0], call.inputs[1].shape, call.inputs[2].shape[1]
    )  # fmt: skip
    left, sizes = rows - most, [most]
    for after in reversed(range(steps - 1)):
        sizes.append(min(most, left - after))
        left -= sizes[-1]
    return torch.tensor(sizes)


def _whose_kernels(call: FunctionCall) -> str:
    """CUDA has fused attention of its own, whose backward makes the scores again."""
    on_cuda = all(ref.device.type == "cuda" for ref in call.inputs)
    return "cuda" if on_cuda and torch.cuda.is_available() else "cpu"


def _empty(ref: TensorRef, strides: Strides | None, device: str) -> Tensor:
    made: Tensor
    if strides is None:
        made = of_torch(torch.empty, ref.shape, dtype=ref.dtype, device=device)
    else:
        made = of_torch(
            torch.empty_strided, ref.shape, strides, dtype=ref.dtype, device=device
        )
    return made


def _resolve(qualname: str) -> Any:
    """The function of that name, where it is one of torch's; the user's own code is
    not run again."""
    home, name = home_and_name(qualname)
    if home == _ATEN:
        return getattr(torch.ops.aten, name, None)
    func = getattr(_HOMES.get(home), name, None)
    if func is not None and not callable(func):  # x.T, x.mT, x.real
        return lambda tensor: getattr(tensor, name)
    return func


def _thawed(value: Any, given: dict[str, Tensor], device: str) -> Any:
    if isinstance(value, TensorRef):
        if value.path not in given:
            raise Refused(value.path)  # a file from elsewhere may name any
        return given[value.path]
    if isinstance(value, Opaque):
        raise Refused("Opaque")  # it was not kept as data
    if isinstance(value, torch.device):
        return torch.device(device)
    if isinstance(value, list):
        return [_thawed(part, given, device) for part in value]
    if type(value) is tuple:
        return tuple(_thawed(part, given, device) for part in value)
    return value


@cache
def is_python(qualname: str) -> bool:
    """Whether torch has written the function in Python."""
    return isinstance(_resolve(qualname), FunctionType)


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
