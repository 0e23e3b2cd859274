"""What the activations hold: bytes saved for the backward, and bytes alive over time.

Nothing is altered. `torch.autograd.graph.saved_tensors_hooks` would be: under it
autograd no longer notices that a saved tensor was changed in place. Instead each new
node of the graph is asked what it saved, and storages are watched by weak references.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import nn
from torch.autograd.function import BackwardCFunction

from shapetrace.recording.extensions.base import Cell, Extension, Node, Tensors

Storages = dict[int, int]


class MemoryWatch(Extension):
    """Fills `saved_bytes` of a call and all calls inside it, and reports through
    `live` the bytes of all activations whenever one comes or goes.

    Activations are what recorded functions make: parameters, buffers and what was
    there before are not among them, nor are gradients.
    """

    functions = nodes = True

    def __init__(self, live: Callable[[int], None]) -> None:
        self._live = live
        self._bytes = 0
        self._watched: dict[int, weakref.ref[Any]] = {}
        self._own: set[int] = set()
        self._saved: dict[Cell | None, Storages] = {}
        self._unknown: set[Cell | None] = set()
        self._packed = False
        self._names: dict[type, list[str]] = {}

    def attach(self, module: nn.Module) -> None:
        for one in (*module._parameters.values(), *module._buffers.values()):
            if one is not None:
                self._watch(one, counts=False, own=True)

    def enter(self, cell: Cell, module: nn.Module, inputs: Tensors) -> None:
        self.attach(module)  # a lazy module has made its parameters since
        for one in inputs:
            self._watch(one, counts=False)

    def made(self, cell: Cell | None, inputs: Tensors, outputs: Tensors) -> None:
        for one in inputs:
            self._watch(one, counts=False)
        before = self._bytes
        for one in outputs:
            self._watch(one, counts=True)
        if self._bytes != before:
            self._live(self._bytes)

    def grown(self, cell: Cell | None, nodes: Sequence[Node]) -> None:
        if torch._C._autograd._top_saved_tensors_default_hooks(False) is not None:
            # Checkpointing, save_on_cpu: to look is to unpack, which has effects.
            self._packed = True
            self._unknown.add(cell)
            return
        saved = self._saved.setdefault(cell, {})
        for node in nodes:
            if self._packed and isinstance(node, BackwardCFunction):
                self._unknown.add(cell)
                continue
            for tensor in self._saved_by(node):
                storage = _storage(tensor)
                if storage is None:
                    self._unknown.add(cell)
                elif storage._cdata not in self._own:
                    saved[storage._cdata] = storage.nbytes()

    def finish(self, cells: Sequence[Cell]) -> None:
        self._watched.clear()
        inside: dict[Cell | None, Storages] = {}
        for cell in reversed(cells):
            whole = inside.pop(cell, {}) | self._saved.get(cell, {})
            if cell in self._unknown:
                self._unknown.add(cell.parent)
                cell.fields["saved_bytes"] = None
            else:
                cell.fields["saved_bytes"] = sum(whole.values())
            if cell.parent is not None:
                inside.setdefault(cell.parent, {}).update(whole)

    def _saved_by(self, node: Node) -> Iterator[torch.Tensor]:
        """The tensors that a node has saved."""
        kind = type(node)
        if kind not in self._names:
            names = [name for name in dir(kind) if name.startswith("_saved_")]
            if issubclass(kind, BackwardCFunction):
                names = ["saved_tensors"]
            self._names[kind] = names
        for name in self._names[kind]:
            try:
                value = getattr(node, name)
            except RuntimeError:  # changed in place meanwhile: autograd will say so
                continue
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, torch.Tensor):
                    yield one

    def _watch(self, tensor: torch.Tensor, *, counts: bool, own: bool = False) -> None:
        storage = _storage(tensor)
        if storage is None or storage._cdata in self._watched:
            return
        key, size = storage._cdata, storage.nbytes() if counts else 0
        if own:
            self._own.add(key)

        def gone(_: object) -> None:
            self._own.discard(key)
            if self._watched.pop(key, None) is not None and size:
                self._bytes -= size
                self._live(self._bytes)

        self._bytes += size
        self._watched[key] = weakref.ref(storage, gone)


class Allocator(Protocol):
    """An accelerator's allocator: bytes in use now, and at most so far."""

    def allocated(self) -> int: ...

    def peak(self) -> int: ...


class TorchAllocator:
    """That of the current accelerator, through `torch.accelerator`."""

    def allocated(self) -> int:
        return torch.accelerator.memory_allocated()

    def peak(self) -> int:
        return torch.accelerator.max_memory_allocated()


class AllocatorWatch(Extension):
    """Fills `allocated_bytes`; `highest` is the batch's peak, None where an earlier
    one hides it. The allocator's own record of its peak is never reset."""

    def __init__(self, allocator: Allocator) -> None:
        self._allocator = allocator
        self._before = allocator.peak()
        self._begun: dict[Cell, int] = {}
        self.highest: int | None = None

    def enter(self, cell: Cell, module: nn.Module, inputs: Tensors) -> None:
        self._begun[cell] = self._allocator.allocated()

    def leave(self, cell: Cell, outputs: Tensors) -> None:
        grown = self._allocator.allocated() - self._begun.pop(cell)
        cell.fields["allocated_bytes"] = grown

    def finish(self, cells: Sequence[Cell]) -> None:
        peak = self._allocator.peak()
        self.highest = peak if peak > self._before else None
        self._begun.clear()


def _storage(tensor: torch.Tensor) -> Any:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse and other layouts have none
        return None
