"""What a recording says once it is asked: each analysis is made when first read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from shapetrace.errors import telling
from shapetrace.recording.faults import Faults, is_meant, may_pass
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

T = TypeVar("T")


class analysis(Generic[T]):
    """A property that is worked out once. A fault of ours costs what is `lost`, and
    `without` is given in its place; also where an import fails, as they all do while no
    file can be opened: then it is tried again when it is next read."""

    def __init__(self, lost: str, without: Callable[[Analyses], T]) -> None:
        self._lost = lost
        self._without = without

    def __call__(self, work_out: Callable[[Any], T]) -> analysis[T]:
        self._work_out = work_out
        self._name = work_out.__name__
        return self

    @overload
    def __get__(self, asked: None, owner: Any) -> analysis[T]: ...

    @overload
    def __get__(self, asked: Analyses, owner: Any) -> T: ...

    def __get__(self, asked: Analyses | None, owner: Any) -> analysis[T] | T:
        if asked is None:
            return self
        try:
            with telling(asked.faults.add):
                made = self._work_out(asked)
            # found there from now on, before this is
            vars(asked)[self._name] = made
            return made
        except Exception as fault:
            # of any kind: what is ours costs this analysis, and none of the others
            if is_meant(fault):
                raise
            asked.faults.add(self._lost, fault)
            made = self._without(asked)
            if not may_pass(fault):
                vars(asked)[self._name] = made
            return made


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
        self.faults = Faults(over=True) if faults is None else faults

    def keep(self, findings: tuple[Diagnosis, ...]) -> None:
        """Take these findings, from a file, in place of looking for them again."""
        failures = [found for found in findings if found.code == "failure"]
        vars(self)["findings"] = findings
        vars(self)["failure"] = failures[0] if failures else None

    @analysis("all analyses", lambda self: _empty_graph())
    def graph(self) -> Graph:
        from shapetrace.lineage import Graph

        return Graph(self.recording)

    @analysis[tuple[FunctionCall, ...]]("the losses", lambda self: ())
    def losses(self) -> tuple[FunctionCall, ...]:
        from shapetrace.lineage.loss_calls import losses

        return losses(self.graph)

    @analysis[Diagnosis | None]("the explanation of the failure", lambda self: None)
    def failure(self) -> Diagnosis | None:
        from shapetrace.diagnosis import diagnose_failure

        return diagnose_failure(self.graph)

    @analysis[tuple[Diagnosis, ...]](
        "the findings of the checks",
        lambda self: (self.failure,) if self.failure else (),
    )
    def findings(self) -> tuple[Diagnosis, ...]:
        from shapetrace.checks import run_checks

        found = run_checks(self.graph, self._checks)
        return ((self.failure,) if self.failure else ()) + found

    @analysis[tuple[Broadcast, ...]]("the broadcasts", lambda self: ())
    def broadcasts(self) -> tuple[Broadcast, ...]:
        from shapetrace.lineage.loss_calls import broadcast_ledger

        return broadcast_ledger(self.graph)

    @analysis("FLOPs and bytes", lambda self: _no_costs(self.recording))
    def costs(self) -> Costs:
        from shapetrace.costs import costs

        return costs(self.recording)

    @analysis("the steps", lambda self: _no_steps())
    def steps(self) -> Steps:
        from shapetrace.costs import steps

        return steps(self.recording)

    def explain(self, x: FunctionCall | ModuleCall | int | None) -> Diagnosis:
        """Of a call or a tensor's id what it did; of None what is most wrong."""
        try:
            with telling(self.faults.add):
                return self._explained(x)
        except Exception as fault:
            # of any kind: what is ours costs this explanation, and is told
            if is_meant(fault):
                raise
            self.faults.add("an explanation", fault)
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


def _empty_graph() -> Graph:
    from shapetrace.lineage import Graph

    return Graph(Recording((), (), {}, {}))


def _no_costs(recording: Recording) -> Costs:
    from shapetrace.costs import unknown_costs

    return unknown_costs(recording)


def _no_steps() -> Steps:
    from shapetrace.costs import Steps

    return Steps(())
