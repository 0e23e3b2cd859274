"""What a recording says once it is asked: each analysis is made when first read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar

from shapetrace.records import (
    Broadcast,
    Diagnosis,
    FunctionCall,
    ModuleCall,
    Recording,
)

if TYPE_CHECKING:
    from shapetrace.costs import Costs
    from shapetrace.lineage import Graph

T = TypeVar("T")


class Analyses(ABC):
    """The analyses of a recording that may still grow: a grown one empties
    `_analysed`."""

    _checks: bool | Collection[str]
    _analysed: dict[str, Any]

    @property
    @abstractmethod
    def recording(self) -> Recording:
        """All records as one plain value, as far as the batch has got."""

    @abstractmethod
    def _calibrate(self) -> None:
        """Put the tracer's own cost into the recording, where it can be measured."""

    @abstractmethod
    def _id(self, tensor: Any, asked: str) -> int:
        """The id of a live tensor of the batch; a UsageError for anything else."""

    def _once(self, key: str, make: Callable[[Recording], T]) -> T:
        rec = self.recording
        if key not in self._analysed:
            self._analysed[key] = make(rec)
        made: T = self._analysed[key]
        return made

    @property
    def _graph(self) -> Graph:
        from shapetrace.lineage import Graph

        return self._once("graph", Graph)

    @property
    def losses(self) -> tuple[FunctionCall, ...]:
        """The loss calls, and the calls that made a custom loss `.backward()` was
        called on."""
        from shapetrace.lineage.loss_calls import losses

        return self._once("losses", lambda _: losses(self._graph))

    @property
    def failure(self) -> Diagnosis | None:
        """The diagnosis of the call that raised, or None."""
        from shapetrace.diagnosis import diagnose_failure

        return self._once("failure", lambda _: diagnose_failure(self._graph))

    @property
    def findings(self) -> tuple[Diagnosis, ...]:
        """Everything found wrong or suspicious, the failure first."""
        from shapetrace.checks import run_checks

        def find(_: Recording) -> tuple[Diagnosis, ...]:
            failure = self.failure
            found = run_checks(self._graph, self._checks)
            return ((failure,) if failure else ()) + found

        return self._once("findings", find)

    @property
    def broadcasts(self) -> tuple[Broadcast, ...]:
        """Every implicit expansion of the batch."""
        from shapetrace.lineage.loss_calls import broadcast_ledger

        return self._once("broadcasts", lambda _: broadcast_ledger(self._graph))

    @property
    def costs(self) -> Costs:
        """FLOPs, bytes and corrected times of every call; made when first read."""
        from shapetrace.costs import costs

        self._calibrate()
        return self._once("costs", costs)

    def explain(self, x: Any = None) -> Diagnosis:
        """Where it went wrong; with a tensor or a call, how that came about.

        Args:
            x: a tensor of the batch, a `FunctionCall` or `ModuleCall` of this trace;
                None: the failure, else the first finding, else the last loss call.

        Raises:
            UsageError: if `x` is none of these or was not seen in this trace.
        """
        from shapetrace.diagnosis import explain_call, explain_last, explain_tensor

        graph = self._graph
        if x is None:
            serious = [f for f in self.findings if f.severity != "note"]
            return serious[0] if serious else explain_last(graph, self.losses)
        if isinstance(x, (FunctionCall, ModuleCall)):
            for finding in self.findings:
                same = finding.function if isinstance(x, FunctionCall) else finding.call
                if same == x.index:
                    return finding
            return explain_call(graph, x)
        return explain_tensor(graph, self._id(x, "explain"))
