"""What stands behind the totals that `backward()` is called on.

One pass over the calls, in whose order each is asked only for what its inputs are
known to be: a walk back from every total would go through all former steps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from functools import cached_property

from shapetrace.checks.finding.context import CheckContext, plain
from shapetrace.lineage.dimensions import PARAMETER, TRAINABLE
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import is_loss, named
from shapetrace.signatures.kinds import SAME_NUMBERS

#: calls whose result is the sum of their operands, or of parts of one
_ADDITIVE = named(*SAME_NUMBERS, "sum", "scale", "total", "mask") | {"neg", "mean"}
#: what is behind a tensor: a beginning that no `torch.tensor(...)` made; a parameter as
#: such; a new leaf that learns, of the shape of an array taken out, or of another one
_BEGUN, _WEIGHT, _ARRAY, _LEAF = 1, 2, 4, 8
#: a call that took a parameter, with autograd on, and off; among the terms of its sum
#: one that was told to require a gradient, and a loss
_ON, _OFF, _TOLD, _LOSS = 16, 32, 64, 128
_TERMS = _TOLD | _LOSS


class Behind:
    """Everything that the totals of a trace descend from, as bits."""

    def __init__(self, context: CheckContext) -> None:
        self._context = context
        self._bits: dict[int, int] = {}
        for call in context.functions:
            self._pass(call)

    def _pass(self, call: FunctionCall) -> None:
        bits, graph = 0, self._context.graph
        for ref in call.inputs:
            if ref.id not in self._bits:
                self._bits[ref.id] = self._leaf(ref.id)
            bits |= self._bits[ref.id] & ~_TERMS
            if graph.is_parameter(ref.id):
                bits |= _ON if call.grad else _OFF
        name = plain(call.name)
        if name == "requires_grad":
            bits |= _TOLD
        elif is_loss(name):
            bits |= _LOSS
        elif name in _ADDITIVE:
            for ref in _parts(self._context, call):
                bits |= self._bits[ref.id] & _TERMS
        for ref in call.outputs or ():
            learns = not call.inputs and self._learns(ref.id)
            begun = not call.inputs and call.name != "tensor"
            new = self._as_leaf(ref.shape) if learns else 0
            self._bits.setdefault(ref.id, bits | new | (_BEGUN if begun else 0))

    def _leaf(self, tensor: int) -> int:
        axes = self._context.axes
        bits = _BEGUN | (_WEIGHT if axes.descends(tensor, PARAMETER) else 0)
        if self._learns(tensor):
            bits |= self._as_leaf(self._context.graph.tensors[tensor].shape)
        return bits

    def _learns(self, tensor: int) -> bool:
        return self._context.axes.descends(tensor, TRAINABLE)

    def _as_leaf(self, shape: tuple[int, ...]) -> int:
        return _ARRAY if shape in self._arrays else _LEAF

    @cached_property
    def _arrays(self) -> set[tuple[int, ...]]:
        """The shapes of what a model made and was taken out to NumPy."""
        return {
            ref.shape
            for call in self._context.calls("numpy", "tolist")
            for ref in call.inputs
            if ref.shape and self._context.axes.descends(ref.id, PARAMETER)
        }

    @cached_property
    def _numbers_alone(self) -> bool:
        """Whether losses were taken out with item(), while nothing else learns."""
        axes = self._context.axes
        totals = [c.inputs[0].id for c in self._context.calls("backward") if c.inputs]
        taken = (call.inputs[0].id for call in self._context.calls("item"))
        return any(map(self._learns, taken)) and not any(
            axes.descends(tensor, PARAMETER) for tensor in totals
        )

    def rebuilt(self, total: TensorRef) -> bool:
        """Whether a total is a new tensor, or a sum of new ones made of numbers that
        were taken out of the losses."""
        made = self._context.made_by(total.id)
        if made is not None and not made.inputs:
            return True
        return not self._bits.get(total.id, _BEGUN) & _BEGUN and self._numbers_alone

    def round_trip(self, total: TensorRef) -> bool:
        """Whether a total learns only for a new tensor of the shape of one that was
        taken out to NumPy before: the prediction, cut off from what made it."""
        if not self._arrays:
            return False
        return self._bits.get(total.id, 0) & (_ARRAY | _LEAF | _WEIGHT) == _ARRAY

    def told_to(self, call: FunctionCall) -> bool:
        """Whether backward() only ran because the total itself was told that it
        requires a gradient, or did not run. Otherwise something on the way is learned,
        a latent."""
        if call.outputs is None:
            return True
        return bool(self._bits.get(call.inputs[0].id, 0) & _TERMS)

    def autograd_off(self, total: TensorRef) -> FunctionCall | None:
        """The last call with a parameter, where a total was told that it requires a
        gradient and autograd was off in every call that took one."""
        if self._bits.get(total.id, 0) & (_TOLD | _ON | _OFF) != _TOLD | _OFF:
            return None
        makers = map(self._context.made_by, self._context.graph.ancestors(total.id))
        takers = (
            call
            for call in makers
            if call is not None
            and any(self._context.graph.is_parameter(ref.id) for ref in call.inputs)
        )
        return max(takers, key=lambda call: call.index, default=None)


def given_anew(context: CheckContext, total: TensorRef) -> bool:
    """Whether a total is a leaf that no call made: `Variable(loss, requires_grad=True)`
    and `nn.Parameter(loss)` hold the loss and not what it was made of."""
    origin = context.graph.origin(total.id)
    return (
        origin is not None
        and origin.kind == "outside"
        and origin.requires_grad
        and not total.shape
    )


def before_it(context: CheckContext, backward: FunctionCall) -> TensorRef | None:
    """The last number of what a model made before a backward, since the last one."""
    functions = context.graph.rec.functions
    at = bisect_left(functions, backward.index, key=lambda call: call.index)
    for call in reversed(functions[:at]):
        if call.name == "backward":
            return None
        for ref in call.outputs or ():
            if not ref.shape and context.axes.descends(ref.id, PARAMETER):
                return ref
    return None


def _parts(context: CheckContext, call: FunctionCall) -> list[TensorRef]:
    """The terms that a call adds up. What only weighs or picks others, as hard examples
    are chosen, is not to be learned from."""
    parts = [ref for ref in call.inputs if ref.dtype.is_floating_point]
    if plain(call.name) in ("mul", "div"):
        learns = [ref for ref in parts if context.axes.descends(ref.id, TRAINABLE)]
        parts = learns or parts
    return parts


def terms(context: CheckContext, totals: Iterable[TensorRef]) -> set[int]:
    """The tensors that totals are the sums of."""
    todo = [total.id for total in totals]
    seen = set(todo)
    while todo:
        call = context.made_by(todo.pop())
        if call is not None and plain(call.name) in _ADDITIVE:
            new = [ref.id for ref in _parts(context, call) if ref.id not in seen]
            todo += new
            seen.update(new)
    return seen
