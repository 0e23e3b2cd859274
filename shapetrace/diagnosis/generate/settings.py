"""A layer built with another setting: the layout that it takes, how many layers,
directions, heads or groups it has."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.generate.composites import built_in_composite, composite
from shapetrace.diagnosis.hypothesis import Hypothesis, Repair
from shapetrace.diagnosis.patterns.similar_modules import beside
from shapetrace.diagnosis.repair.rebuilding import rebuilt
from shapetrace.diagnosis.sites import site_of_module
from shapetrace.records import ModuleCall, ModuleInfo
from shapetrace.source.line import find

_RECURRENT = ("RNN", "LSTM", "GRU")
#: what is written side by side, and gets in the wrong order
_SIZES = (
    ("in_features", "out_features"),
    ("in_channels", "out_channels"),
    ("num_embeddings", "embedding_dim"),
    ("input_size", "hidden_size"),
)


def settings(case: Case) -> Iterator[Hypothesis | None]:
    if (indices := case.indices) is not None and indices[0] < 0:
        return  # no layer, however built, has a row or a class below 0
    seen: set[str] = set()
    modules: list[ModuleCall] = [case.layer] if case.layer is not None else []
    modules += [b.call for b in case.behind if isinstance(b.call, ModuleCall)]
    for call in modules:
        info = case.graph.rec.modules.get(call.name)
        if info is None or call.name in seen:
            continue
        seen.add(call.name)
        yield from _another_called(case, call, info)
        for changes, reason in _others(case, call, info):
            key, value = next(iter(changes.items()))
            outer = composite(case, info, key) if len(changes) == 1 else None
            if outer is not None:
                made = built_in_composite(case, info, outer, key, value)
            else:
                made = rebuilt(case, info.name, changes, "setting")
            yield made and replace(made, reason=reason)


def _others(
    case: Case, call: ModuleCall, info: ModuleInfo
) -> Iterator[tuple[dict[str, Any], str]]:
    first = info.attributes.get("batch_first")
    rank = len(call.inputs[0].shape) if call.inputs else 0
    if type(first) is bool and rank == 3:
        order = "(batch, time, features)" if first else "(time, batch, features)"
        yield {"batch_first": not first}, f"takes {order} (batch_first={first})"
    roles = {spot.role for spot in case.mismatch.spots}
    if info.type in _RECURRENT and "batch" not in roles:  # no samples come of those
        layers = info.attributes.get("num_layers", 1)
        both = bool(info.attributes.get("bidirectional"))
        for other in {1, 2, _states(call)} - {layers, 0}:
            yield {"num_layers": other}, f"has num_layers={layers}"
        yield {"bidirectional": not both}, f"has bidirectional={both}"
    for one, two in _SIZES:
        a, b = info.attributes.get(one), info.attributes.get(two)
        if isinstance(a, int) and isinstance(b, int) and a != b:
            yield {one: b, two: a}, f"has {one}={a} and {two}={b}"
    groups = info.attributes.get("groups")
    if isinstance(groups, int) and groups > 1:
        yield {"groups": 1}, f"has groups={groups}"
    ceil = info.attributes.get("ceil_mode")
    if type(ceil) is bool:
        yield {"ceil_mode": not ceil}, f"has ceil_mode={ceil}"
    for name in ("start_dim", "end_dim", "dim"):
        value = info.attributes.get(name)
        if isinstance(value, int) and rank:
            for other in range(rank):
                if other != value % rank:
                    yield {name: other}, f"has {name}={value}"


def _states(call: ModuleCall) -> int:
    """How many layers the state has that a recurrent layer was given."""
    states = call.inputs[1:2]
    return states[0].shape[0] if states and states[0].shape else 0


def _another_called(
    case: Case, call: ModuleCall, info: ModuleInfo
) -> Iterator[Hypothesis | None]:
    """Another layer of the same kind, held beside the one that was called: `self.up2`
    where `self.up1` stands."""
    line = find(call.source)
    tree = line.tree if line is not None else None
    if line is None or not isinstance(tree, ast.Call):
        return
    attribute = info.name.rpartition(".")[2]
    func = tree.func
    if not isinstance(func, ast.Attribute) or func.attr != attribute:
        return
    for name in beside(case.graph, info.name):
        other = case.graph.rec.modules[name]
        text = f"{line.text(func.value)}.{name.rpartition('.')[2]}"
        yield Hypothesis(
            "layer",
            site_of_module(call),
            Repair(instead={one.index: other for one in case.calls_of_line(call)}),
            0 if call is case.layer else 1,
            line.with_part(func, text),
            line.source,
            f"calls `{case.graph.said(name)}`",
            reason=f"is called where `{case.graph.said(name)}` may be meant",
        )
