"""`trace` and `Trace`: the context manager, and what is asked of it afterwards."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack, nullcontext, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import nn

from shapetrace.errors import ShapeTraceWarning, UsageError
from shapetrace.recording import guards, torch_internals, tracebacks
from shapetrace.recording.clocks import Clock, CpuClock, NoClock
from shapetrace.recording.events import error_tuple
from shapetrace.recording.extensions.selection import Selection
from shapetrace.recording.faults import Faults
from shapetrace.recording.readout import Live, Readout, Stored
from shapetrace.recording.recorder import Recorder
from shapetrace.recording.snapshot import see_modules
from shapetrace.records import (
    Broadcast,
    Diagnosis,
    FunctionCall,
    ModuleCall,
    Recording,
    Step,
)
from shapetrace.views.analyses import Analyses
from shapetrace.views.findings import Findings
from shapetrace.views.printed import Printed

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from shapetrace.comparison import Ranks
    from shapetrace.costs import (
        CheckpointCandidate,
        Costs,
        Memory,
        MemoryEstimate,
        Steps,
        Synchronization,
    )
    from shapetrace.lineage import Graph

By = Literal["call", "module", "function", "broadcast", "type", "block", "line"]
PlotKind = Literal["time", "steps", "memory", "roofline"]
#: what a frame by these cannot do without
_PRICED = frozenset({"type", "block", "line"})
Path = str | os.PathLike[str]


def trace(
    *modules: nn.Module,
    functions: bool = True,
    timing: bool = True,
    memory: bool = False,
    backward: bool = False,
    checks: bool | Collection[str] = True,
    max_calls: int | None = None,
) -> Trace:
    """Record every module call and torch function call of the `with` block.

    Args:
        modules: what to trace: one module or several, each with everything below it;
            none: every module that is called. With one, calls carry the names of
            `named_modules()`, `""` being the module itself; with several or none,
            names begin with the class's name.
        functions: record torch functions too. False: module calls alone, which costs
            less and leaves lineage to go from module to module.
        timing: take times. False: all times are 0.
        memory: keep account of the bytes of activations.
        backward: time the backward pass of each module.
        checks: look for what PyTorch does not tell; False: none; a set of codes: those.
            With False no tensor's values are read either; otherwise the smallest and
            largest class index of a loss's target are.
        max_calls: keep at most that many module calls, the newest ones, for long runs,
            and twenty times as many function calls; the report says what was dropped.

    Raises:
        UsageError: if something other than modules is given, or options that do not
            go together.

    Examples:
        >>> import torch, shapetrace
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
        >>> with shapetrace.trace(model) as t:
        ...     y = model(torch.ones(2, 4))
        >>> [(call.name, call.type, call.outputs[0].shape) for call in t.calls]
        [('', 'Sequential', (2, 3)), ('0', 'Linear', (2, 3)), ('1', 'ReLU', (2, 3))]
    """
    if not isinstance(checks, bool):
        from shapetrace.checks import chosen

        chosen(checks)
    guards.check_modules(modules)
    guards.check_options(timing, memory, backward, max_calls)
    clock: Clock = CpuClock() if timing else NoClock()
    return Trace(
        modules,
        clock,
        functions=functions,
        memory=memory,
        backward=backward,
        checks=checks,
        max_calls=max_calls,
    )


class Trace:
    """What one traced batch did: read it during or after the `with` block.

    Made by `trace`, used once. It holds plain data only: no tensor and no module
    is kept alive, and it can be pickled.
    """

    def __init__(
        self,
        modules: Iterable[nn.Module],
        clock: Clock,
        *,
        functions: bool = True,
        memory: bool = False,
        backward: bool = False,
        checks: bool | Collection[str] = True,
        max_calls: int | None = None,
    ) -> None:
        self._roots: list[nn.Module] = list(modules)
        self._memory = memory
        self._backward = backward
        self._max_calls = max_calls
        self._clock = clock
        self._functions = functions
        self._checks = checks
        self._state: Literal["new", "running", "done"] = "new"
        self._recorder: Recorder | None = None
        self._readout: Readout = Stored(Recording((), (), {}, {}))
        self._asked: Analyses | None = None
        self._sizes: dict[str, Any] = {}
        self._hidden = guards.HiddenWarning()
        self._faults = Faults()

    # -- the context manager ---------------------------------------------------

    def __enter__(self) -> Self:
        if self._state != "new":
            doing = "is running" if self._state == "running" else "has recorded already"
            raise UsageError(
                f"This trace {doing}: each `with` needs a trace of its own. Write "
                "`with shapetrace.trace(model) as t:` again."
            )
        try:
            with self._faults.losing("the whole recording"):
                self._install()
                return self
        except BaseException:
            self._take_off()
            raise
        # the batch runs all the same, and nothing of it is seen
        self._take_off()
        self._recorder, self._state = None, "running"
        notes = tuple(self._faults.notes())
        self._readout = Stored(Recording((), (), {}, {}, notes=notes))
        return self

    def _install(self) -> None:
        selection = Selection(
            self._roots,
            self._clock,
            functions=self._functions,
            timing=not isinstance(self._clock, NoClock),
            memory=self._memory,
            backward=self._backward,
            max_calls=self._max_calls,
        )
        recorder = self._recorder = Recorder(
            selection.clock,
            functions=self._functions,
            read_values=bool(self._checks),
            extensions=selection.running,
            faults=self._faults,
        )
        selection.start(recorder)
        named = guards.name_roots(self._roots)
        names = tuple(name for name, _ in named) or ("",)
        self._readout = Live(recorder, selection, names, functions=self._functions)
        guards.EAGERLY.start(self)
        self._hidden.start()
        recorder.install(named)
        self._roots = []
        self._state = "running"

    def _take_off(self) -> None:
        """Everything that the trace has put anywhere. Safe to call again."""
        with ExitStack() as everything:  # one that fails keeps no other from its turn
            everything.callback(self._surely, guards.EAGERLY.end, self)
            everything.callback(self._surely, self._hidden.end)
            if self._recorder is not None:
                everything.callback(self._surely, self._recorder.uninstall)

    def _surely(self, end: Callable[..., None], *args: Any) -> None:
        """Once more from the start where it was cut short, by Ctrl-C or a fault."""
        try:
            end(*args)
        except BaseException as cut:
            end(*args)
            if not isinstance(cut, Exception):
                raise
            self._faults.add("nothing of the report", cut)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> Literal[False]:
        try:
            self._take_off()
        except BaseException as cut:  # a Ctrl-C in the middle of it, or a fault
            self._take_off()
            if not isinstance(cut, Exception):
                raise
            self._faults.add("nothing of the report", cut)
        finally:
            self._state = "done"
        try:
            with self._faults.losing("the end of the recording"):
                self._finish(error)
        finally:
            with self._faults.losing("nothing of the report"):
                self._release()
        self._faults.over = True
        if self._faults:
            # where the user's filters make warnings errors, the body's own comes first
            with nullcontext() if error is None else suppress(ShapeTraceWarning):
                warnings.warn(self._faults.warning(), ShapeTraceWarning, stacklevel=2)
        return False

    def _release(self) -> None:
        """Let go of what is the user's."""
        if self._recorder is not None:
            self._recorder.release()
        if isinstance(self._readout, Live):
            self._readout.selection.release()

    def _finish(self, error: BaseException | None) -> None:
        """Ask what can be asked only now, and say what there is to say."""
        recorder, live, losing = self._recorder, self._readout, self._faults.losing
        if recorder is None or not isinstance(live, Live):
            return
        live.ended = True
        with losing("the ends of some calls"):
            recorder.stacks.close(error)
        with losing("figures of memory and backward"):
            live.selection.finish()
        for name, fault in live.selection.faults():
            self._faults.add(name, fault)
        with losing("what the modules were"):
            live.seen = see_modules(recorder.table, recorder.references)
        if error is not None:
            with losing("the exception"):
                live.error = error_tuple(error)
                tracebacks.clean(error)
        with losing("the note on the exception" if error else "the warnings"):
            self._say(error)

    def _say(self, error: BaseException | None) -> None:
        """The explanation on the user's exception; warnings where none was raised."""
        if error is not None:
            failure = self.failure
            rank, others = self._deliver(error)
            if failure is not None or others:
                told = "\n\n".join(str(part) for part in (failure, others) if part)
                # not every exception takes notes; t.explain() has it all the same
                with suppress(Exception):
                    if isinstance(error, Exception):
                        error.add_note(f"\nshapetrace{rank}:\n{told}")
            return
        if self._checks and guards.has_loss(self._recorder):
            from shapetrace.checks import warn

            # a failure that the user's code caught is no news to it
            warn(finding for finding in self.findings if finding.code != "failure")

    def _deliver(self, error: BaseException) -> tuple[str, str]:
        """Where this is one of several ranks, let the others know that it failed."""
        if not torch_internals.has_ranks() or isinstance(error, GeneratorExit):
            return "", ""
        from shapetrace.comparison.rank_exchange import deliver

        with self._faults.losing("what other ranks are told"):
            return deliver(self.recording, self.findings, error)
        return "", ""

    # -- the data --------------------------------------------------------------

    @property
    def recording(self) -> Recording:
        """All records as one plain value, as far as the batch has got."""
        return self._readout.recording

    @property
    def calls(self) -> tuple[ModuleCall, ...]:
        """Every module call, in the order in which they were entered."""
        return self.recording.calls

    @property
    def functions(self) -> tuple[FunctionCall, ...]:
        """Every torch function that Python code called, in the order of their ends."""
        return self.recording.functions

    @property
    def losses(self) -> tuple[FunctionCall, ...]:
        """The loss calls, and the calls that made a custom loss `.backward()` was
        called on."""
        return self._analyses.losses

    @property
    def failure(self) -> Diagnosis | None:
        """The diagnosis of the call that raised, or None."""
        return self._analyses.failure

    @property
    def findings(self) -> tuple[Diagnosis, ...]:
        """A tuple of everything found wrong or suspicious, the failure first."""
        return Findings(self._analyses.findings)

    @property
    def broadcasts(self) -> tuple[Broadcast, ...]:
        """Every implicit expansion of the batch."""
        return self._analyses.broadcasts

    @property
    def costs(self) -> Costs:
        """FLOPs, bytes and corrected times of every call; made when first read."""
        return self._calibrated().costs

    @property
    def _analyses(self) -> Analyses:
        recording = self.recording
        if self._asked is None or self._asked.recording is not recording:
            self._asked = Analyses(recording, self._checks, self._faults)
        return self._asked

    @property
    def _graph(self) -> Graph:
        return self._analyses.graph

    def _calibrated(self) -> Analyses:
        """The analyses, of a recording that has the tracer's own cost. It is measured
        once, and what was worked out before stays valid."""
        asked = self._analyses
        asked.recording = self._readout.calibrated()
        return asked

    # -- questions -------------------------------------------------------------

    def explain(self, x: Any = None) -> Diagnosis:
        """Where it went wrong; with a tensor or a call, how that came about.

        Args:
            x: a tensor of the batch, a `FunctionCall` or `ModuleCall` of this trace;
                None: the failure, else the first finding, else the last loss call.

        Raises:
            UsageError: if `x` is none of these or was not seen in this trace.
        """
        if x is not None and not isinstance(x, FunctionCall | ModuleCall):
            x = self._id(x, "explain")
        return self._analyses.explain(x)

    def lineage(self, tensor: Any, dim: int | None = None) -> tuple[Step, ...]:
        """The calls that made a tensor, or one dimension of it, newest first.

        Raises:
            UsageError: if the tensor was not seen in this trace, or has no such `dim`.

        Examples:
            >>> import torch, shapetrace
            >>> layer = torch.nn.Linear(4, 3)
            >>> with shapetrace.trace(layer) as t:
            ...     y = layer(torch.ones(2, 4)).T
            >>> [step.name for step in t.lineage(y, dim=0)]
            ['T', 'Linear']
        """
        from shapetrace.lineage import steps

        ident = self._id(tensor, "lineage")
        rank = len(self._graph.tensors[ident].shape)
        if dim is not None and not -rank <= dim < rank:
            raise UsageError(
                f"lineage(tensor, dim={dim}): the tensor has {rank} dimensions; "
                f"dim must lie between {-rank} and {rank - 1}."
            )
        return steps(self._graph, ident, dim if dim is None else dim % rank)

    def expect(
        self, x: torch.Tensor | str | ModuleCall | FunctionCall, shape: str
    ) -> None:
        """Assert a shape, in a jaxtyping-like string: names and numbers.

        A number must be equal; a name stands for any size, the same one wherever it
        recurs in this trace; `*name` for any number of dimensions, `_` and `...` for
        anything.

        Args:
            x: a tensor of the batch; a module's name or a call of this trace, for the
                first tensor of its (newest) output.
            shape: the dimensions with spaces between them; "" is a scalar.

        Raises:
            ShapeError: on a mismatch; its message is the explanation.
            UsageError: if the string cannot be read, or `x` was not seen or called.

        Examples:
            >>> import torch, shapetrace
            >>> layer = torch.nn.Linear(4, 3)
            >>> with shapetrace.trace(layer) as t:
            ...     t.expect(layer(torch.ones(2, 4)), "batch 3")
            >>> t.expect(t.calls[0], "2 3")
        """
        from shapetrace.diagnosis.expectation import check, output_of

        if isinstance(x, str | FunctionCall | ModuleCall):
            ident = output_of(self.recording, x)
        else:
            ident = self._id(x, "expect")
        check(self._graph, ident, shape, self._sizes)

    def _id(self, tensor: Any, asked: str) -> int:
        if not isinstance(tensor, torch.Tensor):
            raise UsageError(
                f"{asked}() takes a tensor of the traced batch, not "
                f"{type(tensor).__name__}: pass the output itself, for example "
                f"t.{asked}(logits)."
            )
        ident = self._readout.id_of(tensor)
        if ident is None:
            raise UsageError(
                f"{asked}() was given a tensor that this trace has not seen: it must "
                "have gone through a traced call inside the `with` block, and still be "
                "the same object."
            )
        return ident

    # -- the views -------------------------------------------------------------

    def __repr__(self) -> str:
        from shapetrace.views.text import summary_line

        return summary_line(self.recording, self.findings, failure=self.failure)

    def __str__(self) -> str:
        from shapetrace.views.text import table

        return table(self.recording, self.findings, failure=self.failure)

    def _repr_html_(self) -> str:
        from shapetrace.views.html import fragment

        return fragment(self.recording, self.findings, failure=self.failure)

    def table(
        self,
        *,
        depth: int | None = None,
        columns: Collection[str] | None = None,
        sort: str | None = None,
        width: int | None = None,
    ) -> Printed:
        """The text table, as it is asked for, and a block of totals that closes it.

        Args:
            depth: as many levels below the outermost modules are shown; None: all.
            columns: their names, those of `to_dataframe()` and more: "input",
                "output", "params", "params_share", "trainable", "kernel", "stride",
                "groups", "flops", "mult_adds", "memory" …; None: what was recorded.
            sort: the column to order the rows by, the largest first, not as a tree.
            width: characters a line; None: as wide as the terminal.

        Raises:
            UsageError: if a column is unknown; the message lists those there are.
        """
        from shapetrace.views.text import table

        text = table(
            self.recording,
            self.findings,
            failure=self.failure,
            width=width,
            depth=depth,
            columns=columns,
            sort=sort,
            costs=lambda: self.costs,
        )
        return Printed(text)

    def summary(self, width: int | None = None) -> Printed:
        """A text table by module, the slowest first, with what the tracer itself cost.

        Columns for memory, backward and accelerator times appear where recorded.
        """
        from shapetrace.views.summary import by_module

        return Printed(by_module(self.recording, self.costs, width))

    def to_dataframe(self, by: By = "call", *, costs: bool = False) -> pandas.DataFrame:
        """A pandas DataFrame: one row per module call, module, function, broadcast,
        type of module, repeated block, or line of code.

        Args:
            by: what a row is. By module, times are told over all its calls. By type,
                block and line, own times add up to the whole, and lines outside of
                modules are among them (`optimizer.step()`, the loop over a loader).
            costs: columns for FLOPs, bytes, and times without the tracer's own cost;
                by type, block and line they are always there.

        Raises:
            UsageError: if `by` is none of these.

        Examples:
            >>> import torch, shapetrace
            >>> layers = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)
            >>> model = torch.nn.Sequential(*layers)
            >>> with shapetrace.trace(model) as t:
            ...     y = model(torch.ones(2, 4))
            >>> frame = t.to_dataframe(by="type").set_index("name")
            >>> frame.loc["Linear", ["modules", "calls", "flops"]].tolist()
            [2, 2, 96]
        """
        from shapetrace.views.frame import frame

        return frame(
            self.recording,
            self.findings,
            by=by,
            broadcasts=self.broadcasts if by == "broadcast" else (),
            costs=self.costs if costs or by in _PRICED else None,
        )

    def to_csv(self, path: Path, by: By = "call", *, costs: bool = False) -> None:
        """The rows and columns of `to_dataframe`; shapes as `2x73`, several tensors
        joined by `;`.

        Raises:
            ReportError: if the file cannot be written.
            UsageError: if `by` is none of those of `to_dataframe`.
        """
        from shapetrace.views.frame import csv

        csv(
            self.recording,
            self.findings,
            path,
            by=by,
            broadcasts=self.broadcasts if by == "broadcast" else (),
            costs=self.costs if costs or by in _PRICED else None,
        )

    def to_json(self, path: Path) -> None:
        """The whole trace; `shapetrace.load(path)` reads it back.

        Raises:
            ReportError: if the file cannot be written.
        """
        from shapetrace.views.files import write
        from shapetrace.views.json import dumps

        write(path, dumps(self._calibrated().recording, self.findings))

    def gather(self, timeout: float = 60.0) -> Ranks | None:
        """Bring the traces of all ranks together on rank 0; call it on every rank.

        A rank whose block raised has handed its report over already, its explanation
        included, and is not waited for. The others are, for `timeout` seconds: whose
        report is not there then (it was killed, it hangs) is told as missing.

        Returns:
            On rank 0 the `Ranks`: print them. On other ranks None. Without a process
            group the one rank that there is.

        Raises:
            UsageError: if a launcher started several processes and there is no process
                group, not yet or no more.
            ReportError: if the process that keeps the group's store has ended.

        Examples:
            >>> import torch, shapetrace
            >>> layer = torch.nn.Linear(4, 3)
            >>> with shapetrace.trace(layer) as t:
            ...     y = layer(torch.ones(2, 4))
            >>> ranks = t.gather()
            >>> len(ranks), ranks.missing, ranks.differences
            (1, (), ())
        """
        from shapetrace.comparison.rank_exchange import gather

        return gather(self._calibrated().recording, self.findings, timeout)

    def to_html(self, path: Path) -> None:
        """A page of its own that needs nothing from the network.

        Raises:
            ReportError: if the file cannot be written.
        """
        from shapetrace.views.files import write
        from shapetrace.views.html import page

        write(path, page(self.recording, self.findings, failure=self.failure))

    def to_chrome_trace(self, path: Path) -> None:
        """Modules and functions on a time axis, for Perfetto and speedscope.

        Raises:
            UsageError: if the trace has no times.
            ReportError: if the file cannot be written.
        """
        from shapetrace.views.chrome import dumps
        from shapetrace.views.files import write

        write(path, dumps(self.recording))

    def steps(self) -> Steps:
        """Where each training step went: data, forward, loss, backward, optimizer and
        the rest, in nanoseconds; the first step apart, since it warms up.

        The whole loop should be in the block; what it does not show is said in `notes`.

        Examples:
            >>> import torch, shapetrace
            >>> model = torch.nn.Linear(4, 3)
            >>> optimizer = torch.optim.SGD(model.parameters())
            >>> with shapetrace.trace(model) as t:
            ...     for _ in range(3):
            ...         model(torch.ones(2, 4)).sum().backward()
            ...         optimizer.step()
            >>> len(t.steps()), list(t.steps()[0].phases)
            (3, ['forward', 'loss', 'backward', 'optimizer', 'rest'])
        """
        from shapetrace.costs import steps

        return steps(self.recording)

    def synchronizations(self) -> tuple[Synchronization, ...]:
        """The calls that make the processor wait for the accelerator, by line; on the
        processor alone those that would.

        Examples:
            >>> import torch, shapetrace
            >>> model = torch.nn.Linear(4, 3)
            >>> with shapetrace.trace(model) as t:
            ...     for _ in range(2):
            ...         loss = model(torch.ones(2, 4)).sum().item()
            >>> [(one.name, one.calls, one.certain) for one in t.synchronizations()]
            [('item', 2, False)]
        """
        from shapetrace.costs import synchronizations

        return synchronizations(self.recording)

    def memory(self) -> Memory:
        """Bytes by kind when a step holds most, and by module: parameters, buffers,
        gradients, optimizer's state, activations, and gradients on their way.

        Raises:
            UsageError: without `trace(memory=True)`.

        Examples:
            >>> import torch, shapetrace
            >>> model = torch.nn.Linear(4, 3)
            >>> with shapetrace.trace(model, memory=True) as t:
            ...     model(torch.ones(2, 4)).sum().backward()
            >>> t.memory().parameters, t.memory().modules[0].gradients
            (60, 60)
        """
        from shapetrace.costs import memory

        return memory(self.recording)

    def memory_for(self, batch_size: int, *others: Trace) -> MemoryEstimate:
        """What a step with a batch of another size will hold at most, in bytes.

        Args:
            batch_size: the first dimension of the model's input.
            others: traces of the same step with other batch sizes: they make the
                estimate more certain.

        Raises:
            UsageError: without `trace(memory=True)`.

        Examples:
            >>> import torch, shapetrace
            >>> model = torch.nn.Linear(4, 3)
            >>> with shapetrace.trace(model, memory=True) as t:
            ...     model(torch.ones(2, 4)).sum().backward()
            >>> t.memory_for(64).fits(1e6)
            True
        """
        from shapetrace.costs import memory_for

        recordings = [self.recording, *(other.recording for other in others)]
        return memory_for(batch_size, recordings)

    def checkpoint_candidates(self) -> tuple[CheckpointCandidate, ...]:
        """The modules to run under `torch.utils.checkpoint`, the best bargain first:
        bytes less at the peak against the time to run their forward again.

        Raises:
            UsageError: without `trace(memory=True)`.

        Examples:
            >>> import torch, shapetrace
            >>> block = lambda: torch.nn.Sequential(
            ...     torch.nn.Linear(64, 64), torch.nn.Sigmoid(), torch.nn.Linear(64, 64)
            ... )
            >>> model = torch.nn.Sequential(block(), block(), block())
            >>> with shapetrace.trace(model, memory=True) as t:
            ...     model(torch.ones(256, 64)).sum().backward()
            >>> {one.freed_bytes for one in t.checkpoint_candidates()}
            {65536}
        """
        from shapetrace.costs import checkpoint_candidates

        return checkpoint_candidates(self.recording, self.costs)

    def plot(self, kind: PlotKind = "time", ax: Axes | None = None) -> Axes:
        """Draw with matplotlib: `pip install shapetrace[plot]`.

        Args:
            kind: "time" by module, forward and backward (needs `trace(backward=True)`);
                "steps" by phase; "memory" by kind over time (needs
                `trace(memory=True)`); "roofline": which modules memory bounds, and
                which arithmetic.
            ax: the matplotlib Axes to draw on; None: new ones.

        Raises:
            UsageError: if matplotlib is missing, or the trace lacks what is drawn.
        """
        from shapetrace.views.plots import plot

        return plot(self.recording, self.costs, kind, ax)

    # -- as a value ------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        return self.recording == other.recording and self.findings == other.findings

    __hash__ = object.__hash__

    def __getstate__(self) -> dict[str, Any]:
        return {"recording": self.recording, "findings": tuple(self.findings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._restore(state["recording"], state["findings"])

    def _restore(self, recording: Recording, findings: tuple[Diagnosis, ...]) -> None:
        Trace.__init__(self, (), NoClock())
        self._state = "done"
        self._faults.over = True
        self._readout = Stored(recording)
        self._analyses.keep(findings)


def load(path: str | os.PathLike[str]) -> Trace:
    """Read a trace that `Trace.to_json` wrote; it is equal to the one written.

    Raises:
        ReportError: if the file is missing, damaged or something else.
    """
    from shapetrace.views.json import load_file

    loaded = Trace.__new__(Trace)
    loaded._restore(*load_file(path))
    return loaded
