"""Traces as pandas DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from shapetrace.errors import UsageError
from shapetrace.records import Broadcast, Diagnosis, Recording
from shapetrace.records.garbage import uncollected
from shapetrace.views import words
from shapetrace.views.columns import Column, Context, Group, of_frame
from shapetrace.views.groups import GROUPINGS
from shapetrace.views.marks import FAILURE, all_findings, failure_of, marks_of
from shapetrace.views.series import series
from shapetrace.views.totals import TOTALS
from shapetrace.views.totals import broadcasts as ledger_of

if TYPE_CHECKING:
    import pandas

    from shapetrace.costs import Costs


@uncollected()
def frame(
    rec: Recording,
    findings: Sequence[Diagnosis] = (),
    by: str = "call",
    *,
    broadcasts: Sequence[Broadcast] = (),
    costs: Costs | None = None,
) -> pandas.DataFrame:
    """One row per module call, module, function call, implicit expansion, type of
    module, repeated block or line of code.

    Shapes are tuples, times milliseconds; without timing there are no columns for
    it. What was found is in the column `finding`, and as text in `.attrs`. Columns of
    FLOPs, bytes and corrected times come with `costs`.
    """
    findings = all_findings(findings)
    if by in GROUPINGS:
        kind, group = GROUPINGS[by]
        context = Context(rec, (lambda: costs) if costs is not None else None)
        columns = of_frame(kind, context, costs=costs is not None)
        made = _frame(columns, group(rec, marks_of(rec, findings)), context)
    elif by in TOTALS:
        made = TOTALS[by](rec, costs if costs is not None else Context(rec).costs)
    elif by == "broadcast":
        made = ledger_of(broadcasts)
    else:
        choices = ", ".join(map(repr, [*GROUPINGS, "broadcast", *TOTALS]))
        raise UsageError(f"there is no frame by {by!r}: by= takes one of {choices}")
    made.attrs.update(_attributes(rec, findings))
    return made


def _frame(
    columns: Iterable[Column], groups: Sequence[Group], context: Context
) -> pandas.DataFrame:
    """Objects stay tuples, and columns that may lack a number stay whole numbers."""
    import pandas

    return pandas.DataFrame(
        {
            column.name: series(column.of(groups, context), column.dtype)
            for column in columns
        }
    )


def _attributes(rec: Recording, findings: Sequence[Diagnosis]) -> dict[str, Any]:
    """Plain text: pandas copies `attrs` with every frame made from this one."""
    failure = failure_of(findings)
    attributes: dict[str, Any] = {}
    if failure is not None:
        attributes[FAILURE] = str(failure)
    if findings:
        attributes["findings"] = [
            f"{finding.code}: {words.headline(finding)}" for finding in findings
        ]
    if rec.notes:
        attributes["notes"] = list(rec.notes)
    return attributes
