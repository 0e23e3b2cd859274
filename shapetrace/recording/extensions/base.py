"""What may be recorded beside the calls: memory, backward times, accelerator times.

An extension notes figures of each module call in a `Cell`, which becomes part of the
`ModuleCall`. `Extensions` calls them, around the recorder's own hooks and from a
function mode on top of its mode. Their clock stands still while they work, so that what
they cost is in no recorded time, and a trace without extensions has nothing of them.
"""

from __future__ import annotations

import sys
from _thread import get_ident as ident
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from operator import methodcaller
from types import FrameType, FunctionType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.clocks import PausingClock
from shapetrace.recording.extensions.cell import Cell, Tensors, tensors_in
from shapetrace.recording.extensions.rerun_modes import RerunModes
from shapetrace.recording.faults import is_users
from shapetrace.recording.tensors import grad_fn_of, requires_grad_of
from shapetrace.recording.user_calls import NOT_MADE, PASSED, catching
from shapetrace.recording.warned_from import Callers

_DISABLED = torch_internals.unseen_by_modes
_RANGE_ENTER = torch_internals.range_enter
_RANGE_EXIT = torch_internals.range_exit
_REGISTER_HOOK = torch.Tensor.register_hook

Node = Any
Call = Callable[..., None]
Guard = Callable[[Call], Call]


class Extension:
    """Base of the extensions; each overrides what it needs.

    `cell` is that of the innermost open module call, None between modules.
    """

    #: whether it must see every torch function, and every new node of autograd's graph
    functions = False
    nodes = False
    #: and whether the very beginning and the very end of a module's forward
    edges = False
    #: what is lost where it gives up
    name = ""
    #: what the extension has called later by others goes through this: a fault in it
    #: ends the extension and not the user's batch, and the clock stands still
    guarded: Guard

    def attach(self, module: nn.Module) -> None:
        """A module is watched from now on."""

    def enter(self, cell: Cell, module: nn.Module, inputs: Tensors) -> None:
        """A module call begins, given these positional arguments."""

    def leave(self, cell: Cell, outputs: Tensors) -> None:
        """It ends; `outputs` is empty when it raised."""

    def begins(self, cell: Cell) -> None:
        """After all that is recorded of its beginning: its forward runs next."""

    def ended(self, cell: Cell) -> None:
        """Before all that is recorded of its end: its forward ran last."""

    def made(
        self, cell: Cell | None, func: Any, inputs: Tensors, outputs: Tensors
    ) -> None:
        """A torch function was called."""

    def hooked(self, cell: Cell | None, tensor: torch.Tensor) -> None:
        """A hook will be registered on a tensor."""

    def entered(self, label: str, frame: FrameType) -> None:
        """A range of `torch.profiler.record_function` begins, at this frame."""

    def left(self, label: str, frame: FrameType) -> None:
        """It ends."""

    def grown(self, cell: Cell | None, nodes: Sequence[Node]) -> None:
        """These nodes of autograd's graph are new."""

    def reached(self, leaf: Node) -> None:
        """A new node leads to this one, which accumulates the gradient of a leaf."""

    def forget(self, cells: set[Cell]) -> None:
        """These calls are dropped."""

    def finish(self, cells: Sequence[Cell]) -> None:
        """The trace ends: fill the fields of the cells."""

    def release(self) -> None:
        """Let go of everything, and leave no hook: also of one that gave up."""


