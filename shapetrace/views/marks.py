"""Which rows of a table are marked, and with what: failures, culprits, findings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from shapetrace.records import Culprit, Diagnosis, Recording
from shapetrace.views import words

FAILURE = "failure"
CULPRIT = "culprit"


class Remark(NamedTuple):
    """A word for a narrow table, and what it means."""

    word: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.word}: {self.meaning}" if self.meaning else self.word


Remarks = dict[int, list[Remark]]


@dataclass(slots=True)
class Marks:
    """The remarks by position in `Recording.calls` and in `Recording.functions`.

    `shown` are the functions that deserve a row of their own.
    """

    calls: Remarks = field(default_factory=lambda: defaultdict(list))
    functions: Remarks = field(default_factory=lambda: defaultdict(list))
    shown: set[int] = field(default_factory=set)


def failure_of(
    findings: Sequence[Diagnosis], failure: Diagnosis | None = None
) -> Diagnosis | None:
    """The failure that was passed, or the one among the findings."""
    if failure is not None:
        return failure
    for finding in findings:
        if finding.severity == "error" and finding.code == FAILURE:
            return finding
    return None


def all_findings(
    findings: Sequence[Diagnosis], failure: Diagnosis | None = None
) -> tuple[Diagnosis, ...]:
    """The failure first, then the findings, none twice."""
    first = failure_of(findings, failure)
    others = tuple(finding for finding in findings if finding is not first)
    if first is None or first in others:
        return others
    return (first, *others)


def marks_of(rec: Recording, findings: Sequence[Diagnosis]) -> Marks:
    marks = Marks()
    if not findings:
        _show_failed_functions(rec, marks, None)
        return marks
    calls = {call.index: at for at, call in enumerate(rec.calls)}
    functions = {made.index: at for at, made in enumerate(rec.functions)}
    by_name: dict[str, list[int]] = defaultdict(list)
    for at, call in enumerate(rec.calls):
        by_name[call.name].append(at)
    preferred = None
    for finding in findings:
        function = None
        if finding.function is not None:
            function = functions.get(finding.function)
        if finding.code == FAILURE:
            preferred = function
        _mark_place(rec, marks, finding, function, calls, by_name)
        for rank, culprit in enumerate(finding.culprits):
            blamed = _culprit_call(rec, finding, culprit, function, calls, by_name)
            if blamed is not None:
                word = CULPRIT if rank == 0 else f"{CULPRIT}?"
                _add(marks.calls[blamed], word, _blame(finding, culprit))
    _show_failed_functions(rec, marks, preferred)
    return marks


def _add(remarks: list[Remark], word: str, meaning: str) -> None:
    if Remark(word, meaning) not in remarks:
        remarks.append(Remark(word, meaning))


def _blame(finding: Diagnosis, culprit: Culprit) -> str:
    """`dim 1 is 73, not 33 (loss:mse_loss)`, as far as it is known."""
    said = []
    if culprit.size is not None:
        said.append("" if culprit.dim is None else f"dim {culprit.dim}")
        said.append(f"is {culprit.size}")
        if culprit.expected is not None:
            said.append(f"instead of {culprit.expected}")
    said.append(f"({words.where(finding)})")
    return " ".join(filter(None, said))


def _mark_place(
    rec: Recording,
    marks: Marks,
    finding: Diagnosis,
    function: int | None,
    calls: dict[int, int],
    by_name: dict[str, list[int]],
) -> None:
    """Mark the function's own row where it has one, else the call around it."""
    if function is not None:
        call = rec.functions[function]
        if not finding.where.startswith("module:") and (
            call.direct or call.parent is None
        ):
            marks.shown.add(function)
            _add(marks.functions[function], finding.code, finding.message)
            return
        if call.parent in calls:
            _add(marks.calls[calls[call.parent]], finding.code, finding.message)
            return
    if finding.call is not None and finding.call in calls:
        _add(marks.calls[calls[finding.call]], finding.code, finding.message)
    elif finding.module is not None and by_name.get(finding.module):
        first = by_name[finding.module][0]
        _add(marks.calls[first], finding.code, finding.message)


def _culprit_call(
    rec: Recording,
    finding: Diagnosis,
    culprit: Culprit,
    function: int | None,
    calls: dict[int, int],
    by_name: dict[str, list[int]],
) -> int | None:
    """The culprit's call: the one in the lineage, else its last before the finding."""
    if culprit.kind != "module":
        return None
    for step in finding.lineage:
        if step.call in calls and step.call is not None:
            at = calls[step.call]
            if rec.calls[at].name == culprit.name:
                return at
    limit = None if function is None else rec.functions[function].order
    before = [
        at
        for at in by_name.get(culprit.name, ())
        if limit is None or rec.calls[at].order <= limit
    ]
    return before[-1] if before else None


def _show_failed_functions(rec: Recording, marks: Marks, preferred: int | None) -> None:
    """A row for each failing function that no `torch.nn` layer's row stands for.

    One exception may pass through several functions (`mse_loss` calls
    `broadcast_tensors`): the diagnosed one has the row, else the outermost.
    """
    seen: set[int] = set()
    if preferred is not None and preferred in marks.shown:
        error = rec.functions[preferred].error
        if error is not None and error.id:
            seen.add(error.id)
    for at, call in enumerate(rec.functions):
        if call.error is None or not (call.direct or call.parent is None):
            continue
        if call.error.id and call.error.id in seen:
            continue
        seen.add(call.error.id)
        marks.shown.add(at)
