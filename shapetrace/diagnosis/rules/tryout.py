"""Tries a repair before it is shown: the recorded calls from the change on are walked
again with the sizes that would arise, and the call that failed is held against them.

Sizes follow from the shape signatures, which cost microseconds. The call that failed is
also really made, on zeros, where it is small: torch itself then says whether it goes.
Nothing random is called, nothing recurrent (inconsistent shapes crash the process in
some kernels), no code of the user's, and no tensor of the user's is touched.
"""

from __future__ import annotations

import ast
import warnings
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from math import prod
from typing import Any, Literal, NamedTuple

import torch

from shapetrace.diagnosis.detect import Mismatch
from shapetrace.diagnosis.edits import Edit
from shapetrace.diagnosis.expected import clash_text, next_layers, unreached
from shapetrace.lineage import Graph, describe
from shapetrace.records import FunctionCall, ModuleCall, ModuleInfo, Opaque, TensorRef
from shapetrace.signatures import (
    broadcasts,
    conflicts,
    inner_function,
    is_loss,
    module_function,
    predict,
)
from shapetrace.signatures.probe import resolve
from shapetrace.source.line import find

#: elements in all inputs of a call that is really made
_SMALL = 1 << 17
#: re-walked calls of all repairs of one failure; then the rest stays untried
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Repair:
    """What a line would change: tensors as calls with an order in `span` take them,
    modules as they would be built, or a function's call."""

    edits: Mapping[int, Edit] = field(default_factory=dict)
    modules: Mapping[str, ModuleInfo] = field(default_factory=dict)
    calls: Mapping[int, FunctionCall] = field(default_factory=dict)
    span: tuple[int, int] = (0, 1 << 60)
    #: for failures that are about values: whether the new sizes hold them all
    holds_values: bool = False


class Outcome(NamedTuple):
    status: Literal["verified", "moved", "untried"]
    detail: str = ""


class _Elsewhere(Exception):
    """The repaired program would fail at another call."""


class _Unknown(Exception):
    """What the repaired program does there cannot be told."""


class _Fails(Exception):
    """The failing call would fail all the same."""


class Trial:
    """All repairs of one failure are tried against it."""

    def __init__(self, graph: Graph, problem: Mismatch, most: int = _MOST) -> None:
        self.graph = graph
        self.problem = problem
        self._left = most
        self._raises: bool | None = None

    def run(self, repair: Repair) -> Outcome | None:
        """What comes of a repair; None where it provably does not help."""
        try:
            walk = _Walk(self, repair)
            return self._judge(walk.final(), walk.touched, repair)
        except _Elsewhere as error:
            return Outcome("moved", str(error))
        except _Fails:
            return None
        except _Unknown:
            return Outcome("untried")
        except Exception:  # an edit that cannot be made of such a shape is no repair
            return None

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _Unknown

    def _judge(
        self, call: FunctionCall, touched: bool, repair: Repair
    ) -> Outcome | None:
        before = self.problem.call
        if not touched:
            return None
        clashes = bool(conflicts(before)) or bool(broadcasts(before))
        if conflicts(call) or (is_loss(call.name) and broadcasts(call)):
            return None
        if not _one_device(call):
            return None
        shapes = predict(call, tuple(ref.shape for ref in call.inputs))
        if any(size < 1 for shape in shapes or () for size in shape):
            return None
        answered = shapes is not None
        proven = clashes and answered
        if answered and self.problem.kind in ("device", "container"):
            proven = True  # both are no matter of sizes, and are mended by the change
        proven = proven or repair.holds_values
        now = _really(call)
        if now is False:
            return None
        if now is True and self._raised():
            proven = True
        if not proven:
            return Outcome("untried")
        later = next_layers(self.graph, self.problem, call)
        if later:
            return Outcome("moved", later)
        waits = unreached(self.graph, repair.modules)
        return Outcome("untried", waits) if waits else Outcome("verified")

    def _raised(self) -> bool:
        """Whether the call as recorded raises on zeros too: only then does it prove
        something that another does not."""
        if self._raises is None:
            self._raises = _really(self.problem.call) is False
        return self._raises


