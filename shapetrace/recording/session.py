"""One recording, from what is put on torch to what is taken off it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from typing import Any

from torch import nn

from shapetrace.recording import guards, tracebacks
from shapetrace.recording.clocks import Clock, NoClock
from shapetrace.recording.collectives import waited_in
from shapetrace.recording.events import error_tuple
from shapetrace.recording.extensions.selection import Selection
from shapetrace.recording.faults import Faults
from shapetrace.recording.kernels import Kernels
from shapetrace.recording.readout import Live
from shapetrace.recording.recorder import Recorder
from shapetrace.recording.snapshot import see_modules
from shapetrace.records.garbage import uncollected


class Session:
    """What a trace does to torch while it runs, and to the user's modules: nothing
    that outlives it. Made before the block, started once; faults of ours cost the
    batch nothing."""

    def __init__(
        self,
        modules: Iterable[nn.Module],
        clock: Clock,
        *,
        functions: bool,
        memory: bool,
        backward: bool,
        read_values: bool,
        max_calls: int | None,
        keep_first: bool = False,
    ) -> None:
        self.faults = Faults()
        self._roots: list[nn.Module] = list(modules)
        self._clock = clock
        self._functions = functions
        self._memory = memory
        self._backward = backward
        self._read_values = read_values
        self._max_calls = max_calls
        self._keep_first = keep_first
        self._recorder: Recorder | None = None
        self._live: Live | None = None
        self._added = 0
        self._hidden = guards.HiddenWarning()
        self._kernels: Kernels | None = None

    @uncollected()
    def start(self) -> Live:
        """Watch from now on. Where it fails, `leave`."""
        with suppress(OSError, ImportError):
            # what reads the events: later the batch may have taken all descriptors
            from shapetrace.recording import build, script_values  # noqa: F401
            from shapetrace.source import spoken  # noqa: F401

        selection = Selection(
            self._roots,
            self._clock,
            functions=self._functions,
            timing=not isinstance(self._clock, NoClock),
            memory=self._memory,
            backward=self._backward,
            max_calls=self._max_calls,
            keep_first=self._keep_first,
        )
        recorder = self._recorder = Recorder(
            selection.clock,
            functions=self._functions,
            read_values=self._read_values,
            extensions=selection.running,
            faults=self.faults,
            events=selection.events,
        )
        selection.start(recorder)
        named = guards.name_roots(self._roots)
        names = tuple(name for name, _ in named) or ("",)
        live = self._live = Live(recorder, selection, names, functions=self._functions)
        guards.EAGERLY.start(self)
        self._hidden.start()
        recorder.install(named)
        self._kernels = Kernels(recorder)
        self._kernels.start()
        self._roots = []
        return live

    def take_off(self) -> None:
        """Everything that was put anywhere. Safe to call again."""
        lost = "the taking off of hooks, some of which are left"
        with ExitStack() as everything:  # one that fails keeps no other from its turn
            everything.callback(self._surely, lost, guards.EAGERLY.end, self)
            everything.callback(self._surely, lost, self._hidden.end)
            if self._kernels is not None:
                everything.callback(self._surely, lost, self._kernels.end)
            if self._recorder is not None:
                everything.callback(self._surely, lost, self._recorder.uninstall)

    def leave(self) -> None:
        """Whatever was cut short where: nothing is on torch, nothing of the user's is
        kept, and no event will come. Safe to call again, and before `start`."""
        lost = "the letting go of modules"
        with ExitStack() as everything:
            if self._recorder is not None:
                everything.callback(self._surely, lost, self._recorder.release)
            if self._live is not None:
                self._live.ended = True
                everything.callback(self._surely, lost, self._release, self._live)
            everything.callback(self.take_off)
            self._roots = []

    def _release(self, live: Live) -> None:
        live.selection.release()
        self._add_faults_of(live.selection)

    def _add_faults_of(self, selection: Selection) -> None:
        """Those of extensions that are not among the faults yet."""
        found = selection.faults()
        for name, fault in found[self._added :]:
            self._added += 1
            self.faults.add(name, fault)

    def _surely(self, lost: str, end: Callable[..., None], *args: Any) -> None:
        """Once more from the start where it was cut short, by Ctrl-C or a fault."""
        try:
            end(*args)
        except BaseException as cut:  # Ctrl-C too leaves nothing on
            with self.faults.losing(lost):
                end(*args)
            if not isinstance(cut, Exception):
                raise
            self.faults.add("nothing of the report", cut)

    @uncollected()
    def finish(self, error: BaseException | None) -> None:
        """Ask what can be asked only at the end; `error` is what left the block."""
        recorder, live, losing = self._recorder, self._live, self.faults.losing
        if recorder is None or live is None:
            return
        live.ended = True
        recorder.ended = recorder.clock.now()
        recorder.references.end()
        with losing("the ends of some calls"):
            recorder.stacks.close(error)
        with losing("figures of memory and backward"):
            live.selection.finish()
        self._add_faults_of(live.selection)
        with losing("the range of indices"):
            recorder.values.settle()
        with losing("what the modules were"):
            live.seen = see_modules(recorder.table, recorder.references)
        if error is not None:
            with losing("the exception"):
                live.error = error_tuple(error)
                live.ended_in = waited_in(error)
                tracebacks.clean(error)
            with losing("what the script's names stood for"):
                from shapetrace.recording.script_values import ScriptValues

                live.script = ScriptValues(recorder.table, recorder.references)
                live.script.take(error)

    @property
    def has_loss(self) -> bool:
        """Whether the block computed a loss or went backward. A forward pass alone is
        not judged when the block closes, which would cost ResNet-50 a tenth of its
        time; its findings are there when they are asked for."""
        if self._recorder is None:
            return False
        names = [function.__name__ for function in self._recorder.python_functions]
        return any(
            name.endswith("loss") or "entropy" in name or name in ("kl_div", "backward")
            for name in names
        )
