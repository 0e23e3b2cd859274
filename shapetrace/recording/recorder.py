"""The recorder: what is recorded, and the hooks and the mode that record it."""

from __future__ import annotations

from _thread import get_ident as ident
from collections.abc import Callable
from contextlib import ExitStack
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode

import shapetrace.torch_internals as torch_internals
from shapetrace.recording.clocks import Clock
from shapetrace.recording.collectives import Handles
from shapetrace.recording.events import WAITED
from shapetrace.recording.faults import Faults
from shapetrace.recording.functions import function_mode
from shapetrace.recording.hooks import module_hooks
from shapetrace.recording.other_threads import OtherThreads
from shapetrace.recording.references import References
from shapetrace.recording.run_queue import RunQueue
from shapetrace.recording.snapshot import see
from shapetrace.recording.stacks import Stacks
from shapetrace.recording.table import Site, Table
from shapetrace.recording.values import Values
from shapetrace.recording.warned_from import Callers

if TYPE_CHECKING:
    from shapetrace.recording.extensions.base import Extensions

#: where torch keeps its global forward hooks, and what belongs to a hook's number
_REGISTERS = (
    torch_internals.forward_pre_hooks,
    torch_internals.forward_hooks,
)
_WITH_A_HOOK = (
    torch_internals.with_kwargs,
    torch_internals.always_called,
)


class Recorder:
    """Watches modules and functions, and holds what they did as raw events.

    `read_values` allows reading the smallest and largest class index that a loss is
    given; on an accelerator that is one synchronisation a loss call. `extensions` have
    their own say before and after each call. `events` is the list that is filled.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        functions: bool = True,
        read_values: bool = True,
        extensions: Extensions | None = None,
        faults: Faults | None = None,
        events: list[Any] | None = None,
    ) -> None:
        self.clock = clock
        self.functions = functions
        self.extensions = extensions
        self.grad = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        self.events: list[Any] = [] if events is None else events
        self.faults = Faults() if faults is None else faults
        self.references = References(self.events, functions)
        self.stacks = Stacks(self.events, clock.now)
        self.table = Table(self.fault)
        self.values = Values(self.events, self.references, read_values)
        #: arguments that are tuples of plain numbers, as data
        self.tuples: dict[tuple[Any, ...], Any] = {}
        self.callers = Callers()
        self.run_queue = RunQueue()
        self.other_threads = OtherThreads()
        self.handles = Handles(clock.now, self.fault)
        #: the torch functions written in Python that were called, and whether the
        #: recorder looks at their arguments each time
        self.python_functions: dict[FunctionType, bool] = {}
        #: whether torch.jit.trace ran, which is not recorded
        self.jit_traced = False
        #: when the last function ended, or the block began; set by the function mode
        self.function_ended: Callable[[], Any] = int
        #: the stamps of the beginning and of the end of the block
        self.began: Any = None
        self.ended: Any = None
        self._hooks: list[Any] = []
        self._handles: list[Any] = []
        self._modes: list[TorchFunctionMode] = []
        self._staying: list[Any] | None = None

    def fault(self, error: BaseException) -> None:
        """Something of ours failed; the batch goes on."""
        self.faults.add("some calls", error)

    @property
    def has_mode(self) -> bool:
        """Whether torch functions pass through a function mode."""
        extensions = self.extensions
        return self.functions or extensions is not None and extensions.see_functions

    def install(self, roots: list[tuple[str, nn.Module]]) -> None:
        """Watch every module below the named roots; with no root, every module that
        is called. A failure on the way leaves nothing behind."""
        try:
            self.table.everything = not roots
            try:
                for prefix, root in roots:
                    self.table.enter(prefix, root)
                self._attach(0)
            except Exception as fault:  # ours must not keep the batch from running
                self.fault(fault)
            self.other_threads.open()
            self.run_queue.open()
            self.run_queue.noted = self.began = self.clock.now()
            before, after = module_hooks(self)
            extensions = self.extensions
            if extensions is not None:
                before, after = extensions.around(self.belongs, before, after)
            self._hooks += (before, after)
            self._handles.append(torch_module.register_module_forward_pre_hook(before))
            self._handles.append(
                torch_module.register_module_forward_hook(
                    after, with_kwargs=True, always_call=True
                )
            )
            if self.functions:
                self._push(function_mode(self))
            if extensions is not None and extensions.see_functions:
                self._push(extensions.mode(self.callers))
        except BaseException:  # Ctrl-C too leaves no hook behind
            self.uninstall()
            raise

    def uninstall(self) -> None:
        """Take everything off again. Safe to call again, also where an interrupt has
        cut a first call short: hooks and modes are told by what they are."""
        with ExitStack() as everything:  # one that fails keeps no other from its turn
            everything.callback(self.other_threads.close)
            everything.callback(self.run_queue.close)
            everything.callback(self.handles.end)
            everything.callback(self._remove_modes)
            self._remove_hooks()

    def _remove_hooks(self) -> None:
        for register in _REGISTERS:
            for number, hook in list(register.items()):
                if any(hook is own for own in self._hooks):
                    for table in _WITH_A_HOOK:
                        table.pop(number, None)
                    register.pop(number, None)  # the last: it is how they are found
        for handle in self._handles:
            handle.remove()

    def _push(self, mode: TorchFunctionMode) -> None:
        if not isinstance(mode, TorchFunctionMode):  # torch would call it all the same
            raise TypeError(f"{type(mode).__name__} is no function mode")
        self._modes.append(mode)
        torch_internals.push_mode(mode)

    def _remove_modes(self) -> None:
        """Take the modes off the stack of this thread, wherever in it they lie. What
        is to stay is noted before anything is touched: see `uninstall`."""
        if not self._modes:
            return
        if not torch_internals.has_mode_stack:
            while self._modes:
                torch_internals.pop_mode(self._modes.pop())
            return
        if self._staying is None:
            stack, own = torch_internals.active_modes(), self._modes
            self._staying = [m for m in stack if not any(m is one for one in own)]
        torch_internals.replace_modes(self._staying)
        self._staying = None

    def waited(self, since: Any, until: Any) -> int:
        """Note how long the tracing thread waited for a processor between these two
        stamps, or since it was noted last."""
        if self.stacks.others or ident() != self.stacks.thread:
            return 0
        queue = self.run_queue
        since, queue.noted = max(since, queue.noted), until
        waited_ns = queue.waited(until - since)
        if waited_ns > 0:
            self.events.extend((WAITED, since, until, waited_ns))
        return waited_ns

    def meet(self, module: nn.Module, open_: list[Any]) -> Site | None:
        """The site of a module that was not there at entry, or None if it is none of
        the trace's."""
        count = len(self.table.entered)
        site = self.table.meet(module, [one for one in open_ if type(one) is Site])
        self._attach(count)
        for one in self.table.entered[count:]:  # it may be gone when the block ends
            if (found := one.module()) is not None:
                one.met = see(one, found, self.references)
        return site

    def _attach(self, start: int) -> None:
        """What is done with the modules that were entered from the given one on."""
        sites = self.table.entered[start:]
        if self.functions:
            self.references.define_own(sites)
        if self.extensions is not None:
            for site in sites:
                if (module := site.module()) is not None:
                    self.extensions.attach(module)

    def belongs(self, module: nn.Module) -> bool:
        """Whether calls of a module are recorded."""
        if id(module) in self.table.sites:
            return True
        open_, _ = self.stacks.here()
        return self.meet(module, open_) is not None

    def release(self) -> None:
        """Let go of what is the user's, once what the modules are has been asked."""
        self.table.release()
        self.callers.release()
        self.tuples.clear()
