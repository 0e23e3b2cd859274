"""What a step holds: bytes by kind over time, and what autograd saved of each call.

Nothing is altered. `torch.autograd.graph.saved_tensors_hooks` would be: under it
autograd no longer notices that a saved tensor was changed in place. Instead each new
node of the graph is asked what it saved, and storages are watched by weak references.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.autograd.function import BackwardCFunction
from torch.optim import Optimizer

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.clocks import Clock
from shapetrace.recording.extensions.base import Extension, Node
from shapetrace.recording.extensions.cell import Cell, Tensors, add_up, tensors_in
from shapetrace.recording.extensions.convolutions import is_convolution, working
from shapetrace.recording.extensions.rerunning import SavedByCall
from shapetrace.recording.extensions.saving import SavedTensors, SavingTimes
from shapetrace.recording.extensions.storage import (
    ACTIVATION,
    BACKWARD,
    GRADIENT,
    OPTIMIZER,
    OUTSIDE,
    OWN,
    Stored,
    Ways,
    bytes_of,
    storage_of,
    ways_of,
)
from shapetrace.recording.owned import Owned, through_module
from shapetrace.recording.tensors import requires_grad_of

#: of each kind, by which others it is found to have been something else
_TELLING: dict[int, tuple[int, ...]] = {
    **dict.fromkeys((ACTIVATION, BACKWARD, OUTSIDE), (GRADIENT, OPTIMIZER, OWN)),
    **{GRADIENT: (OWN,), OPTIMIZER: (GRADIENT, OWN), OWN: ()},
}
#: the bytes of each counted kind
Held = tuple[int, int, int, int]
#: when a node was made, and its name
Ran = tuple[Any, str]
#: what autograd calls the backward of every convolution, and whether it copies
_CONVOLUTION = "ConvolutionBackward0"
_BLOCKS = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
#: what torch calls the range of an optimizer's step
_STEP = "Optimizer.step#"


#: by how many bytes what is held changed, and of which call's activations
Change = tuple[int, Cell | None]


class MemoryWatch(Extension):
    """Fills `peak_bytes` of a call and all calls inside it, and with `SavedByCall` and
    `SavingTimes` what they saved and when, and reports through `live` whenever what is
    held changes. The peak is that of forward and backward.

    Activations are what recorded functions make and what autograd saves. Gradients of
    parameters are told apart from those on their way through a backward; what is made
    inside `Optimizer.step` is the optimizer's.
    """

    functions = nodes = True

    def __init__(self, live: Callable[..., None], clock: Clock) -> None:
        self._live = live  # of what is held, and of the node that has just run
        self._clock = clock
        self._saving = SavingTimes(clock)
        self._held = [0, 0, 0, 0]
        #: bytes of parameters and buffers, and of what came from outside
        self._others = 0
        self._count = 0
        #: what went while a node works with what it has unpacked
        self._leaving: list[Stored] = []
        self._unpacking = False
        self._watched: dict[int, Stored] = {}
        self._owned: dict[int, Owned[Any]] = {}
        self._log: list[Change] = []
        self._calls = SavedByCall()
        self._packed = False
        self._asked = SavedTensors()
        self._stepping = False
        self._handles: list[Any] = []
        #: bytes that the backward of the newest convolution works with
        self._copies = 0
        self._accumulating: dict[int, Any] = {}
        #: bytes by `id` of the parameter, the most that was seen
        self.gradients: dict[int, int] = {}
        self.states: dict[int, int] = {}

    def attach(self, module: nn.Module) -> None:
        own = torch_internals.parameters_of(module), torch_internals.buffers_of(module)
        for name, one in (*own[0].items(), *own[1].items()):
            if one is not None:
                self._watch(one, OWN)
                known = self._owned.get(id(one))
                if known is None or known() is not one:
                    self._owned[id(one)] = through_module(weakref.ref(module), name)
                if one.is_leaf and one.grad is not None:
                    self._gradient(one)

    def enter(self, cell: Cell, module: nn.Module, inputs: Tensors) -> None:
        self._saving.enter(cell)
        self._left()
        self._calls.begun[cell] = len(self._log)
        if cell.parent is None:
            self._stepping = False  # a step that raised has no end
            if torch_internals.backward_number() != -1:
                self._calls.again.add(cell)
        self.attach(module)  # a lazy module has made its parameters since
        taken = [self._watch(one, OUTSIDE) for one in inputs]
        self._calls.given[cell] = [one for one in taken if one is not None]

    def leave(self, cell: Cell, outputs: Tensors) -> None:
        # no function is seen in what a backward runs again
        gave = [self._watch(one, ACTIVATION, cell) for one in outputs]
        self._calls.gave[cell] = {one.number for one in gave if one is not None}
        self._calls.ended[cell] = len(self._log)
        self._saving.leave()

    def made(
        self, cell: Cell | None, func: Any, inputs: Tensors, outputs: Tensors
    ) -> None:
        taken = [self._watch(one, OUTSIDE) for one in inputs]
        self._saving.ended(self._count)
        kind = ACTIVATION
        if _gives_gradients(func):
            kind = GRADIENT
        elif self._stepping and cell is None:
            kind = OPTIMIZER
        for one in outputs:
            self._watch(one, kind, cell)
        for stored in taken:
            if stored is not None:
                stored.used = len(self._log)
        name = getattr(func, "__name__", "")
        if is_convolution(name) and inputs[1:] and outputs[0].is_cpu and _BLOCKS:
            given, weight, result = inputs[0], inputs[1], outputs[0]
            shapes = given.shape, weight.shape, result.shape
            size, needed = result.element_size(), requires_grad_of(given)
            work = working(name, *shapes, size, needed)
            self._copies = work.backward
            self._calls.kernels.append((len(self._log), work.forward))

    def grown(self, cell: Cell | None, nodes: Sequence[Node]) -> None:
        hooks = torch_internals.saved_tensors_hooks(False)
        packed = hooks is not None
        unpacks = self.guarded(self._unpacks) if packed else None
        for node in nodes:
            if packed:
                self._handles.append(node.register_prehook(unpacks))
            copies = self._copies if node.name() == _CONVOLUTION else 0
            ran = self._clock.now(), node.name()
            look = partial(self._passed_on, cell, ways_of(node), copies, ran)
            self._handles.append(node.register_hook(self.guarded(look)))
        if packed:
            # Checkpointing, save_on_cpu: to look is to unpack, which has effects.
            self._packed = True
            self._calls.unknown.add(cell)
            if torch_internals.unpacks_what_was_packed(hooks):
                self._rerun(cell, nodes)
            return
        if torch_internals.takes_operations_down():  # to look is an operation or two
            self._calls.unknown.add(cell)
            return
        saved = self._calls.saved.setdefault(cell, {})
        for node in nodes:
            if self._packed and isinstance(node, BackwardCFunction):
                self._calls.unknown.add(cell)
                continue
            for tensor in self._asked.saved_by(node):
                stored = self._watch(tensor, ACTIVATION, cell)
                self._saving.saved(cell, stored.number if stored else None)
                if stored is None:
                    self._calls.unknown.add(cell)
                elif stored.kind != OWN:
                    saved[stored.number] = stored

    def _rerun(self, cell: Cell | None, nodes: Sequence[Node]) -> None:
        """Checkpointing runs a forward again: what is saved there is held, until each
        node of the graph that was made first has taken its own."""
        for node in nodes:
            if not isinstance(node, BackwardCFunction):
                for tensor in self._asked.saved_by(node):
                    self._watch(tensor, ACTIVATION, cell)

    def reached(self, leaf: Node) -> None:
        variable = leaf.variable
        known = self._accumulating.get(id(variable))
        if known is not None and known.hooks_dict_ref() is not None:
            return  # the same node as in an earlier graph
        found: Any = self._owned.get(id(variable))
        if found is None or found() is not variable:
            found = weakref.ref(variable)

        def accumulated(_: Any, gradients: Any) -> None:
            tensor = found()
            if tensor is not None:
                self._gradient(tensor)

        hook = self.guarded(accumulated)
        # in one line: a fault of ours between the two would leave it there
        self._accumulating[id(variable)] = leaf.register_hook(hook)

    def finish(self, cells: Sequence[Cell]) -> None:
        held = list(accumulate((change for change, _ in self._log), initial=0))
        for cell in cells:
            cell.fields["peak_bytes"] = 0
        for change, made_in in self._log[: held.index(max(held))]:
            if made_in is not None:
                fields = made_in.fields
                fields["peak_bytes"] = (fields.get("peak_bytes") or 0) + change
        add_up(cells, "peak_bytes")
        self._saving.finish(cells)
        self._calls.finish(cells, held)

    def known_bytes(self) -> int:
        """Of all that is alive and watched."""
        return sum(self._held) + self._others

    def release(self) -> None:
        for handle in (*self._handles, *self._accumulating.values()):
            handle.remove()
        self._handles, self._accumulating, self._watched = [], {}, {}
        self._log, self._leaving = [], []
        self._saving.release()
        self._calls = SavedByCall()

    # -- gradients and the optimizer -------------------------------------------------

    def _unpacks(self, _: Any) -> None:
        """A node begins that unpacks what it saved, and has let go of that again when
        it has made its gradients: both were there at once."""
        self._unpacking = True

    def _passed_on(
        self,
        cell: Cell | None,
        ways: Ways,
        copies: int,
        ran: Ran,
        made: Any,
        gradients: Any,
    ) -> None:
        """A node has made gradients of others, all of which are alive now. What goes to
        a parameter alone and is as large will be its gradient, and no batch's size is
        in it."""
        while cell is not None and cell not in self._calls.reached:
            self._calls.reached[cell] = len(self._log)
            cell = cell.parent
        for one in gradients:
            if one is not None:
                self._watch(one, BACKWARD)
        for one, leaves in zip(made, ways, strict=False):
            if one is not None:
                self._watch(one, GRADIENT if bytes_of(one) in leaves else BACKWARD)
        if copies:
            self._calls.kernels.append((len(self._log), copies))
        self._tell(ran)
        self._left()
        self._unpacking = False

    def _gradient(self, variable: torch.Tensor) -> None:
        gradient = variable.grad
        if gradient is not None:
            stored = self._watch(gradient, GRADIENT)
            if stored is not None:
                most = max(stored.size, self.gradients.get(id(variable), 0))
                self.gradients[id(variable)] = most

    def entered(self, label: str, frame: FrameType) -> None:
        if label.startswith(_STEP):
            self._stepping = True
            self._state_of(frame)

    def left(self, label: str, frame: FrameType) -> None:
        if label.startswith(_STEP):
            self._stepping = False
            self._state_of(frame)

    def _state_of(self, frame: FrameType | None) -> None:
        """Of the optimizer that a frame at or above this one is a method of. Its own
        step hooks would do, but not where one of them ends the trace."""
        while frame is not None:
            optimizer = frame.f_locals.get("self")
            if isinstance(optimizer, Optimizer):
                break
            frame = frame.f_back
        else:
            return
        for parameter, state in optimizer.state.items():
            stored = {
                one.number: one.size
                for tensor in tensors_in(state)
                if (one := self._watch(tensor, OPTIMIZER)) is not None
            }
            self.states[id(parameter)] = sum(stored.values())

    # -- storages -------------------------------------------------------------------

    def _watch(
        self, tensor: torch.Tensor, kind: int, cell: Cell | None = None
    ) -> Stored | None:
        """The storage of a tensor, of this kind unless more is known of it: a gradient
        stays one where an optimizer looks at it as real numbers, or scales it."""
        storage = storage_of(tensor)
        if storage is None:
            return None
        size = storage.nbytes()
        # a number of bytes that is a symbol is none, and to reckon with it would be a
        # step of the graph that make_fx takes
        if type(size) is not int:
            return None
        key = torch_internals.storage_key(storage)
        stored = self._watched.get(key)
        if stored is not None:
            if kind in _TELLING[stored.kind]:
                self._change(stored, -1)
                stored.kind = kind
                self._change(stored, 1)
            return stored
        self._count += 1
        stored = Stored(size, kind, cell, self._count)

        def gone(_: object) -> None:
            known = self._watched.pop(key, None)
            if known is None:
                return
            if self._unpacking:
                self._leaving.append(known)
            else:
                self._change(known, -1)

        stored.reference = weakref.ref(storage, self.guarded(gone))
        self._watched[key] = stored
        self._change(stored, 1)
        stored.made = stored.used = len(self._log)
        return stored

    def _left(self) -> None:
        leaving, self._leaving = self._leaving, []
        for stored in leaving:
            self._change(stored, -1)

    def _change(self, stored: Stored, sign: int) -> None:
        """It came or went."""
        change = sign * stored.size
        if stored.kind in (OWN, OUTSIDE):
            self._others += change
        if stored.kind in (OWN, OUTSIDE) or not change:
            return
        self._held[stored.kind] += change
        active = stored.cell if stored.kind == ACTIVATION else None
        if stored.kind != OPTIMIZER:  # what a step makes is no matter of the model's
            self._log.append((change, active))
        self._tell(None)

    def _tell(self, ran: Ran | None) -> None:
        a, b, c, d = self._held
        self._live((a, b, c, d), ran)


def _gives_gradients(func: Any) -> bool:
    """`tensor.grad` and `torch.autograd.grad`."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return getattr(func.__self__, "__name__", "") == "grad"
    return bool(name == "grad")
