"""Several layers built for another number: what one of them is told its size by and
others follow, and those beside it that were told the same."""

from __future__ import annotations

from collections.abc import Iterator

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import Form, Hypothesis, Repair
from shapetrace.diagnosis.rebuilding import rebuilt_together
from shapetrace.diagnosis.similar_modules import beside
from shapetrace.records import ModuleInfo
from shapetrace.source.constructor import changed
from shapetrace.source.integers import value
from shapetrace.source.rewrite import rewritten
from shapetrace.source.scope import Expression
from shapetrace.source.settings import followers, settings_behind, written_at
from shapetrace.source.sizes import reworded

#: places at which the number may be another
_MOST = 4


def blocks(
    case: Case, name: str, key: str, wanted: int, form: Form
) -> Iterator[Hypothesis]:
    """What a layer's argument comes from made otherwise, so that it is `wanted`, with
    all layers that are built with it: where more than the one of them follow."""
    together = _beside(case, name, key, wanted, form)
    if together is not None:
        yield together
    finder = case.graph.constructions
    made = finder.of(name)
    old = made.argument(key) if made is not None else None
    if old is None:
        return
    inits = finder.scopes
    for number, setting in enumerate(settings_behind(old, inits)):
        if number >= _MOST:
            return
        text = _solved(case, old, setting, wanted)
        if text is None:
            continue
        instead = {setting.node: written_at(text, setting.node)}
        follow = followers(finder, setting, name, instead)
        if follow is None or name not in follow:
            continue
        if sum(map(len, follow.values())) < 2:
            continue  # that argument alone: it was tried
        found = _built(case, name, setting, text, follow, form)
        if found is not None:
            yield found


def _beside(
    case: Case, name: str, key: str, wanted: int, form: Form
) -> Hypothesis | None:
    """The layers of a class that one module holds and that are built for one number, as
    the projections of queries, keys and values."""
    modules = case.graph.rec.modules
    has = modules[name].attributes.get(key)
    alike = [
        other
        for other in beside(case.graph, name)
        if modules[other].attributes.get(key) == has
    ]
    if not alike:
        return None
    words = f"{key}={wanted} instead of {has}"
    made = rebuilt_together(case, [name, *alike], {key: wanted}, form, words)
    if made is None or made.repair is None:
        return None
    outcome = case.replay.read(made.repair, made.outcome, made.line, made.where)
    return made if outcome is not None and outcome.status != "moved" else None


def _solved(
    case: Case, old: Expression, setting: Expression, wanted: int
) -> str | None:
    """What is to be written for a setting for an argument to be `wanted`."""
    inits = case.graph.constructions.scopes
    is_now, has = value(old, inits), value(setting, inits)
    if not is_now or has is None:
        return None
    tries = [wanted, has + wanted - is_now]
    if has * wanted % is_now == 0:
        tries.insert(0, has * wanted // is_now)
    for new in dict.fromkeys(tries):
        if new < 1 or new == has:
            continue
        for text in (reworded(setting, new, inits), str(new)):
            instead = {setting.node: written_at(text, setting.node)}
            if value(old, inits, instead) == wanted:
                return text
    return None


def _built(
    case: Case,
    name: str,
    setting: Expression,
    text: str,
    follow: dict[str, dict[str, int]],
    form: Form,
) -> Hypothesis | None:
    modules: dict[str, ModuleInfo] = {}
    for one, changes in follow.items():
        try:
            new = changed(case.graph.rec.modules[one], **changes)
        except ValueError:
            return None
        if new is None:
            return None
        modules[one] = new
    repair = Repair(modules=modules)
    line, where = rewritten(setting.scope.tree, [(setting.node, text)], setting.node)
    outcome = case.replay.run(repair, line, where)
    if outcome is None or outcome.status == "moved":
        return None
    words = f"{text} instead of {setting.code}"
    if len(follow) > 1:
        words += f", which all {len(follow)} layers follow that are built with it"
    return Hypothesis(
        form,
        case.site_named(name),
        repair,
        case.hops_to(name),
        line,
        where,
        words,
        outcome=outcome,
    )
