"""Tries a repair before it is shown: the recorded calls that it touches are walked
again with the sizes that would arise, up to the call that failed.

Sizes follow from the shape signatures, which cost microseconds. The call that failed is
also really made, on zeros, where it is small: torch itself then says whether it goes.
Nothing random is called, nothing recurrent (inconsistent shapes crash the process in
some kernels), no code of the user's, and no tensor of the user's is touched.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from heapq import heappop, heappush
from typing import Any

from shapetrace.diagnosis.called_again import (
    beyond_classes,
    followed,
    is_on_one_device,
    really_goes,
    with_inputs,
)
from shapetrace.diagnosis.edits import NO_SUCH_SHAPE
from shapetrace.diagnosis.expected import clash_text, next_layers, unreached
from shapetrace.diagnosis.hypothesis import EVER, Outcome, Repair
from shapetrace.diagnosis.mismatch import Mismatch
from shapetrace.diagnosis.reading import Conflicting, Program, Reading
from shapetrace.lineage import Call, Graph, describe
from shapetrace.records import FunctionCall, ModuleCall, ModuleInfo, Source, TensorRef
from shapetrace.signatures import (
    broadcasts,
    conflicts,
    inner_function,
    is_loss,
    module_function,
    predict,
)
from shapetrace.source.finder import Constructions

#: calls walked again for all repairs of one failure, and for one of them
_MOST, _MOST_OF_ONE = 4000, 600


class _Elsewhere(Exception):
    """The repaired program would fail at another call."""


class _Unknown(Exception):
    """What the repaired program does there cannot be told."""


class Replay:
    """All repairs of one failure are tried against it."""

    def __init__(self, graph: Graph, mismatch: Mismatch, most: int = _MOST) -> None:
        self.graph = graph
        self.mismatch = mismatch
        self.left = most
        self._units: dict[int, bool] = {}

    def run(
        self, repair: Repair, line: str = "", where: Source | None = None
    ) -> Outcome | None:
        """What comes of a repair; None where it provably does not help."""
        return self.read(repair, self.start(repair), line, where)

    def start(self, repair: Repair) -> Outcome | None:
        """The same as far as calls were recorded, up to the failing one."""
        try:
            walk = _Walk(self, repair)
            walk.go()
            call = walk.final()
            if call is None:
                return None
            return self._judge(call, walk, repair)
        except _Elsewhere as error:
            return Outcome("moved", str(error), True)
        except _Unknown as error:
            return Outcome("untried", str(error))
        except NO_SUCH_SHAPE:
            return None

    def final(self, repair: Repair) -> FunctionCall | None:
        """The failing call as the repaired program would make it; None: not known."""
        try:
            walk = _Walk(self, repair)
            walk.go()
            return walk.final()
        except (_Elsewhere, _Unknown, *NO_SUCH_SHAPE):
            return None

    def _judge(self, call: FunctionCall, walk: _Walk, repair: Repair) -> Outcome | None:
        if conflicts(call) or (self._compares(call) and broadcasts(call)):
            return None
        if not is_on_one_device(call):
            return None
        if self.mismatch.kind != "range":
            beyond = beyond_classes(call, self.graph.rec.value_ranges)
            if beyond:
                return Outcome("moved", beyond, True)
        shapes = predict(call, tuple(ref.shape for ref in call.inputs))
        if any(size < 1 for shape in shapes or () for size in shape):
            return None
        proven = self._clashed and shapes is not None
        if shapes is not None and self.mismatch.kind in ("device", "container"):
            proven = True  # both are no matter of sizes, and are mended by the change
        proven = proven or repair.holds_values
        now = really_goes(call)
        if now is False:
            return None
        if now is True and self._raised:
            proven = True
        if not proven:
            return Outcome("untried")
        later = next_layers(self.graph, self.mismatch, call)
        if later:
            return Outcome("moved", later)
        result = None
        if shapes is not None and len(shapes) == 1 and call.inputs:
            result = replace(call.inputs[0], id=-2, shape=shapes[0])
            if repair.back is not None:
                result = repair.back.apply(result)
        return Outcome("verified", further=(walk, result))

    def read(
        self,
        repair: Repair,
        outcome: Outcome | None,
        line: str = "",
        where: Source | None = None,
    ) -> Outcome | None:
        """What comes of a repair with which the failing call goes through: the program
        is read to its end, with the line that is to be pasted in it."""
        if outcome is None or outcome.further is None:
            return outcome
        walk, result = outcome.further
        repaired = _Repaired(walk, repair, bool(line) and where is not None)
        try:
            found = self._program.read(repaired, line, where, result)
        except Conflicting as error:
            return Outcome("moved", str(error))
        except Exception:
            # the user's code with a line of ours in it, interpreted in shapes: it may
            # raise whatever that code can raise, and then the fix stays untried
            found = Reading(False)
        if found.whole:
            return Outcome("verified", goes=True)
        waits = unreached(self.graph, repair.modules)
        return Outcome("untried", waits, goes=not walk.guessed)

    @cached_property
    def calls_of(self) -> dict[str, list[ModuleCall]]:
        """The calls of each module, in order."""
        found: dict[str, list[ModuleCall]] = {}
        for call in self.graph.rec.calls:
            found.setdefault(call.name, []).append(call)
        return found

    def is_unit(self, layer: ModuleCall) -> bool:
        """Whether a layer of torch's is predicted as one function."""
        known = self._units.get(layer.index)
        if known is None:
            info = self.graph.rec.modules.get(layer.name)
            known = info is not None and module_function(layer, info) is not None
            self._units[layer.index] = known
        return known

    def _compares(self, call: FunctionCall) -> bool:
        """Whether a call holds a prediction against a target, element by element: it
        would go through with one of them stretched, and mean nothing."""
        difference = self.mismatch.loss and call.name in ("sub", "rsub")
        return is_loss(call.name) or difference

    @cached_property
    def _program(self) -> Program:
        scopes = Constructions(self.graph.rec).scopes
        return Program(self.graph, self.mismatch.call, self.mismatch.layer, scopes)

    @cached_property
    def _clashed(self) -> bool:
        call = self.mismatch.call
        return bool(conflicts(call)) or bool(broadcasts(call))

    @cached_property
    def _raised(self) -> bool:
        """Whether the call as recorded raises on zeros too: only then does it prove
        something that another does not."""
        return really_goes(self.mismatch.call) is False


