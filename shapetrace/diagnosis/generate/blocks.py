"""Several layers built for another number: what one of them is told its size by and
others follow, and those beside it that were told the same."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import Form, Hypothesis, Repair
from shapetrace.diagnosis.patterns.similar_modules import beside
from shapetrace.diagnosis.repair.rebuilding import of_module, rebuilt_together
from shapetrace.records import ModuleInfo
from shapetrace.source.constructor import changed
from shapetrace.source.integers import Instead, value
from shapetrace.source.rewrite import rewritten
from shapetrace.source.scope import Expression
from shapetrace.source.settings import followers, settings_behind, written_at
from shapetrace.source.sizes import reworded

#: places at which the number may be another
_MOST = 4
#: what blocks make of a number that they are given
_FACTORS = (2, 4, 8)
#: of a number that the source does not say
_MULTIPLE = 4


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
    for number, setting in enumerate(settings_behind(old, finder.scopes)):
        if number >= _MOST:
            return
        has = _number(case, old, setting, case.graph.rec.modules[name].attributes[key])
        if has is None:
            continue
        now = {setting.node: ast.copy_location(ast.Constant(has), setting.node)}
        for text, instead in _others(case, old, setting, has, wanted):
            follow = followers(finder, setting, name, now, instead)
            if follow is None or name not in follow:
                continue
            if sum(map(len, follow.values())) < 2:
                continue  # that argument alone: it was tried
            if not _is_argument(setting) and _homes(case, follow) > 1:
                continue  # a number for the whole of the model
            found = _built(case, name, setting, text, follow, form)
            if found is not None:
                yield found
                break


def _number(
    case: Case, old: Expression, setting: Expression, size: object
) -> int | None:
    """What a setting is: as the source says, or so that an argument that it is for is
    what was recorded."""
    inits = case.graph.constructions.scopes
    known = value(setting, inits)
    if known is not None or not isinstance(size, int):
        return known
    for number in (size, *(size // n for n in _FACTORS), *(size * n for n in _FACTORS)):
        constant = ast.copy_location(ast.Constant(number), setting.node)
        if value(old, inits, {setting.node: constant}) == size:
            return number
    return None


def _others(
    case: Case, old: Expression, setting: Expression, has: int, wanted: int
) -> Iterator[tuple[str, Instead]]:
    """What may be written for a setting for an argument to be `wanted`, and what it is
    then."""
    inits = case.graph.constructions.scopes
    now = ast.copy_location(ast.Constant(has), setting.node)
    is_now = value(old, inits, {setting.node: now})
    tries = [wanted]
    if is_now:
        tries.append(has + wanted - is_now)
        if has * wanted % is_now == 0:
            tries.insert(0, has * wanted // is_now)
    for new in dict.fromkeys(tries):
        if new < 1 or new == has:
            continue
        text = reworded(setting, new, inits)
        if value(setting, inits) is None and new % has == 0 and new // has <= _MULTIPLE:
            plain = isinstance(setting.node, ast.Name | ast.Attribute | ast.Call)
            code = setting.code if plain else f"({setting.code})"
            text = f"{new // has} * {code}"
        node = written_at(text, setting.node)
        if value(old, inits, {setting.node: node}) != wanted:
            node = ast.copy_location(ast.Constant(new), setting.node)
        if value(old, inits, {setting.node: node}) == wanted:
            yield text, {setting.node: node}


def _is_argument(setting: Expression) -> bool:
    around = setting.scope.tree.parents.get(setting.node)
    return isinstance(around, ast.Call | ast.keyword)


def _homes(case: Case, names: Iterable[str]) -> int:
    """How many functions build layers of these names."""
    made = [case.graph.constructions.of(name) for name in names]
    return len({one.made.scope.home for one in made if one is not None})


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
    if outcome is None or outcome.status != "verified":
        return None  # with so much made otherwise a program that may go on says little
    words = f"{text} instead of {setting.code}"
    if len(follow) > 1:
        words += f", which all {len(follow)} layers follow that are built with it"
    return of_module(case, name, form, repair, (line, where), words, outcome)