class _Walk:
    """One pass over the recorded calls with a repair applied."""

    def __init__(self, trial: Trial, repair: Repair) -> None:
        self.graph = trial.graph
        self.problem = trial.problem
        self.repair = repair
        self.touched = False
        self.now: dict[int, TensorRef] = {}
        self._spend = trial.spend
        self._units: set[int] = set()
        self._walk()

    def _walk(self) -> None:
        failing = self.problem.call
        layer = self.problem.layer
        last = failing.order if failing.index >= 0 else (layer.order if layer else 0)
        functions = self.graph.rec.functions
        first = self.repair.span[0]
        start = bisect_left(functions, first, key=lambda call: call.order)
        for call in islice(functions, start, None):
            if call.order >= last or call.index == failing.index:
                break
            unit = self.graph.layer_of(call)
            if unit is not None:
                if unit.index in self._units:
                    continue
                if self._unit(unit):
                    continue
            self._function(call)

    def _see(self, ref: TensorRef, order: int) -> TensorRef:
        """A tensor as that call would take it."""
        found = self.now.get(ref.id)
        if found is not None:
            found = replace(found, path=ref.path, id=ref.id)
        else:
            found = ref
        edit = self.repair.edits.get(ref.id)
        first, last = self.repair.span
        if edit is not None and first <= order <= last:
            return edit.apply(found)
        return found

    def _unit(self, call: ModuleCall) -> bool:
        """A whole layer of torch's at once; False where it is to be walked inside."""
        if call.outputs is None:
            return False
        info = self.repair.modules.get(call.name)
        inputs = tuple(self._see(ref, call.order) for ref in call.inputs)
        if info is None and inputs == call.inputs:
            return False
        known = info or self.graph.rec.modules.get(call.name)
        if known is None:
            return False
        function = module_function(replace(call, inputs=inputs), known)
        if function is None:
            if info is not None:
                raise _Unknown
            return False
        self._spend()
        self._units.add(call.index)
        shapes = self._predicted(function, call)
        if len(shapes) != len(call.outputs):
            raise _Unknown
        self._keep(call.outputs, shapes, call.inputs, inputs)
        return True

    def _function(self, call: FunctionCall) -> None:
        if not call.outputs:
            return
        base = self.repair.calls.get(call.index, call)
        inputs = tuple(self._see(ref, call.order) for ref in call.inputs)
        if base is call and inputs == call.inputs:
            return
        if base is not call:
            inputs = tuple(self._see(ref, call.order) for ref in base.inputs)
        self._spend()
        now = with_inputs(base, inputs)
        shapes = self._predicted(now, call)
        if len(shapes) != len(call.outputs):
            raise _Unknown
        self._keep(call.outputs, shapes, call.inputs, inputs)

    def _predicted(
        self, now: FunctionCall, call: FunctionCall | ModuleCall
    ) -> tuple[tuple[int, ...], ...]:
        found = conflicts(now)
        if found:
            if isinstance(call, FunctionCall) and not self._fixed(call):
                raise _Unknown
            clash = found[0]
            name = describe(self.graph, call)[0]
            raise _Elsewhere(clash_text(name, clash.right.name or clash.name, clash))
        shapes = predict(now, tuple(ref.shape for ref in now.inputs))
        if shapes is None:
            raise _Unknown
        if any(size < 1 for shape in shapes for size in shape):
            name = describe(self.graph, call)[0]
            raise _Elsewhere(f"then the input of {name} is too small for its window")
        return shapes

    def _fixed(self, call: FunctionCall) -> bool:
        """Whether the sizes in a call would be the same in the repaired program: not
        when the code computes them from a shape, nor when another operand does."""
        for ref in call.inputs:
            made = self.graph.producer(ref.id)
            if ref.id in self.now or not isinstance(made, FunctionCall):
                continue
            if made.direct and made.parent is not None and not _literal(made):
                return False
        return not call.direct or _literal(call)

    def _keep(
        self,
        outputs: tuple[TensorRef, ...],
        shapes: tuple[tuple[int, ...], ...],
        before: tuple[TensorRef, ...],
        inputs: tuple[TensorRef, ...],
    ) -> None:
        """Put the new outputs in place of the recorded ones; what is as it was ends
        the walk there."""
        self.touched = True
        cast = None
        if before and inputs and before[0].dtype != inputs[0].dtype:
            cast = inputs[0].dtype
        for ref, shape in zip(outputs, shapes):
            dtype = ref.dtype
            if cast is not None and ref.dtype == before[0].dtype:
                dtype = cast
            if shape != ref.shape or dtype != ref.dtype:
                self.now[ref.id] = replace(ref, shape=shape, dtype=dtype)

    def final(self) -> FunctionCall:
        """The call that failed, as the repaired program would make it."""
        failing, layer = self.problem.call, self.problem.layer
        if layer is not None:
            info = self.repair.modules.get(layer.name)
            inputs = tuple(self._see(ref, layer.order) for ref in layer.inputs)
            known = info
            if inputs != layer.inputs:
                # the layer's own Python comes first: nn.MultiheadAttention swaps batch
                # and time of a query with three dimensions, and leaves one with two
                known = info or self.graph.rec.modules.get(layer.name)
            made = None
            if known is not None:
                now = replace(layer, inputs=inputs)
                made = inner_function(now, known, self.graph.rec.modules)
            if made is not None:
                self.touched = True
                return made
            if info is not None:
                raise _Unknown
        base = self.repair.calls.get(failing.index, failing)
        order = failing.order if failing.index >= 0 else (layer.order if layer else 0)
        inputs = tuple(self._see(ref, order) for ref in base.inputs)
        if inputs != failing.inputs or base is not failing:
            self.touched = True
        elif self.touched:
            raise _Fails  # the change does not reach it
        return with_inputs(base, inputs)