class _Repaired:
    """The recorded tensors and modules with a repair, for whoever reads the program.
    `pasted`: the repair is in the text that is read."""

    def __init__(self, walk: _Walk, repair: Repair, pasted: bool) -> None:
        self._walk = walk
        self._modules = repair.modules
        self._edits = {
            taken.tensor: taken.edit
            for taken in repair.taken
            if taken.last == EVER
            and not (pasted and walk.graph.producer(taken.tensor) is not None)
        }
        #: whether the text that is read lacks the repair
        self.unwritten = not pasted

    @property
    def touches(self) -> bool:
        return bool(self._modules or self._edits)

    def now(self, ref: TensorRef) -> TensorRef:
        found = self._walk.now(ref)
        edit = self._edits.get(ref.id)
        return found if edit is None else replace(edit.apply(found), path=ref.path)

    def module(self, name: str) -> ModuleInfo | None:
        return self._modules.get(name) or self._walk.graph.rec.modules.get(name)


class _Walk:
    """One pass over the recorded calls that a repair touches, in their order."""

    def __init__(self, replay: Replay, repair: Repair) -> None:
        self.graph = replay.graph
        self.mismatch = replay.mismatch
        self.repair = repair
        self.replay = replay
        #: whether a number that the code computes from a shape was made to follow it
        self.guessed = False
        self._now: dict[int, TensorRef] = {}
        self._due: list[tuple[int, bool, int]] = []
        self._queued: set[tuple[bool, int]] = set()
        self._taken: dict[int, list[Any]] = {}
        for taken in repair.taken:
            self._taken.setdefault(taken.tensor, []).append(taken)
        failing, layer = self.mismatch.call, self.mismatch.layer
        self._order = failing.order
        if failing.index < 0:
            self._order = layer.order if layer is not None else 0

    def go(self) -> None:
        functions, calls = self.graph.rec.functions, self.graph.rec.calls
        for index in self.repair.calls:
            if index >= 0:
                self._push(functions[index])
        for taken in self.repair.taken:
            for call in self.graph.users.get(taken.tensor, ()):
                order = self._at(call)
                if taken.first <= order <= taken.last:
                    self._push(call)
        for index in self.repair.instead:
            self._push(calls[index])
        for name in self.repair.modules:
            for module in self.replay.calls_of.get(name, ()):
                self._push(module)
        for _ in range(_MOST_OF_ONE):
            if not self._due:
                return
            _, is_function, index = heappop(self._due)
            self.replay.left -= 1
            if self.replay.left < 0:
                raise _Unknown
            call = functions[index] if is_function else calls[index]
            if isinstance(call, FunctionCall):
                self._function(call)
            else:
                self._unit(call)
        raise _Unknown

    def _at(self, call: Call) -> int:
        """When a call takes its tensors: one inside of torch's own layer with the
        layer, whose inputs are what the user's code handed over."""
        layer = self.graph.layer_of(call)
        return layer.order if layer is not None else call.order

    def _push(self, call: Call) -> None:
        layer = self.graph.layer_of(call)
        if layer is not None and isinstance(call, FunctionCall):
            if self.replay.is_unit(layer):
                call = layer
        key = (isinstance(call, FunctionCall), call.index)
        if call.order >= self._order or key in self._queued or call.outputs is None:
            return
        if layer is not None and self._is_failing(layer):
            return  # that layer is taken as a whole, by `final`
        self._queued.add(key)
        heappush(self._due, (call.order, *key))

    def _is_failing(self, layer: ModuleCall) -> bool:
        failing = self.mismatch.layer
        if failing is None or failing.index != layer.index:
            return False
        modules = self.graph.rec.modules
        info = modules.get(layer.name)
        return info is not None and inner_function(layer, info, modules) is not None

    def now(self, ref: TensorRef) -> TensorRef:
        """A tensor as the repaired program has it."""
        return self._now.get(ref.id, ref)

    def see(self, ref: TensorRef, order: int) -> TensorRef:
        """A tensor as that call would take it."""
        found = replace(self._now.get(ref.id, ref), path=ref.path)
        for taken in self._taken.get(ref.id, ()):
            if taken.first <= order <= taken.last:
                found = taken.edit.apply(found)
        return found

    def _unit(self, call: ModuleCall) -> None:
        """A whole layer of torch's at once."""
        repaired = self._rebuilt(call)
        info = repaired or self.graph.rec.modules[call.name]
        inputs = tuple(self.see(ref, call.order) for ref in call.inputs)
        function = module_function(replace(call, inputs=inputs), info)
        if function is None and repaired is not None:
            raise _Unknown
        if function is None:
            return
        self._predicted(function, call, call.inputs, inputs)

    def _rebuilt(self, call: ModuleCall) -> ModuleInfo | None:
        """What the repaired program calls there instead."""
        repair = self.repair
        return repair.instead.get(call.index) or repair.modules.get(call.name)

    def _function(self, call: FunctionCall) -> None:
        base = self.repair.calls.get(call.index, call)
        inputs = tuple(self.see(ref, self._at(call)) for ref in base.inputs)
        if base is call and inputs == call.inputs:
            return
        self._predicted(with_inputs(base, inputs), call, call.inputs, inputs)

    def _predicted(
        self,
        now: FunctionCall,
        call: Call,
        before: tuple[TensorRef, ...],
        inputs: tuple[TensorRef, ...],
    ) -> None:
        found = conflicts(now)
        if found and isinstance(call, FunctionCall) and call.direct:
            following = followed(now, before, inputs)
            if following is not None:
                now, found, self.guessed = following, (), True
        if found:
            clash = found[0]
            if clash.name == "index" and clash.right.input is None:
                raise _Unknown  # a loop over a dimension has as many steps as that
            name = describe(self.graph, call)[0]
            raise _Elsewhere(clash_text(name, clash.right.name or clash.name, clash))
        shapes = predict(now, tuple(ref.shape for ref in now.inputs))
        if shapes is None or len(shapes) != len(call.outputs or ()):
            raise _Unknown
        if any(size < 1 for shape in shapes for size in shape):
            name = describe(self.graph, call)[0]
            raise _Elsewhere(f"then the input of {name} is too small for its window")
        cast = None
        if before and inputs and before[0].dtype != inputs[0].dtype:
            cast = inputs[0].dtype
        for ref, shape in zip(call.outputs or (), shapes):
            dtype = ref.dtype
            if cast is not None and ref.dtype == before[0].dtype:
                dtype = cast
            if shape != ref.shape or dtype != ref.dtype:
                self._now[ref.id] = replace(ref, shape=shape, dtype=dtype)
                for user in self.graph.users.get(ref.id, ()):
                    self._push(user)

    def final(self) -> FunctionCall | None:
        """The call that failed, as the repaired program would make it; None where the
        repair does not reach it."""
        failing, layer = self.mismatch.call, self.mismatch.layer
        if layer is not None:
            known = info = self._rebuilt(layer)
            inputs = tuple(self.see(ref, layer.order) for ref in layer.inputs)
            if inputs != layer.inputs:
                # the layer's own Python comes first: nn.MultiheadAttention swaps batch
                # and time of a query with three dimensions, and leaves one with two
                known = info or self.graph.rec.modules.get(layer.name)
            if known is not None:
                now = replace(layer, inputs=inputs)
                made = inner_function(now, known, self.graph.rec.modules)
                if made is not None:
                    return made
            if info is not None:
                raise _Unknown
        base = self.repair.calls.get(failing.index, failing)
        inputs = tuple(self.see(ref, self._order) for ref in base.inputs)
        if inputs == failing.inputs and base is failing:
            return None
        return with_inputs(base, inputs)
