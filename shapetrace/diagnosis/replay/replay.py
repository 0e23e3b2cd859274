"""Tries a repair before it is shown: the recorded calls that it touches are walked
again with the sizes that would arise, up to the call that failed.

Sizes follow from the shape signatures, which cost microseconds. The call that failed is
also really made, on zeros, where it is small: torch itself then says whether it goes.
Nothing random is called, nothing recurrent (inconsistent shapes crash the process in
some kernels), no code of the user's, and no tensor of the user's is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

from shapetrace.diagnosis.detection.expected import next_layers, unreached
from shapetrace.diagnosis.detection.mismatch import Mismatch
from shapetrace.diagnosis.hypothesis import EVER, Outcome, Repair
from shapetrace.diagnosis.reading import Conflicting, Program, Reading
from shapetrace.diagnosis.repair.edited_dims import made_of
from shapetrace.diagnosis.repair.edits import NO_SUCH_SHAPE
from shapetrace.diagnosis.replay.called_again import (
    beyond_classes,
    is_on_one_device,
    really_goes,
)
from shapetrace.diagnosis.replay.foreseen import Elsewhere, Recorded, Unknown
from shapetrace.diagnosis.replay.walk import Walk
from shapetrace.errors import costs_an_answer
from shapetrace.lineage import Graph
from shapetrace.lineage.changed_dimensions import ChangedAxes, Made
from shapetrace.lineage.dimensions import Axes
from shapetrace.records import FunctionCall, ModuleInfo, Source, TensorRef
from shapetrace.signatures import (
    broadcasts,
    conflicts,
    is_loss,
)

_Told = TypeVar("_Told")
_NO_REPAIR = Repair()


class Replay(Recorded):
    """All repairs of one failure are tried against it."""

    def __init__(self, graph: Graph, mismatch: Mismatch) -> None:
        super().__init__(graph, mismatch)
        #: by the identity of the repair, which the walk keeps
        self._walks: dict[int, tuple[Walk, Exception | None]] = {}
        #: what came of walking on, with the repair
        self._ends: dict[int, tuple[Repair, Outcome]] = {}
        self._repaired: dict[int, tuple[ChangedAxes, FunctionCall] | None] = {}
        #: what was read, with the repair
        self._readings: dict[Any, tuple[Repair, Outcome]] = {}

    def run(
        self, repair: Repair, line: str = "", where: Source | None = None
    ) -> Outcome | None:
        """What comes of a repair; None where it provably does not help."""
        return self.read(repair, self.start(repair), line, where)

    def start(self, repair: Repair) -> Outcome | None:
        """The same as far as calls were recorded, up to the failing one."""
        try:
            walk = self._walk(repair)
            call = walk.final
            if call is None:
                return None
            return self._judge(call, walk, repair)
        except Elsewhere as error:
            return Outcome("moved", str(error), True)
        except Unknown as error:
            return Outcome("untried", str(error))
        except NO_SUCH_SHAPE:
            return None

    def final(self, repair: Repair) -> FunctionCall | None:
        """The failing call as the repaired program would make it; None: not known."""
        return self._told(repair, lambda walk: walk.final)

    def repaired(self, repair: Repair) -> tuple[ChangedAxes, FunctionCall] | None:
        """What the dimensions are made of in the repaired program, and its failing
        call; None: not known."""
        key = id(repair)
        if key not in self._repaired:
            self._repaired[key] = self._told(repair, self._changed)
        return self._repaired[key]

    def _changed(self, walk: Walk) -> tuple[ChangedAxes, FunctionCall] | None:
        call = walk.final
        if call is None:
            return None
        axes = ChangedAxes(self.axes)
        for order, made in walk.made:
            axes.take(made, _edited(walk, made, order))
        layer = self.mismatch.layer
        order = walk.order if layer is None else layer.order
        return axes, axes.given(call, _edited(walk, call, order))

    @cached_property
    def axes(self) -> Axes:
        """What every dimension is made of, as it was recorded."""
        return Axes(self.graph)

    def tensor(self, repair: Repair, tensor: int) -> TensorRef | None:
        """A tensor as the repaired program would have it; None: not known."""
        return self._told(repair, lambda walk: walk.now(self.graph.tensors[tensor]))

    def _told(self, repair: Repair, tell: Callable[[Walk], _Told]) -> _Told | None:
        try:
            return tell(self._walk(repair))
        except (Elsewhere, Unknown, *NO_SUCH_SHAPE):
            return None

    def _walk(self, repair: Repair) -> Walk:
        """The calls that a repair touches walked again: once, whoever asks."""
        walk, error = self._walks.get(id(repair), (None, None))
        if walk is None:
            walk = Walk(self, repair)
            try:
                walk.go()
            except (Elsewhere, Unknown, *NO_SUCH_SHAPE) as failed:
                error = failed
            self._walks[id(repair)] = walk, error
        if error is not None:
            raise error
        return walk

    def _judge(self, call: FunctionCall, walk: Walk, repair: Repair) -> Outcome | None:
        clash, shapes = self.answer(call)
        if clash or (self._compares(call) and broadcasts(call)):
            return None
        if self.mismatch.silent and self._still_stretches(call):
            return None
        if _takes_a_part(call):
            return None
        if not is_on_one_device(call):
            return None
        if self.mismatch.kind != "range":
            beyond = beyond_classes(call, self.graph.rec.value_ranges)
            if beyond:
                return Outcome("moved", beyond, True)
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
        if not proven or call.name == "setitem" and broadcasts(call):
            return Outcome("untried")  # one value for many places: seldom what is meant
        later = next_layers(self.graph, self.mismatch, call)
        if later and not self.mismatch.silent:
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
        key = id(repair), outcome.further, line, where
        if key not in self._readings:
            self._readings[key] = repair, self._read(repair, outcome, line, where)
        return self._readings[key][1]

    def _read(
        self, repair: Repair, outcome: Outcome, line: str, where: Source | None
    ) -> Outcome:
        walk, result = outcome.further
        if self.mismatch.silent:
            if id(repair) not in self._ends:
                self._ends[id(repair)] = repair, _went_on(walk)
            return self._ends[id(repair)][1]
        repaired = _Repaired(walk, repair, bool(line) and where is not None)
        found = self._reading(repaired, line, where, result)
        if isinstance(found, Conflicting):
            if str(found) == str(self._misread):
                return Outcome("untried")
            return Outcome("moved", str(found))
        if found.whole:
            return Outcome("verified", goes=True)
        waits = unreached(self.graph, repair.modules)
        return Outcome("untried", waits, goes=not walk.guessed)

    def _still_stretches(self, call: FunctionCall) -> bool:
        """Whether each operand is still stretched to the other, or one as it was."""
        if len({len(ref.shape) for ref in call.inputs if ref.shape}) > 1:
            return True  # by the dimensions that it has not
        found, before = broadcasts(call), broadcasts(self.mismatch.call)
        return len({one for one, _, _ in found}) > 1 or bool({*found} & {*before})

    def _compares(self, call: FunctionCall) -> bool:
        """Whether a call holds a prediction against a target, element by element: it
        would go through with one of them stretched, and mean nothing."""
        difference = self.mismatch.loss and call.name in ("sub", "rsub")
        return is_loss(call.name) or difference

    @cached_property
    def _program(self) -> Program:
        scopes = self.graph.constructions.scopes
        return Program(self.graph, self.mismatch.call, self.mismatch.layer, scopes)

    def _reading(
        self,
        repaired: _Repaired,
        line: str = "",
        where: Source | None = None,
        result: TensorRef | None = None,
    ) -> Reading | Conflicting:
        """The program read on, or what would not fit in it."""
        try:
            return self._program.read(repaired, line, where, result)
        except Conflicting as error:
            return error
        except Exception as fault:
            # of any kind: code that no reading foresaw leaves this fix untried
            costs_an_answer("what comes behind some fixes", fault)
            return Reading(False)

    @cached_property
    def _misread(self) -> Reading | Conflicting:
        """The program as it was, by our reading of it: what would not fit there, though
        it went well until the failing call, is no repair's fault."""
        return self._reading(_Unrepaired(self._walk(_NO_REPAIR), _NO_REPAIR, False))

    @cached_property
    def _clashed(self) -> bool:
        call = self.mismatch.call
        return bool(conflicts(call)) or bool(broadcasts(call))

    @cached_property
    def _raised(self) -> bool:
        """Whether the call as recorded raises on zeros too: only then does it prove
        something that another does not."""
        return really_goes(self.mismatch.call) is False


