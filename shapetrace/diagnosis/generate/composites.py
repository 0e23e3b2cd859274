"""Layers that a composite of torch's own builds, such as the attention of an
`nn.TransformerEncoderLayer`: what they are built with stands where that is built."""

from __future__ import annotations

import ast
from typing import Any

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import UNWRITTEN, Hypothesis, Repair, Written
from shapetrace.records import ModuleInfo
from shapetrace.source.constructor import changed, parameters
from shapetrace.source.line import keyword
from shapetrace.source.rewrite import rewritten
from shapetrace.source.scope import nodes
from shapetrace.source.tree import last_name


def composite(case: Case, info: ModuleInfo, key: str) -> ModuleInfo | None:
    """The layer of torch's own around a module that hands an argument on to it."""
    name = info.name
    while "." in name:
        name = name.rpartition(".")[0]
        outer = case.graph.rec.modules.get(name)
        if outer is None or not outer.qualname.startswith("torch.nn.modules."):
            return None
        if any(one == key for one, _, _ in parameters(outer.qualname) or ()):
            return outer
    return None


def built_in_composite(
    case: Case, info: ModuleInfo, outer: ModuleInfo, key: str, value: Any
) -> Hypothesis | None:
    """The composite built with another argument, and all copies of it that stand in one
    container, as `nn.TransformerEncoder` makes them of the one that it is given."""
    container = outer.name.rpartition(".")[0]
    modules: dict[str, ModuleInfo] = {}
    for name, other in case.graph.rec.modules.items():
        holder = composite(case, other, key)
        if holder is None or key not in other.attributes or holder.type != outer.type:
            continue
        if holder.name.rpartition(".")[0] == container:
            new = changed(other, **{key: value})
            if new is None:
                return None
            modules[name] = new
    repair = Repair(modules=modules)
    outcome = case.replay.start(repair)
    if outcome is None:
        return None
    line, where = _where_built(case, outer, key, value)
    return Hypothesis(
        "setting",
        case.site_named(info.name),
        repair,
        case.hops_to(info.name),
        line,
        where,
        f"{key}={value} for the {outer.type}",
        outcome=outcome,
    )


def _where_built(case: Case, outer: ModuleInfo, key: str, value: Any) -> Written:
    """The one call that builds such a layer in the class that holds it."""
    name = outer.name
    while name:
        name = name.rpartition(".")[0]
        for scope in case.graph.constructions.scopes(name):
            found = [
                node
                for node, _ in nodes(scope.home)
                if isinstance(node, ast.Call) and last_name(node.func) == outer.type
            ]
            if len(found) == 1:
                part = keyword(scope.tree, found[0], key, repr(value))
                if part is not None:
                    return rewritten(scope.tree, [part], found[0])
            if found:
                return UNWRITTEN
    return UNWRITTEN
