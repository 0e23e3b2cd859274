"""A result that has a name and that no line reads, where a call is given another: the
features of a network computed, and its input flattened for the classifier."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.generate.own_calls import own_calls
from shapetrace.diagnosis.generate.swapped import standing_for
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.repair.changes import edited_at
from shapetrace.diagnosis.sites import site_of_call, site_of_module
from shapetrace.lineage import Call
from shapetrace.records import FunctionCall, ModuleCall, TensorRef
from shapetrace.signatures import is_method
from shapetrace.source.line import Line, find
from shapetrace.source.scope import nodes
from shapetrace.source.tree import is_own

#: modules of the user's around and behind the failure whose arguments are looked at
_MODULES = 6


class _Unread(NamedTuple):
    """A name that a function gives a call's result, and never reads."""

    name: str
    value: ast.expr
    item: int | None


def unread(case: Case) -> Iterator[Hypothesis | None]:
    """Each such result in the place of what the calls behind the failure are given."""
    for call in _taking(case):
        line = find(call.source)
        names = _never_read(line) if line is not None else []
        if line is None or not names:
            continue
        made = {one.name: _result(case, call, line, one) for one in names}
        for ref in call.inputs:
            own = isinstance(call, FunctionCall) and is_method(call)
            node = line.argument(ref.path, own)
            if not isinstance(node, ast.Name):
                continue
            for name, other in made.items():
                if other is not None:
                    words = f"takes `{name}`, which nothing else reads"
                    edit = standing_for(other, name, words)
                    site = site_of_call(case.graph, call)
                    if isinstance(call, ModuleCall):
                        site = site_of_module(call)
                    found = edited_at(case, call, ref, edit, "name", site)
                    reason = (
                        f"is given {ref.shape}; `{name}`, {other.shape}, is not read"
                    )
                    yield found and replace(found, reason=reason)


def _taking(case: Case) -> Iterator[Call]:
    """The user's calls that are given tensors by names: functions, and modules."""
    yield from own_calls(case)
    found: list[ModuleCall] = []
    if case.layer is not None:
        written = [case.written(case.layer, ref.id) for ref in case.layer.inputs]
        found += [one for one in written[:1] if one is not None]
    found += [b.call for b in case.behind if isinstance(b.call, ModuleCall)]
    yield from [one for one in found if is_own(one.source)][:_MODULES]


def _never_read(line: Line) -> list[_Unread]:
    """The names that the function around a line gives a value, and that are read
    nowhere."""
    home = line.file.home(line.node)
    read, given = set(), []
    for node, _ in nodes(home):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            read.add(node.id)
        if isinstance(node, ast.Assign):
            target = node.targets[0]
            if isinstance(target, ast.Name):
                given.append(_Unread(target.id, node.value, None))
            elif isinstance(target, ast.Tuple):
                given += [
                    _Unread(each.id, node.value, at)
                    for at, each in enumerate(target.elts)
                    if isinstance(each, ast.Name)
                ]
    return [
        one for one in given if one.name not in read and not one.name.startswith("_")
    ]


def _result(case: Case, call: Call, line: Line, one: _Unread) -> TensorRef | None:
    """The tensor that stood under a name when the call was made."""
    place = line.file.place(one.value)
    rec = case.graph.rec
    calls: tuple[Call, ...] = (*rec.functions, *rec.calls)
    made = [
        other
        for other in calls
        if other.parent == call.parent
        and other.order < call.order
        and other.source is not None
        and (other.source.line, other.source.column) == (place.line, place.column)
        and other.source.file == place.file
        and other.source.end_column == place.end_column
    ]
    outputs = made[-1].outputs or () if made else ()
    path = "output" if one.item is None else f"output[{one.item}]"
    found = next((ref for ref in outputs if ref.path == path), None)
    return found if found is not None and found.shape else None
