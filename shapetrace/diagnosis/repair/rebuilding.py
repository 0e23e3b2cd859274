"""Modules built with other arguments: one, and with it all that its line builds, or
several of a way, where what was forgotten for one was forgotten for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import (
    UNWRITTEN,
    Form,
    Hypothesis,
    Outcome,
    Repair,
    Written,
)
from shapetrace.records import ModuleInfo
from shapetrace.source.build_line import placed
from shapetrace.source.construction import Construction
from shapetrace.source.constructor import all_changed, constructor
from shapetrace.source.rewrite import Part, rewritten
from shapetrace.source.sizes import reworded

#: the lines from the first that is changed to the last, at most
_LINES = 12


def rebuilt(
    case: Case, name: str, changes: dict[str, Any], form: Form, words: str = ""
) -> Hypothesis | None:
    """A module built with other arguments, and with it all that its line builds."""
    info = case.graph.rec.modules.get(name)
    if info is None:
        return None
    words = words or ", ".join(
        f"{key}={value} instead of {info.attributes.get(key)}"
        for key, value in changes.items()
    )
    made = case.graph.constructions.of(name)
    if made is None:
        text = constructor(info, **changes)
        new = built_otherwise(case, (name,), changes)
        if new is None:
            return None
        return installed(case, info, text, new[name], form, words)
    names = case.graph.constructions.built_by(made) or (name,)
    new = built_otherwise(case, names, changes)
    if new is None:
        return None
    modules = {one: info for one, info in new.items() if info is not None}
    repair = Repair(modules=modules) if len(modules) == len(new) else None
    outcome = None if repair is None else case.replay.start(repair)
    if repair is not None and outcome is None:
        return _alone(case, info, changes, new[name], form, words, names)
    texts = {
        key: argument_text(case, made, key, value) for key, value in changes.items()
    }
    line, where = made.changed(**texts) or UNWRITTEN
    if len(names) > 1 and repair is not None and outcome is not None:
        if not outcome.broke:
            outcome = case.replay.read(repair, outcome, line, where)
        if outcome is not None and outcome.status == "moved":
            alone = _alone(case, info, changes, new[name], form, words, names)
            if alone is not None:
                return alone
    if not line and len(names) == 1:
        whole = constructor(info, **changes)
        if whole is not None and name:
            line, where = placed(case.graph.constructions, info, whole)
    if len(names) > 1:
        words += f", in all {len(names)} that the line builds"
    return of_module(case, name, form, repair, (line, where), words, outcome)


def of_module(
    case: Case,
    name: str,
    form: Form,
    repair: Repair | None,
    written: Written,
    words: str,
    outcome: Outcome | None,
) -> Hypothesis:
    """What a module, or others with it, could have been meant to be."""
    site, hops = case.site_named(name), case.hops_to(name)
    return Hypothesis(form, site, repair, hops, *written, words, outcome=outcome)


def _alone(
    case: Case,
    info: ModuleInfo,
    changes: dict[str, Any],
    new: ModuleInfo | None,
    form: Form,
    words: str,
    names: Sequence[str],
) -> Hypothesis | None:
    """Of several modules that one line builds, one alone: the line is right for the
    others. None where that does not mend it."""
    if len(names) < 2:
        return None
    text = constructor(info, **changes)
    alone = installed(case, info, text, new, form, words)
    if alone is None or alone.outcome is None:
        return None
    return alone if alone.outcome.status == "verified" else None


def built_otherwise(
    case: Case, names: Iterable[str], changes: dict[str, Any]
) -> dict[str, ModuleInfo | None] | None:
    """The modules built with other arguments; None where torch builds none such."""
    try:
        return all_changed((case.graph.rec.modules[one] for one in names), **changes)
    except ValueError:
        return None


def argument_text(case: Case, made: Construction, key: str, value: Any) -> str:
    """A new value in the words that the old one was written in."""
    old = made.argument(key)
    if old is not None and type(value) is int:
        return reworded(old, value, case.graph.constructions.scopes)
    if isinstance(value, (tuple, list)) and len(set(value)) == 1:
        value = value[0]
    return repr(value)


def installed(
    case: Case,
    info: ModuleInfo,
    text: str | None,
    new: ModuleInfo | None,
    form: Form,
    words: str,
) -> Hypothesis | None:
    """`text` where the module is built, which then is `new`."""
    repair = None if new is None else Repair(modules={info.name: new})
    outcome = None if repair is None else case.replay.start(repair)
    if repair is not None and outcome is None:
        return None
    line, where = UNWRITTEN
    if text is not None and info.name:
        line, where = placed(case.graph.constructions, info, text)
    return of_module(case, info.name, form, repair, (line, where), words, outcome)


def rebuilt_together(
    case: Case, names: Sequence[str], changes: dict[str, Any], form: Form, words: str
) -> Hypothesis | None:
    """The modules of these names, the one that is to be named first, built otherwise;
    None where their lines are far apart, or torch builds none such."""
    made = [case.graph.constructions.of(name) for name in names]
    known = list({id(one.call): one for one in made if one is not None}.values())
    files = {id(one.made.scope.tree) for one in known}
    if None in made or len(files) != 1 or len(known) < 2 or _apart(known):
        return None
    built = [name for one in known for name in case.graph.constructions.built_by(one)]
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
    return of_module(
        case,
        names[0],
        form,
        repair,
        (line, where),
        f"{words}, in {'both' if len(modules) == 2 else f'all {len(modules)}'}",
        outcome,
    )


def _apart(known: Sequence[Construction]) -> bool:
    lines = [one.call.lineno for one in known]
    return max(lines) - min(lines) > _LINES
