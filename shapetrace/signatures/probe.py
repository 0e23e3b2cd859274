"""A probe for functions that have no rule: on the meta device one input dimension is
enlarged, and the output dimensions that move are its own.

Nothing is computed there, and nothing random drawn. A probe must never cost the user
more than its answer: recurrent functions crash the process on inconsistent meta shapes,
others change global state, so only torch's own homes of pure functions are entered.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

import torch

import shapetrace.torch_internals as torch_internals
from shapetrace.records import FunctionCall, Opaque, TensorRef
from shapetrace.signatures.names import home_and_name
from shapetrace.signatures.refusal import Refused, of_torch
from shapetrace.signatures.relation import DimOrigin, How

Shape = tuple[int, ...]
Place = tuple[int, int]

_HOMES = {
    "torch": torch,
    "torch.Tensor": torch.Tensor,
    "torch.functional": torch.functional,
    "torch.nn.functional": torch.nn.functional,
    "torch.linalg": torch.linalg,
    "torch.fft": torch.fft,
    "torch.special": torch.special,
}
#: random, recurrent, of global state, of memory, or of another backend
_NEVER = re.compile(
    r"lstm|gru|rnn|rand|dropout|bernoulli|multinomial|normal|poisson|binomial|rrelu"
    r"|gumbel|exponential|geometric|cauchy|uniform|seed|shuffle|fractional|^set_|^_"
    r"|storage|data_ptr|numpy|from_|load|save|compile|apply|map_|hook|share|sparse"
    r"|quant|backward|resize|multi_head|transformer|vmap|item|tolist|cuda|cudnn|mkldnn"
    r"|miopen|mps|xpu|fbgemm|nested|retain|requires_grad|record|cond$|while"
)
_OPERATOR = re.compile(r"__r?(add|sub|mul|truediv|matmul)__|__[gs]etitem__")
_TRIES = 96


def probe(call: FunctionCall) -> tuple[tuple[DimOrigin, ...], ...] | None:
    """The origins of every output dimension; None where the probe cannot say."""
    func = resolve(call)
    if func is None or not call.outputs or not call.inputs:
        return None
    if any(0 in ref.shape for ref in call.inputs):
        return None
    shapes = [ref.shape for ref in call.inputs]
    wanted = [ref.shape for ref in call.outputs]
    try:
        with torch_internals.unseen_by_modes(), torch.no_grad():
            if _run(func, call, shapes) != wanted:
                return None
            return _explore(func, call, shapes, wanted)
    except Refused:  # not to be had on the meta device: then there is no answer
        return None


def run(call: FunctionCall, shapes: list[Shape]) -> list[Shape] | None:
    """The outputs' shapes, had the inputs these, by a call on the meta device; None
    where that does not say, or does not say what was recorded of the call itself.

    Raises `Refused` where torch does not take them."""
    func = resolve(call)
    if func is None or not call.outputs or not call.inputs:
        return None
    with torch_internals.unseen_by_modes(), torch.no_grad():
        try:
            own = [ref.shape for ref in call.inputs]
            if _run(func, call, own) != [ref.shape for ref in call.outputs]:
                return None
        except Refused:  # not to be had on the meta device: then there is no answer
            return None
        return _run(func, call, shapes)


def resolve(call: FunctionCall) -> Any:
    """The function, where it is one of torch's that may be called on other tensors:
    without chance, without an effect beyond its result, without a risk of a crash."""
    home, name = home_and_name(call.qualname)
    space = _HOMES.get(home)
    if space is None or (_NEVER.search(name) and not _OPERATOR.fullmatch(name)):
        return None
    func = getattr(space, name, None)
    return func if callable(func) else None


def _run(func: Any, call: FunctionCall, shapes: list[Shape]) -> list[Shape]:
    """The outputs' shapes for inputs of those shapes."""
    tensors = {
        ref.path: of_torch(torch.empty, shape, dtype=ref.dtype, device="meta")
        for ref, shape in zip(call.inputs, shapes)
    }
    args = [_thawed(arg, tensors) for arg in call.args]
    kwargs = {name: _thawed(arg, tensors) for name, arg in call.kwargs.items()}
    if "device" in kwargs:
        kwargs["device"] = "meta"
    found: list[Shape] = []
    made = of_torch(func, *args, **kwargs)
    _collect(args[0] if call.name == "setitem" else made, found)
    return found


