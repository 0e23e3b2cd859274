"""What may be recorded beside the calls: memory, backward times, accelerator times.

An extension notes figures of each module call in a `Cell`, which becomes part of the
`ModuleCall`. The `Companion` calls the extensions, around the recorder's watching of
a call and from a function mode on top of its mode, so that their cost is not in the
times of the call they look at, and a trace without extensions has nothing of them.
"""

from __future__ import annotations

from _thread import get_ident as ident
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from shapetrace.recording.tensors import PLAIN, freeze

_DISABLED = torch._C.DisableTorchFunction
#: the sequence number of nodes that accumulate a parameter's gradient lies above
_LEAF = 1 << 62

Node = Any
Tensors = list[torch.Tensor]


class Cell:
    """The notes on one module call: `fields` are those of its `ModuleCall`."""

    __slots__ = ("module", "parent", "fields")

    def __init__(self, module: int, parent: Cell | None) -> None:
        self.module = module
        self.parent = parent
        self.fields: dict[str, int | None] = {}


class Extension:
    """Base of the extensions; each overrides what it needs.

    `cell` is that of the innermost open module call, None between modules.
    """

    #: whether it must see every torch function, and every new node of autograd's graph
    functions = False
    nodes = False

    def attach(self, module: nn.Module) -> None:
        """A module is watched from now on."""

    def enter(self, cell: Cell, module: nn.Module, inputs: Tensors) -> None:
        """A module call begins."""

    def leave(self, cell: Cell, outputs: Tensors) -> None:
        """It ends; `outputs` is empty when it raised."""

    def made(self, cell: Cell | None, inputs: Tensors, outputs: Tensors) -> None:
        """A torch function was called."""

    def grown(self, cell: Cell | None, nodes: Sequence[Node]) -> None:
        """These nodes of autograd's graph are new."""

    def forget(self, cells: set[Cell]) -> None:
        """These calls are dropped."""

    def finish(self, cells: Sequence[Cell]) -> None:
        """The trace ends: let go of everything, and fill the fields of the cells."""


class Companion:
    """Drives the extensions. `emit(cell, thread)` puts the cell into the recording.

    An extension that fails is left out from then on; `faults` says why.
    """

    def __init__(self, extensions: Sequence[Extension]) -> None:
        self.extensions = list(extensions)
        self.functions = any(one.functions for one in extensions)
        self.nodes = any(one.nodes for one in extensions)
        self.faults: list[tuple[str, BaseException]] = []
        self.cells: list[Cell] = []
        self.emit: Callable[[Cell, int], None] = lambda cell, thread: None
        self._stacks: dict[int, list[Cell]] = {}
        self._known: set[int] = set()
        self._start = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]

    @property
    def looks_at_functions(self) -> bool:
        return self.functions or self.nodes

    def hooks(self, module: nn.Module) -> tuple[Any, Any]:
        """What to call before a call of the module, and what after it."""
        self._each(lambda one: one.attach(module))

        def before(module: nn.Module, args: Any, kwargs: Any) -> None:
            try:
                self._enter(module, args, kwargs)
            except Exception as fault:  # ours must not end the user's batch
                self._fault(fault)

        def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            try:
                self._leave(module, output)
            except Exception as fault:  # ours must not end the user's batch
                self._fault(fault)

        return before, after

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        stack = self._stacks.setdefault(ident(), [])
        cell = Cell(id(module), stack[-1] if stack else None)
        stack.append(cell)
        self.cells.append(cell)
        with _DISABLED():
            inputs = tensors_in(args)
            inputs += tensors_in(kwargs) if kwargs else []
            self._each(lambda one: one.enter(cell, module, inputs))
        self.emit(cell, ident())

    def _leave(self, module: nn.Module, output: Any) -> None:
        stack = self._stacks.get(ident(), [])
        if not any(cell.module == id(module) for cell in stack):
            return
        while (cell := stack.pop()).module != id(module):
            pass  # an interrupt ended it before its end was noted
        with _DISABLED():
            outputs = tensors_in(output)
            self._grow(cell, outputs)
            self._each(lambda one: one.leave(cell, outputs))

    def mode(self) -> TorchFunctionMode:
        """A function mode that shows the extensions what each function made."""

        class Mode(TorchFunctionMode):
            def __torch_function__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                output = func(*args, **(kwargs or {}))
                if isinstance(output, (torch.Tensor, tuple, list, dict)):
                    try:
                        with _DISABLED():
                            companion.saw(args, kwargs, output)
                    except Exception as fault:  # ours must not end the user's batch
                        companion._fault(fault)
                return output

        companion = self
        return Mode()

    def saw(self, args: Any, kwargs: Any, output: Any) -> None:
        """A function was called."""
        made = tensors_in(output)
        if not made:
            return
        stack = self._stacks.get(ident())
        cell = stack[-1] if stack else None
        if self.functions:
            taken = tensors_in(args)
            taken += tensors_in(kwargs) if kwargs else []
            self._each(lambda one: one.made(cell, taken, made))
        self._grow(cell, made)

    def finish(self) -> None:
        """Let every extension read its figures and let go of what it holds."""
        self._each(lambda one: one.finish(self.cells))
        self._stacks.clear()

    def drop(self, count: int) -> None:
        """The oldest calls are not kept."""
        gone = set(self.cells[:count])
        del self.cells[:count]
        self._each(lambda one: one.forget(gone))

    def _grow(self, cell: Cell | None, outputs: Tensors) -> None:
        if not self.nodes:
            return
        found = list(self._new_nodes(outputs))
        if found:
            self._each(lambda one: one.grown(cell, found))

    def _new_nodes(self, outputs: Tensors) -> Iterator[Node]:
        """The nodes behind these tensors that were not there before. They are told by
        their numbers: a reference to a node would keep its saved tensors alive."""
        open_ = [one.grad_fn for one in outputs if one.requires_grad]
        while open_:
            node = open_.pop()
            if node is None:
                continue
            number = node._sequence_nr()
            if number >= _LEAF or number < self._start or number in self._known:
                continue
            self._known.add(number)
            yield node
            open_ += [following for following, _ in node.next_functions]

    def _fault(self, fault: Exception) -> None:
        """One that is nobody's in particular ends them all: figures would be wrong."""
        self.faults.append(("the recording of memory and times", fault))
        self.extensions.clear()

    def _each(self, call: Callable[[Extension], None]) -> None:
        for one in list(self.extensions):
            try:
                call(one)
            except Exception as fault:  # ours must not end the user's batch
                self.faults.append((type(one).__name__, fault))
                self.extensions.remove(one)


def tensors_in(value: Any) -> Tensors:
    """Every tensor of a nested value, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    found: Tensors = []
    if type(value) is tuple:  # arguments: some tensors, some numbers
        for part in value:
            if isinstance(part, torch.Tensor):
                found.append(part)
            elif type(part) not in PLAIN:
                freeze(part, found.append)
    elif type(value) not in PLAIN:
        freeze(value, found.append)
    return found


def add_up(cells: Sequence[Cell], key: str) -> None:
    """Give every cell the sum of its own figure and those of the calls inside it."""
    for cell in reversed(cells):
        own = cell.fields.get(key)
        if cell.parent is not None and own is not None:
            cell.parent.fields[key] = (cell.parent.fields.get(key) or 0) + own
