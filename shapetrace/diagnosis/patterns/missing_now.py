"""What earlier batches brought to the failing call, and this one did not: an argument
that was left out, so that a branch of the code joined nothing to the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import Site
from shapetrace.diagnosis.once import once
from shapetrace.diagnosis.sites import site_of_data
from shapetrace.lineage import Call
from shapetrace.lineage.pairs import earlier_call
from shapetrace.records import FunctionCall, TensorRef


class Missing(NamedTuple):
    """Data that a call joined to the rest in an earlier batch."""

    site: Site
    joined: FunctionCall
    ref: TensorRef


@once
def missing_now(case: Case) -> list[Missing]:
    return list(_missing(case))


def _missing(case: Case) -> Iterator[Missing]:
    good = earlier_call(case.graph, case.call) if case.call.index >= 0 else None
    then = {ref.path: ref for ref in good.inputs} if good is not None else {}
    for ref in case.call.inputs:
        before = then.get(ref.path)
        if before is None or case.graph.is_parameter(ref.id):
            continue
        joined, now = case.graph.producer(before.id), case.graph.producer(ref.id)
        if not isinstance(joined, FunctionCall):
            continue
        # what is taken as it is now was joined with something then
        rest = [
            each
            for each in joined.inputs
            if not _same_place(case.graph.producer(each.id), now)
        ]
        if now is None or len(rest) == len(joined.inputs):
            continue
        for each in rest:
            if not case.graph.from_model(each.id):
                yield Missing(site_of_data(case.graph, each.id), joined, each)


def _same_place(one: Call | None, two: Call | None) -> bool:
    if one is None or two is None:
        return False
    return (one.name, one.source) == (two.name, two.source)
