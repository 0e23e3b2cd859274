"""Two tensors that a module was handed in each other's place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import combinations

import torch

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.hypothesis import UNWRITTEN, Hypothesis, Repair, Taken
from shapetrace.diagnosis.repair.edits import Edit
from shapetrace.diagnosis.sites import site_of_module
from shapetrace.lineage import Call
from shapetrace.records import ModuleCall, TensorRef
from shapetrace.source.line import find
from shapetrace.source.scope import Scope
from shapetrace.source.tree import is_own, last_name

#: arguments that may have been meant for one another
_MOST = 4


def swapped(case: Case) -> Iterator[Hypothesis | None]:
    """Every pair of arguments of the modules around the failing call."""
    call = case.layer or case.graph.module_of(case.call)
    while call is not None:
        given = [ref for ref in call.inputs if ref.path.count("[") == 1][:_MOST]
        if call.source is not None and is_own(call.source):
            for a, b in combinations(given, 2):
                if a.id != b.id and a.shape != b.shape:
                    yield _exchanged(case, call, a, b)
        call = case.graph.rec.calls[call.parent] if call.parent is not None else None


def _exchanged(
    case: Case, call: ModuleCall, a: TensorRef, b: TensorRef
) -> Hypothesis | None:
    taken = [
        Taken(one.id, standing_for(other), call.order, call.end_order)
        for one, other in ((a, b), (b, a))
    ]
    repair = Repair(taken=tuple(taken))
    outcome = case.replay.start(repair)
    if outcome is None or outcome.broke:
        return None
    line, where = UNWRITTEN
    found = find(call.source)
    if found is not None:
        nodes = found.argument(a.path), found.argument(b.path)
        if None in nodes and any(ref.path.startswith("kwargs") for ref in (a, b)):
            return None  # `**batch`: each under its own name
        if nodes[0] is not None and nodes[1] is not None:
            if _named_so(case, call, {a.path: nodes[0], b.path: nodes[1]}):
                return None
            line, where = found.swapped(nodes[0], nodes[1]), found.source
    return Hypothesis(
        "exchange",
        site_of_module(call),
        repair,
        line=line,
        where=where,
        words="exchanges the two arguments",
        reason=f"is given {a.shape} and {b.shape}, each in the place of the other",
        outcome=outcome,
    )


def _named_so(case: Case, call: ModuleCall, nodes: dict[str, ast.expr]) -> bool:
    """Whether an argument bears the name of the parameter that takes it, so that it is
    in its place: `self.conv(x, mask)` of a `forward(self, x, mask)`, or `mask=mask`."""
    taking = {path: path[8:-2] for path in nodes if path.startswith("kwargs['")}
    taking |= _parameters(case, call)
    return any(
        # one `mask` of several `masks`
        path in taking and last_name(node).rstrip("s") == taking[path].rstrip("s")
        for path, node in nodes.items()
    )


def _parameters(case: Case, call: ModuleCall) -> dict[str, str]:
    """The names of the arguments of the user's `forward`, by their paths."""
    rec = case.graph.rec
    inside: tuple[Call, ...] = (*rec.functions, *rec.calls)
    own = (one.source for one in inside if one.parent == call.index)
    line = next((found for found in map(find, own) if found is not None), None)
    if line is None:
        return {}
    home = line.file.home(line.node)
    if getattr(home, "name", "") != "forward":
        return {}
    names = [arg.arg for arg in Scope(line.file, home).parameters()][1:]
    return {f"args[{at}]": name for at, name in enumerate(names)}


def standing_for(other: TensorRef, text: str = "{}", words: str = "") -> Edit:
    """Another tensor in the place of one, by the name in `text`."""

    def act(t: torch.Tensor) -> torch.Tensor:
        return t.new_empty(other.shape, dtype=other.dtype)

    return Edit(text, act, words)
