"""A long run as a whole: each module over all its calls, also those that were not
kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from shapetrace.records import Recording
from shapetrace.source.spoken import spoken
from shapetrace.views import words
from shapetrace.views.folding import without_parameters

TITLES = ("module", "calls", "total ms", "self ms", "share", "median ms", "p95 ms")

#: those that took most by themselves; the table by module has all
_MOST = 12


class WholeRun(NamedTuple):
    """A sentence, rows of `TITLES`, and what they leave out."""

    head: str
    rows: Sequence[tuple[str, ...]]
    rest: str


def whole_run(rec: Recording) -> WholeRun | None:
    """None where every call was kept, or the first ones were dropped."""
    if rec.left_out is None:
        return None
    from shapetrace.costs import statistics

    found = statistics(rec, names=_names(rec))
    whole = sum(one.own_ns for one in found.values())
    order = sorted(found.values(), key=lambda one: -one.own_ns)
    rows = [
        (
            spoken(rec.called, one.name) or words.ROOT,
            f"{one.calls:,}",
            words.milliseconds(one.total_ns),
            words.milliseconds(one.own_ns),
            words.percent(one.own_ns, whole),
            words.milliseconds(one.median_ns),
            words.milliseconds(one.p95_ns),
        )
        for one in order[:_MOST]
    ]
    calls = len(rec.calls) + rec.left_out.calls
    head = f"The whole run, {words.plural(calls, 'module call')}"
    steps = rec.left_out.steps
    if steps is not None:
        from shapetrace.costs.statistics import quantile

        usual = quantile(steps.spread.items(), 0.5)
        head += f" (a step of the optimizer every {words.milliseconds(usual)} ms)"
    left = len(order) - len(rows)
    rest = ""
    if left:
        own = sum(one.own_ns for one in order[_MOST:])
        rest = f"… and {words.plural(left, 'more module')}"
        rest += f", {words.milliseconds(own)} ms by themselves"
    return WholeRun(f"{head}:", rows, rest)


def _names(rec: Recording) -> list[str]:
    """Of each call that of its module; of a loss or a transform that is made anew for
    each batch its type, as in the figures of those that were not kept."""
    known = without_parameters(rec) - set(rec.left_out.modules if rec.left_out else ())
    counts = Counter(call.name for call in rec.calls if call.parent is None)
    once = {name for name in known if counts[name] == 1}
    return [
        call.type if call.name.partition(".")[0] in once else call.name
        for call in rec.calls
    ]