def with_inputs(call: FunctionCall, inputs: tuple[TensorRef, ...]) -> FunctionCall:
    """The call with other tensors in the places of its own."""
    if inputs == call.inputs:
        return call
    at = {ref.path: ref for ref in inputs}
    return replace(
        call,
        inputs=inputs,
        args=tuple(_put(arg, at) for arg in call.args),
        kwargs={name: _put(arg, at) for name, arg in call.kwargs.items()},
    )


def _put(value: Any, at: Mapping[str, TensorRef]) -> Any:
    if isinstance(value, TensorRef):
        return at.get(value.path, value)
    if isinstance(value, (list, tuple)):
        return type(value)(_put(part, at) for part in value)
    return value


def _one_device(call: FunctionCall) -> bool:
    return len({ref.device for ref in call.inputs if ref.shape}) < 2


def _literal(call: FunctionCall) -> bool:
    """Whether every number in the user's call is written out as one."""
    if not any(_numbers(arg) for arg in (*call.args, *call.kwargs.values())):
        return True
    line = find(call.source)
    if line is None or not isinstance(line.tree, (ast.Call, ast.BinOp)):
        return False
    if isinstance(line.tree, ast.BinOp):
        return True
    values = [*line.tree.args, *(keyword.value for keyword in line.tree.keywords)]
    return not any(
        isinstance(node, (ast.Call, ast.Subscript, ast.Starred, ast.Name))
        for value in values
        for node in ast.walk(value)
    )


def _numbers(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_numbers(part) for part in value)
    return type(value) is int and value > 1


def _really(call: FunctionCall) -> bool | None:
    """Whether torch takes the call, made on zeros; None where it is not to be made."""
    if sum(prod(ref.shape) for ref in call.inputs) > _SMALL:
        return None
    func = resolve(call)
    if func is None:
        return None
    try:
        with torch._C.DisableTorchFunction(), torch.no_grad():
            zeros = {
                ref.path: torch.zeros(ref.shape, dtype=ref.dtype) for ref in call.inputs
            }
            args = [_filled(arg, zeros) for arg in call.args]
            kwargs = {name: _filled(arg, zeros) for name, arg in call.kwargs.items()}
    except Exception:  # an argument that is not kept as data
        return None
    try:
        with torch._C.DisableTorchFunction(), torch.no_grad():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                func(*args, **kwargs)
    except Exception:  # whatever torch raises is the answer
        return False
    return True


def _filled(value: Any, zeros: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, TensorRef):
        return zeros[value.path]
    if isinstance(value, Opaque):
        raise TypeError(value.type)
    if isinstance(value, (list, tuple)):
        return type(value)(_filled(part, zeros) for part in value)
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value