def _thawed(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """An argument with meta tensors in it."""
    if isinstance(value, TensorRef):
        return tensors[value.path]
    if isinstance(value, Opaque):
        raise Refused("Opaque")
    if isinstance(value, list):
        return [_thawed(part, tensors) for part in value]
    if isinstance(value, tuple):
        return tuple(_thawed(part, tensors) for part in value)
    return value


def _collect(value: Any, found: list[Shape]) -> None:
    """The shapes of all tensors in a result, in order."""
    if isinstance(value, torch.Tensor):
        found.append(tuple(value.shape))
    elif isinstance(value, (tuple, list)):
        for part in value:
            _collect(part, found)


def _explore(
    func: Any, call: FunctionCall, shapes: list[Shape], wanted: list[Shape]
) -> tuple[tuple[DimOrigin, ...], ...] | None:
    """Enlarges every input dimension in turn."""
    moved: dict[Place, dict[Place, int]] = {}
    stuck = False
    tries = _TRIES
    places = [(pos, d) for pos, shape in enumerate(shapes) for d in range(len(shape))]
    for place in places:
        tried = False
        for group in _groups(place, places, shapes):
            for size in (2 * _at(shapes, place), _at(shapes, place) + 1):
                tries -= 1
                if tries < 0:
                    return None
                changed = _enlarged(shapes, group, size)
                try:
                    result = _run(func, call, changed)
                except Refused:  # these sizes do not fit: the next might
                    continue
                if [len(shape) for shape in result] != [len(s) for s in wanted]:
                    return None
                tried = True
                _note(moved, group, result, wanted)
                break
            if tried:
                break
        stuck = stuck or not tried
    return tuple(
        tuple(
            _origin(moved.get((o, d), {}), shapes, size, stuck)
            for d, size in enumerate(shape)
        )
        for o, shape in enumerate(wanted)
    )


def _at(shapes: list[Shape], place: Place) -> int:
    return shapes[place[0]][place[1]]


def _groups(
    place: Place, places: list[Place], shapes: list[Shape]
) -> chain[tuple[Place, ...]]:
    """The dimension alone; else with one, then with all, of equal size."""
    size = _at(shapes, place)
    twins = [p for p in places if p != place and _at(shapes, p) == size]
    return chain([(place,)], [(place, p) for p in twins], [(place, *twins)])


def _enlarged(shapes: list[Shape], group: tuple[Place, ...], size: int) -> list[Shape]:
    changed = [list(shape) for shape in shapes]
    for pos, d in group:
        changed[pos][d] = size
    return [tuple(shape) for shape in changed]


def _note(
    moved: dict[Place, dict[Place, int]],
    group: tuple[Place, ...],
    result: list[Shape],
    wanted: list[Shape],
) -> None:
    """Which output dimensions moved, and to what size."""
    for o, (new, old) in enumerate(zip(result, wanted)):
        for d, (after, before) in enumerate(zip(new, old)):
            if after != before:
                for place in group:
                    moved.setdefault((o, d), {})[place] = after


def _origin(
    sources: dict[Place, int], shapes: list[Shape], size: int, stuck: bool
) -> DimOrigin:
    """What the probe saw of one output dimension."""
    if not sources:
        if stuck:
            return DimOrigin("guess", (), "", sure=False)
        how: How = "new" if size == 1 else "argument"
        return DimOrigin(how, (), "probed")
    places = tuple(sources)
    olds = [_at(shapes, place) for place in places]
    if all(old == size for old in olds):
        return DimOrigin("same", places, "probed")
    if len(places) > 1:
        return DimOrigin("sum" if sum(olds) == size else "product", places, "probed")
    return DimOrigin("window", places, f"probed: {olds[0]} gave {size}")
