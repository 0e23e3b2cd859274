"""What a recording says once it is asked: each analysis is made when first read."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

from shapetrace.recording.faults import Faults
from shapetrace.records import (
    Broadcast,
    Diagnosis,
    FunctionCall,
    ModuleCall,
    Recording,
)
from shapetrace.records.garbage import uncollected

if TYPE_CHECKING:
    from shapetrace.costs import Costs, Steps
    from shapetrace.lineage import Graph


class Analyses:
    """The analyses of one recording; of a recording that has grown, make new ones.

    `checks` are those that look for findings: all, none, or a set of codes.
    """

    def __init__(
        self,
        recording: Recording,
        checks: bool | Collection[str] = True,
        faults: Faults | None = None,
    ) -> None:
        self.recording = recording
        self._checks = checks
        self._faults = Faults(over=True) if faults is None else faults

    def keep(self, findings: tuple[Diagnosis, ...]) -> None:
        """Take these findings, from a file, in place of looking for them again."""
        failures = [found for found in findings if found.code == "failure"]
        self.findings = findings
        self.failure = failures[0] if failures else None

    @cached_property
    def graph(self) -> Graph:
        from shapetrace.lineage import Graph

        with self._faults.losing("all analyses"):
            return Graph(self.recording)
        return Graph(Recording((), (), {}, {}))

    @cached_property
    def losses(self) -> tuple[FunctionCall, ...]:
        from shapetrace.lineage.loss_calls import losses

        with self._faults.losing("the losses"):
            return losses(self.graph)
        return ()

    @cached_property
    def failure(self) -> Diagnosis | None:
        from shapetrace.diagnosis import diagnose_failure

        with self._faults.losing("the explanation of the failure"):
            return diagnose_failure(self.graph)
        return None

    @cached_property
    def findings(self) -> tuple[Diagnosis, ...]:
        from shapetrace.checks import run_checks

        failure = self.failure
        found: tuple[Diagnosis, ...] = ()
        with self._faults.losing("the findings of the checks"):
            found = run_checks(self.graph, self._checks)
        return ((failure,) if failure else ()) + found

    @cached_property
    def broadcasts(self) -> tuple[Broadcast, ...]:
        from shapetrace.lineage.loss_calls import broadcast_ledger

        with self._faults.losing("the broadcasts"):
            return broadcast_ledger(self.graph)
        return ()

    @cached_property
    def costs(self) -> Costs:
        from shapetrace.costs import costs, unknown_costs

        with self._faults.losing("FLOPs and bytes"):
            return costs(self.recording)
        return unknown_costs(self.recording)

    @cached_property
    def steps(self) -> Steps:
        from shapetrace.costs import Steps, steps

        with self._faults.losing("the steps"):
            return steps(self.recording)
        return Steps(())

    def explain(self, x: FunctionCall | ModuleCall | int | None) -> Diagnosis:
        """Of a call or a tensor's id what it did; of None what is most wrong."""
        with self._faults.losing("an explanation"):
            return self._explained(x)
        message = "a fault of shapetrace's own: this cannot be explained"
        return Diagnosis("unexplained", "note", message, where="")

    @uncollected()
    def _explained(self, x: FunctionCall | ModuleCall | int | None) -> Diagnosis:
        from shapetrace.diagnosis import explain_call, explain_last, explain_tensor

        if isinstance(x, int):
            return explain_tensor(self.graph, x)
        if x is None:
            serious = [found for found in self.findings if found.severity != "note"]
            return serious[0] if serious else explain_last(self.graph, self.losses)
        for found in self.findings:
            same = found.function if isinstance(x, FunctionCall) else found.call
            if same == x.index:
                return found
        return explain_call(self.graph, x)
