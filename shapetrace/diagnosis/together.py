"""Several modules built with the same other setting, by one change of the lines that
build them: what was forgotten for one layer of a decoder was forgotten for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.changes import argument_text, built_otherwise
from shapetrace.diagnosis.hypothesis import Form, Hypothesis, Repair
from shapetrace.source.construction import Construction
from shapetrace.source.rewrite import Part, rewritten

#: the lines from the first that is changed to the last, at most
_LINES = 12


def rebuilt_together(
    case: Case, names: Sequence[str], changes: dict[str, Any], form: Form, words: str
) -> Hypothesis | None:
    """The modules of these names, the one that is to be named first, built otherwise;
    None where their lines are far apart, or torch builds none such."""
    made = [case.constructions.of(name) for name in names]
    known = [one for one in made if one is not None]
    files = {id(one.made.scope.tree) for one in known}
    if len(known) != len(names) or len(files) != 1 or _apart(known):
        return None
    built = [name for one in known for name in case.constructions.built_by(one)]
    modules = built_otherwise(case, dict.fromkeys([*names, *built]), changes)
    if modules is None or any(info is None for info in modules.values()):
        return None
    repair = Repair(modules={n: i for n, i in modules.items() if i is not None})
    outcome = case.replay.start(repair)
    if outcome is None:
        return None
    parts: list[Part] = []
    for one in known:
        texts = {k: argument_text(case, one, k, value) for k, value in changes.items()}
        own = one.parts(**texts)
        if own is None:
            return None
        parts += own
    calls = [one.call for one in known]
    line, where = rewritten(known[0].made.scope.tree, parts, *calls)
    return Hypothesis(
        form,
        case.site_named(names[0]),
        repair,
        case.hops_to(names[0]),
        line,
        where,
        f"{words}, in {'both' if len(modules) == 2 else f'all {len(modules)}'}",
        outcome=outcome,
    )


def _apart(known: Sequence[Construction]) -> bool:
    lines = [one.call.lineno for one in known]
    return max(lines) - min(lines) > _LINES