class Extensions:
    """Those of one trace. `emit(cell, thread)` puts a cell into the recording.

    An extension that fails is left out from then on; `faults` says why. `clock` is
    that of the recorder.
    """

    def __init__(self, extensions: Sequence[Extension], clock: PausingClock) -> None:
        self.extensions = list(extensions)
        self._all = tuple(extensions)
        self.clock = clock
        for one in self.extensions:
            one.guarded = partial(self._guarded, one)
        self.functions = any(one.functions for one in extensions)
        self.nodes = any(one.nodes for one in extensions)
        self.faults: list[tuple[str, BaseException]] = []
        self.cells: list[Cell] = []
        self.emit: Callable[[Cell, int], None] = lambda cell, thread: None
        self._stacks: dict[int, list[Cell]] = {}
        self._ranges: dict[int, list[str]] = {}
        self._known: set[int] = set()
        self._rerun = RerunModes()
        #: a call of a module of the trace begins; it ends, `None` where it raised
        self.enter = self._guarded(None, self._enter)
        self.leave = self._guarded(None, self._leave)
        self._start = torch_internals.next_node_number()

    @property
    def see_functions(self) -> bool:
        """Whether they need a function mode."""
        return self.functions or self.nodes

    def around(
        self, belongs: Callable[[nn.Module], bool], before: Any, after: Any
    ) -> tuple[Any, Any]:
        """The recorder's pre-hook and post-hook, with the extensions around them."""
        compiling = torch.compiler.is_dynamo_compiling
        tracing = torch_internals.jit_tracing

        def begin(module: nn.Module, args: Any) -> None:
            if belongs(module):
                self._enter(module, args)

        enter, edges = self._guarded(None, begin), any(one.edges for one in self._all)
        begins = self._guarded(None, self._begins)
        ended = self._guarded(None, self._ended)

        def pre_hook(module: nn.Module, args: Any) -> None:
            try:
                if not compiling():
                    if tracing() is None:
                        enter(module, args)
                    before(module, args)
                    if edges:
                        begins(module)
            except Exception as fault:  # ours must not end the user's batch
                self._fault(fault)

        def post_hook(module: nn.Module, args: Any, *rest: Any) -> None:
            try:
                if not compiling():
                    if edges:
                        ended(module)
                    after(module, args, *rest)
                    # without keyword arguments: the call raised
                    self.leave(module, rest[1] if len(rest) == 2 else None)
            except Exception as fault:  # ours must not end the user's batch
                self._fault(fault)

        return pre_hook, post_hook

    def attach(self, module: nn.Module) -> None:
        """A module belongs to the trace from now on."""
        with _DISABLED():  # another trace's mode would see what is asked
            self._each(lambda one: one.attach(module))

    def _guarded(self, one: Extension | None, call: Call) -> Call:
        """The call, of one extension or of all: ours must not end the user's batch."""
        clock = self.clock

        def guarded(*args: Any) -> None:
            try:
                mine = clock.pause()
                try:
                    with _DISABLED():
                        call(*args)
                finally:
                    if mine:
                        clock.go_on()
            except Exception as fault:  # ours must not end the user's batch
                self._fault(fault, one)

        return guarded

    def _enter(self, module: nn.Module, args: Any) -> None:
        stack = self._stacks.setdefault(ident(), [])
        cell = Cell(id(module), stack[-1] if stack else None)
        stack.append(cell)
        self.cells.append(cell)
        inputs = tensors_in(args)
        # what no mode saw being made, as by an autograd.Function, is not the module's
        self._grow(cell.parent, inputs)
        self._each(lambda one: one.enter(cell, module, inputs))
        self.emit(cell, ident())
        self._rerun.entered(cell)

    def _leave(self, module: nn.Module, output: Any) -> None:
        stack = self._stacks.get(ident(), [])
        if not any(cell.module == id(module) for cell in stack):
            return
        while (cell := stack.pop()).module != id(module):
            pass  # an interrupt ended it before its end was noted
        self._rerun.left(stack)
        outputs = tensors_in(output)
        self._grow(cell, outputs)
        self._each(lambda one: one.leave(cell, outputs))

    def _begins(self, module: nn.Module) -> None:
        cell = self._innermost()
        if cell is not None and cell.module == id(module):
            self._each(lambda one: one.begins(cell))

    def _ended(self, module: nn.Module) -> None:
        cell = self._innermost()
        if cell is not None and cell.module == id(module):
            self._each(lambda one: one.ended(cell))

    def mode(self, callers: Callers) -> TorchFunctionMode:
        """A function mode that shows the extensions what each function made."""
        self._rerun.make = partial(self.mode, callers)
        compiling, failed = torch.compiler.is_dynamo_compiling, self._fault
        warns, standing_in = callers.warns, callers.standing_in
        caught = catching(failed)
        holders = (torch.Tensor, tuple, list, dict)

        class Mode(TorchFunctionMode):
            def __torch_function__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                try:
                    caller: Any = None
                    if compiling():
                        caller = PASSED
                    elif func is _REGISTER_HOOK:
                        hooks(args[0])
                    elif type(func) is not FunctionType or warns(func):
                        with suppress(ValueError):  # a thread that began with it
                            if type(func) is FunctionType:
                                # torch's function and its handler stand between
                                stands = standing_in(sys._getframe(3), kwargs)
                            else:
                                stands = callers.at(sys._getframe(1))
                            caller = stands if type(stands) is FunctionType else None
                except Exception as fault:  # ours must not end the user's batch
                    failed(fault)
                    caller = PASSED
                try:
                    if caller is None:
                        output = func(*args, **(kwargs or {}))
                    elif caller is PASSED:
                        return func(*args, **(kwargs or {}))
                    else:
                        output = caller(func, args, kwargs or {})
                except caught():
                    output = NOT_MADE
                try:
                    if func is _RANGE_ENTER or func is _RANGE_EXIT:
                        ranged(func, args, sys._getframe(1))
                    elif isinstance(output, holders):
                        saw(func, args, kwargs, output)
                    if output is not NOT_MADE:
                        return output
                except Exception as fault:  # ours must not end the user's batch
                    failed(fault)
                if output is NOT_MADE:
                    return func(*args, **(kwargs or {}))
                return output

        hooks = self._guarded(None, self._hooks)
        saw = self._guarded(None, self._saw)
        ranged = self._guarded(None, self._ranged)
        return Mode()

    def _innermost(self) -> Cell | None:
        stack = self._stacks.get(ident())
        return stack[-1] if stack else None

    def _hooks(self, tensor: torch.Tensor) -> None:
        """Before a hook of a tensor's is registered."""
        cell = self._innermost()
        self._each(lambda one: one.hooked(cell, tensor))

    def _saw(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        """A function was called."""
        made = tensors_in(output)
        if not made:
            return
        cell = self._innermost()
        if self.functions:
            taken = tensors_in(args) + (tensors_in(kwargs) if kwargs else [])
            self._each(lambda one: one.made(cell, func, taken, made))
        self._grow(cell, made)

    def _ranged(self, func: Any, args: Any, frame: FrameType) -> None:
        """A range of `record_function` begins or ends: optimizers make one a step."""
        ranges = self._ranges.setdefault(ident(), [])
        if func is _RANGE_ENTER:
            ranges.append(str(args[0]))
            self._each(lambda one: one.entered(ranges[-1], frame))
        elif ranges:
            label = ranges.pop()
            self._each(lambda one: one.left(label, frame))

    def finish(self) -> None:
        """Let every extension read its figures."""
        self._each(lambda one: one.finish(self.cells))

    def release(self) -> None:
        """Let go of everything, and leave no hook: twice, where a fault has cut the
        first short. Safe to call again."""
        for one in (*self._all, *self._all):
            self._guarded(one, one.release)()
        self._stacks.clear()

    def drop(self, cells: Sequence[Cell]) -> None:
        """These calls are not kept."""
        gone = set(cells)
        self.cells[:] = [cell for cell in self.cells if cell not in gone]
        self._each(lambda one: one.forget(gone))

    def _grow(self, cell: Cell | None, outputs: Tensors) -> None:
        if not self.nodes:
            return
        found, leaves = self._new_nodes(outputs)
        if found:
            self._each(lambda one: one.grown(cell, found))
        for leaf in leaves:
            self._each(methodcaller("reached", leaf))

    def _new_nodes(self, outputs: Tensors) -> tuple[list[Node], list[Node]]:
        """The nodes behind these tensors that were not there before, and the leaves of
        the graph that they lead to. They are told by their numbers: a reference to a
        node would keep its saved tensors alive."""
        found: list[Node] = []
        leaves: list[Node] = []
        open_ = [grad_fn_of(one) for one in outputs if requires_grad_of(one)]
        while open_:
            node = open_.pop()
            if node is None:
                continue
            number = torch_internals.node_number(node)
            if number >= torch_internals.LEAF:
                leaves.append(node)
                continue
            if number < self._start or number in self._known:
                continue
            self._known.add(number)
            found.append(node)
            open_ += [following for following, _ in node.next_functions]
        return found, leaves

    def _fault(self, fault: BaseException, one: Extension | None = None) -> None:
        """One that is nobody's in particular ends them all: figures would be wrong."""
        if is_users(fault):
            raise fault
        if one is None:
            self.faults.append(("the recording of memory and times", fault))
            self.extensions.clear()
        elif one in self.extensions:
            self.faults.append((one.name or type(one).__name__, fault))
            self.extensions.remove(one)

    def _each(self, call: Callable[[Extension], None]) -> None:
        for one in list(self.extensions):
            try:
                call(one)
            except Exception as fault:  # ours must not end the user's batch
                self._fault(fault, one)
