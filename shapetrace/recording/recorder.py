"""The recorder: installs itself on modules, records, and takes itself off again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from shapetrace.recording.clocks import Clock
from shapetrace.recording.functions import function_mode
from shapetrace.recording.hooks import (
    SLOT,
    accompany,
    called_itself,
    is_watched,
    unwatch,
    watcher,
)
from shapetrace.recording.tape import DISABLED, Site, Tape, own_tensors
from shapetrace.records import Origin

if TYPE_CHECKING:
    from shapetrace.recording.extensions.base import Companion


class Recorder(Tape):
    """Watches modules and functions, and writes to the tape that it is.

    `read_values` allows reading the smallest and largest class index that a loss is
    given; on an accelerator that is one synchronisation a loss call. `companion` has
    its own say before and after each call.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        functions: bool = True,
        read_values: bool = True,
        companion: Companion | None = None,
    ) -> None:
        super().__init__(clock, functions=functions, read_values=read_values)
        self.companion = companion
        self.grad = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        self.modules: dict[str, nn.Module] = {}
        self._watched: dict[int, tuple[nn.Module, Site]] = {}
        self._discovering = 0
        self._prefixes: dict[str, int] = {}
        self._stack = ExitStack()

    @property
    def has_mode(self) -> bool:
        """Whether torch functions pass through a function mode."""
        companion = self.companion
        return self.functions or companion is not None and companion.looks_at_functions

    def install(self, roots: list[tuple[str, nn.Module]]) -> None:
        """Watch every module below the named roots; with no root, every module that
        is called. A failure on the way leaves nothing behind."""
        try:
            self._stack.callback(self._detach)
            for prefix, root in roots:
                self._attach(prefix, root)
            if not roots:
                self._discover()
            if self.functions:
                self._push(function_mode(self))
            if self.companion is not None and self.companion.looks_at_functions:
                self._push(self.companion.mode())
        except BaseException:
            self.uninstall()
            raise

    def uninstall(self) -> None:
        """Take everything off again, in reverse order. Safe to call twice."""
        self._stack.close()

    def _push(self, mode: TorchFunctionMode) -> None:
        self._stack.callback(_remove, mode)
        torch._C._push_on_torch_function_stack(mode)

    def _attach(self, prefix: str, root: nn.Module) -> None:
        """Watch the calls of a tree of modules."""
        companion = self.companion
        depth = 2 + self._discovering + (companion is not None)
        watch = watcher(self, depth)
        copied = torch.accelerator.device_count() > 1
        with DISABLED():
            for path, module in root.named_modules():
                if id(module) in self._watched:
                    continue
                name = ".".join(part for part in (prefix, path) if part)
                self.modules[name] = module
                self._register_tensors(name, module)
                before = module.__dict__.get(SLOT)
                call = called_itself if copied else module._call_impl
                if is_watched(before):
                    call = before  # by a trace around this one
                site = Site(name, module)
                watched = watch(site, call)
                if companion is not None:
                    watched = accompany(module, watched, companion)
                site.before = before
                self._watched[id(module)] = (module, site)
                module.__dict__[SLOT] = watched

    def _discover(self) -> None:
        """For `trace()`: watch a tree of modules when its root is first called."""
        torchs = nn.Module.__call__
        is_tracing = torch._C._is_tracing

        def discover(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            # torch.jit.trace compares what it sees of a module in two runs
            over = discover.__dict__["over"]
            if not over and id(module) not in self._watched and not is_tracing():
                try:
                    name = type(module).__name__
                    count = self._prefixes[name] = self._prefixes.get(name, 0) + 1
                    self._attach(name if count == 1 else f"{name}_{count}", module)
                except Exception as fault:  # ours must not end the user's batch
                    self.fault(fault)
            return torchs(module, *args, **kwargs)

        self._discovering = 1
        discover.__dict__.update(below=torchs, over=False)
        self._stack.callback(_end_discovery, discover)
        nn.Module.__call__ = discover  # type: ignore[method-assign]

    def _detach(self) -> None:
        while self._watched:
            _, (module, site) = self._watched.popitem()
            unwatch(module, site)
            site.release()

    def _register_tensors(self, name: str, module: nn.Module) -> None:
        for tensor, origin in own_tensors(name, module):
            if self.lookup(tensor) is None:
                self.define_as(tensor, origin)

    def live(self) -> list[tuple[str, nn.Module]]:
        """The watched modules, their tensors defined (again, where a lazy module has
        only now got them)."""
        found = list(self.modules.items())
        with DISABLED():
            for name, module in found:
                self._register_tensors(name, module)
        return found

    def release(self) -> None:
        """Let go of the modules, once what they are has been asked."""
        self.modules.clear()
        self.tuples.clear()

    def inside(self) -> bool:
        """Whether a module call is open in the tracing thread."""
        return bool(self.open_sites)

    def own_tensors(self) -> Iterator[tuple[torch.Tensor, Origin]]:
        """The parameters and buffers of all watched modules."""
        for name, module in list(self.modules.items()):
            yield from own_tensors(name, module)


def _end_discovery(discover: Any) -> None:
    """Give `nn.Module` its call back; a trace that began later and has not ended yet
    keeps its own, and whoever is the last to end takes off what has ended before."""
    discover.over = True
    found: Any = nn.Module.__call__
    while getattr(found, "over", False):
        found = found.below
    nn.Module.__call__ = found  # type: ignore[method-assign]


def _remove(mode: TorchFunctionMode) -> None:
    """Take a mode off the stack of this thread, wherever in it it lies."""
    above = []
    while torch._C._len_torch_function_stack():
        top = torch._C._pop_torch_function_stack()
        if top is mode:
            break
        above.append(top)
    for one in reversed(above):
        torch._C._push_on_torch_function_stack(one)