def _went_on(walk: Walk) -> Outcome:
    """What comes of a repair in a program that was recorded to its end."""
    try:
        walk.go_on()
    except Elsewhere as error:
        return Outcome("moved", str(error))
    except (Unknown, *NO_SUCH_SHAPE):
        return Outcome("untried", goes=True)
    return Outcome("verified", goes=True)


def _edited(walk: Walk, call: FunctionCall, order: int) -> dict[int, list[Made]]:
    """What a repair does to the tensors before a call takes them."""
    found: dict[int, list[Made]] = {}
    for ref in call.inputs:
        before = walk.now(walk.graph.tensors.get(ref.id, ref))
        for edit in walk.edits_of(ref.id, order):
            dims = made_of(edit, before.shape)
            before = edit.apply(before)
            found.setdefault(ref.id, []).append(Made(before.shape, dims))
    return found


def _takes_a_part(call: FunctionCall) -> bool:
    """Whether an index names places for some columns of its source alone, or picks from
    some alone: torch then leaves the others out without a word."""
    name, given = call.name.rstrip("_"), [ref.shape for ref in call.inputs]
    if name.startswith("scatter") and len(given) > 2:
        index, whole = given[1:3]
    elif name == "gather" and len(given) > 1:
        whole, index = given[:2]
    else:
        return False
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get("dim")
    if type(dim) is int:
        dim %= max(len(whole), 1)
    sizes = enumerate(zip(index, whole))
    return any(a < b for at, (a, b) in sizes if at != dim)


class _Repaired:
    """The recorded tensors and modules with a repair, for whoever reads the program.
    `pasted`: the repair is in the text that is read."""

    def __init__(self, walk: Walk, repair: Repair, pasted: bool) -> None:
        self._walk = walk
        self._modules = repair.modules
        self._edits = {
            taken.tensor: taken.edit
            for taken in repair.taken
            if taken.last == EVER
            # what the text does that is read is done there; it holds no constructor
            and not (pasted and not walk.graph.is_parameter(taken.tensor))
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


class _Unrepaired(_Repaired):
    """The program as it was, of which every failure is told that reading comes to."""

    touches = True
