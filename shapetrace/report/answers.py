"""What a recording answers: its data, what is found in it, what it cost."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import torch

from shapetrace.errors import UsageError
from shapetrace.recording.faults import Faults
from shapetrace.recording.readout import Readout
from shapetrace.records import (
    Broadcast,
    Diagnosis,
    FunctionCall,
    ModuleCall,
    Recording,
    Step,
)
from shapetrace.report.analyses import Analyses
from shapetrace.report.surviving import mended, surviving
from shapetrace.views.findings import Findings

if TYPE_CHECKING:
    from shapetrace.costs import (
        CheckpointCandidate,
        Costs,
        Memory,
        MemoryEstimate,
        Steps,
        Synchronization,
    )
    from shapetrace.lineage import Graph


class Answers:
    """Reads a recording, whole or as far as it has got, and keeps what it works out.

    `checks` are those that look for findings: all, none, or a set of codes.
    """

    def __init__(
        self, readout: Readout, checks: bool | Collection[str], faults: Faults
    ) -> None:
        self._readout = readout
        self._checks = checks
        self._faults = faults
        self._asked: Analyses | None = None
        self._sizes: dict[str, Any] = {}

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
    @surviving
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

    def _mend(self, fault: Exception) -> bool:
        """Whether the recording held what no record may hold, which made the fault, and
        holds it no more."""
        made = mended(self.recording)
        if made is self.recording:
            return False
        before = self._faults.notes()
        self._faults.add("what a fault has left wrong", fault)
        others = (note for note in made.notes if note not in before)
        self._readout.put(replace(made, notes=(*others, *self._faults.notes())))
        return True

    def _calibrated(self) -> Analyses:
        """The analyses, of a recording that has the tracer's own cost. It is measured
        once, and what was worked out before stays valid."""
        asked = self._analyses
        asked.recording = self._readout.calibrated()
        return asked

    # -- questions -------------------------------------------------------------

    @surviving
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

    @surviving
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
            ['T', 'layer']
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

    @surviving
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

        __tracebackhide__ = True  # pytest and IPython end at the user's line
        if isinstance(x, str | FunctionCall | ModuleCall):
            ident = output_of(self.recording, x)
        else:
            ident = self._id(x, "expect")
        check(self._graph, ident, shape, self._sizes)

    def _id(self, tensor: Any, asked: str) -> int:
        __tracebackhide__ = True
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

    # -- costs -----------------------------------------------------------------

    @surviving
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
            ...         optimizer.zero_grad()
            >>> len(t.steps()), list(t.steps()[0].phases)
            (3, ['forward', 'loss', 'backward', 'optimizer', 'rest'])
        """
        return self._calibrated().steps

    @surviving
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

    @surviving
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

        return memory(self.recording, self.costs)

    @surviving
    def memory_for(self, batch_size: int, *others: Self) -> MemoryEstimate:
        """What a step with a batch of another size will hold at most, in bytes.

        Args:
            batch_size: how many samples, along the dimension that the layers and
                losses of the trace take for the batch, else the first of the inputs.
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

        recordings = [(one.recording, one.costs) for one in (self, *others)]
        return memory_for(batch_size, recordings)

    @surviving
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
