"""The time of each module's backward, by looking on while autograd works.

Every node that a module's forward adds to autograd's graph gets a pre-hook that takes
a stamp and changes nothing. A node's time runs until the next stamp of its thread, so
that the accumulation of gradients after it is part of it. Outputs are not wrapped and
tensors carry no hook, but where the user gives them one, which runs before the node:
then a stamp comes before it. In-place operations and views work as ever. The hooks are
on nodes and not on modules, since autograd goes by the graph's order, not by modules.
"""

from __future__ import annotations

from _thread import get_ident as ident
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import nn

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.clocks import Clock
from shapetrace.recording.extensions.base import Extension, Node
from shapetrace.recording.extensions.cell import Cell, Tensors, add_up
from shapetrace.recording.tensors import grad_fn_of, requires_grad_of

#: a node begins, a backward ends, checkpointing runs a forward again, and is done; for
#: so long the thread has waited for a processor
Kind = Literal["node", "end", "again", "done", "waited"]
Mark = tuple[Kind, Any, int, int, Cell | None]

#: the node that torch makes of an output where a module has hooks for its backward
_CALLS_HOOKS = "BackwardHookFunctionBackward"

_task = torch_internals.backward_number


class BackwardTimer(Extension):
    """Fills `backward_ns` and `recompute_ns`: of a call and all calls inside it."""

    nodes = True

    def __init__(self, clock: Clock) -> None:
        self._now = clock.now
        self._resolve = clock.resolve
        self._marks: list[Mark] = []
        self._handles: list[Any] = []
        self._hooks: dict[Cell | None, Callable[[Any], None]] = {}
        #: whose node has this number
        self._cells: dict[int, Cell | None] = {}
        #: calls whose module has hooks for its own backward, and by its number the node
        #: of what they gave, behind which torch then puts one that calls the hooks
        self._calling: set[Cell] = set()
        self._given: dict[int, Cell] = {}
        self._tasks: set[int] = set()
        self._again: list[Cell] = []
        self._done = False

    def grown(self, cell: Cell | None, nodes: Sequence[Node]) -> None:
        for node in nodes:
            owner = cell
            if self._given and node.name() == _CALLS_HOOKS:
                behind = [_number(one) for one, _ in node.next_functions]
                given = [self._given[one] for one in behind if one in self._given]
                owner = given[0] if given else cell
            self._cells[torch_internals.node_number(node)] = owner
            self._handles.append(node.register_prehook(self._stamp(owner)))

    def hooked(self, cell: Cell | None, tensor: torch.Tensor) -> None:
        if not requires_grad_of(tensor):
            return  # torch refuses
        if (node := grad_fn_of(tensor)) is not None:
            number = torch_internals.node_number(node)
            stamp = self._stamp(self._cells.get(number, cell))
        elif isinstance(tensor, nn.Parameter):
            return  # right after the node of the module that used it
        else:
            stamp = self._stamp(None)  # no module made it
        register: Any = tensor.register_hook
        self._handles.append(register(stamp))

    def enter(self, cell: Cell, module: nn.Module, inputs: Tensors) -> None:
        if any(torch_internals.hooks_of(module)[2:]):
            self._calling.add(cell)
        if _task() != -1 and not self._again:
            self._again.append(cell)
            self._mark("again")

    def leave(self, cell: Cell, outputs: Tensors) -> None:
        if cell in self._calling:
            self._calling.remove(cell)
            self._given |= {_number(grad_fn_of(one)): cell for one in outputs}
        if self._again and self._again[-1] is cell:
            self._again.pop()
            self._mark("done")

    def finish(self, cells: Sequence[Cell]) -> None:
        if self._tasks:
            for cell in cells:
                cell.fields.update(backward_ns=0, recompute_ns=0)
            _share_out(self._marks, self._resolve([mark[1] for mark in self._marks]))
            add_up(cells, "backward_ns")
            add_up(cells, "recompute_ns")

    def release(self) -> None:
        self._done = True
        for handle in self._handles:
            handle.remove()
        for part in (self._handles, self._hooks, self._cells, self._given, self._marks):
            part.clear()

    def waited(self, until: Any, waited_ns: int) -> None:
        """For a processor, in a stretch that ends then."""
        self._marks.append(("waited", until, ident(), waited_ns, None))

    def _mark(self, kind: Kind) -> None:
        self._marks.append((kind, self._now(), ident(), _task(), None))

    def _stamp(self, cell: Cell | None) -> Callable[[Any], None]:
        if cell not in self._hooks:
            self._hooks[cell] = self._stamp_for(cell)
        return self._hooks[cell]

    def _stamp_for(self, cell: Cell | None) -> Callable[[Any], None]:
        def stamp(gradients: Any) -> None:
            task = _task()
            if task not in self._tasks:
                self._tasks.add(task)
                torch_internals.after_backward(self.guarded(lambda: self._end(task)))
            self._marks.append(("node", self._now(), ident(), task, cell))

        return self.guarded(stamp)

    def _end(self, task: int) -> None:
        if not self._done:
            self._marks.append(("end", self._now(), ident(), task, None))


def _number(node: Node | None) -> int:
    return -1 if node is None else torch_internals.node_number(node)


def _share_out(marks: Sequence[Mark], times: Sequence[int]) -> None:
    """Give each stretch of time between two stamps to whom it belongs. A backward
    inside a backward (reentrant checkpointing) interrupts the node that began it."""
    running: dict[int, list[tuple[int, Cell | None]]] = {}
    last: dict[int, int] = {}
    again: set[int] = set()

    def pay(thread: int, until: int) -> None:
        stack = running.get(thread)
        if stack and stack[-1][1] is not None:
            field = "recompute_ns" if thread in again else "backward_ns"
            fields = stack[-1][1].fields
            fields[field] = (fields.get(field) or 0) + until - last[thread]
        last[thread] = until

    for (kind, _, thread, task, cell), time in zip(marks, times, strict=True):
        if kind == "waited":
            last[thread] = last.get(thread, 0) + task  # in which it was not at work
            continue
        pay(thread, time)
        stack = running.setdefault(thread, [])
        if kind == "node":
            if stack and stack[-1][0] == task:
                stack.pop()
            stack.append((task, cell))
        elif kind == "again":
            again.add(thread)
        elif kind == "done":
            again.discard(thread)
        else:
            # an accelerator's backward runs in threads of its own, the end in another
            for other, open_ in running.items():
                if any(number == task for number, _ in open_):
                    pay(other, time)
                    open_[:] = [one for one in open_ if one[0] != task]
