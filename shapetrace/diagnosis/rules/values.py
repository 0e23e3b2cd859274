"""Proposals for what shapes do not tell: values beyond a table, whole containers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from shapetrace.diagnosis.edits import Edit
from shapetrace.diagnosis.hypothesis import Repair
from shapetrace.diagnosis.rules.desk import Candidate, Desk, names_its_input
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import module_function
from shapetrace.source.line import find, suffixed

Found = Iterator[Candidate | None]
_HEAD = re.compile(r"(args\[\d+\]|kwargs\['\w+'\])(.+)")


def table(desk: Desk, name: str, index: TensorRef) -> Found:
    """An index beyond an embedding: more rows; below 0: the padding mapped to a row."""
    span = desk.graph.rec.value_ranges.get(index.id)
    if span is None:
        return
    info = desk.graph.rec.modules.get(name)
    rows = None if info is None else info.attributes.get("num_embeddings")
    if span[0] < 0:
        edit = Edit(
            "{}.clamp(min=0)",
            lambda t: t,
            f"looks up row 0 for {span[0]}; a row of its own is better",
        )
        made = desk.edit(index, edit, "input")
        if made is not None:
            # clamping changes values alone, which no trial on zeros can show
            yield replace(made, repair=None)
        return
    more = desk.rebuild(
        name,
        {"num_embeddings": span[1] + 1},
        f"holds index {span[1]}; {rows} rows end at {(rows or 1) - 1}",
    )
    if more is not None and more.repair is not None:
        yield replace(more, repair=replace(more.repair, holds_values=True))
    else:
        yield more
    if rows is not None and span[0] >= 1 and span[1] - span[0] < rows:
        edit = Edit(f"{{}} - {span[0]}", lambda t: t, "makes the indices start at 0")
        shifted = desk.edit(index, edit, "input")
        if shifted is not None:
            yield replace(shifted, repair=None)


def container(desk: Desk) -> Found:
    """One tensor of the container that was handed on whole."""
    call, layer = desk.problem.call, desk.problem.layer
    given = call.inputs if layer is None else layer.inputs
    parts: dict[str, list[tuple[TensorRef, str]]] = {}
    for ref in given:
        match = _HEAD.fullmatch(ref.path)
        if match is not None:
            parts.setdefault(match[1], []).append((ref, match[2]))
    for head, refs in parts.items():
        for ref, rest in refs[:3]:
            yield _part(desk, given, head, ref, rest)


def _part(
    desk: Desk, given: tuple[TensorRef, ...], head: str, ref: TensorRef, rest: str
) -> Candidate | None:
    call, layer = desk.problem.call, desk.problem.layer
    line = find(call.source)
    node = None if line is None else line.argument(head)
    if line is None or node is None:
        return None
    if layer is not None and not names_its_input(desk.graph, layer, ref.id):
        return None
    one = replace(ref, path=head)
    others = tuple(r for r in given if not r.path.startswith(head))
    new = _single(call, one, others)
    if layer is not None:
        info = desk.graph.rec.modules.get(layer.name)
        whole = replace(layer, inputs=(one, *others))
        made = None if info is None else module_function(whole, info)
        if made is None:
            return None
        new = replace(made, index=call.index)
    access = rest.replace("'", '"')
    if not _is_dict(desk, ref.id):
        access = re.sub(r'^\["(\w+)"\]', r".\1", access)
    text = line.with_part(node, suffixed(line.text(node), node, "{}" + access))
    words = f"hands on {access.lstrip('.')} of it, a tensor {ref.shape}"
    about = "input"
    if desk.blames("module"):
        about = f"module:{desk.culprits[0].name}"
    return Candidate(text, words, line.source, Repair(calls={call.index: new}), about)


def _is_dict(desk: Desk, tensor: int) -> bool:
    """Whether the container that a module handed on with a tensor in it is a dict of
    Python's, whose values are no attributes."""
    kinds = [
        call.output_type.partition("(")[0]
        for call in desk.graph.rec.calls
        if any(ref.id == tensor for ref in call.outputs or ())
    ]
    return any(kind in ("dict", "OrderedDict", "defaultdict") for kind in kinds)


def _single(
    call: FunctionCall, one: TensorRef, others: tuple[TensorRef, ...]
) -> FunctionCall:
    """A function's call with the one tensor where its container was."""
    args = list(call.args)
    kwargs: dict[str, Any] = dict(call.kwargs)
    if one.path.startswith("args"):
        args[int(one.path[5:-1])] = one
    else:
        kwargs[one.path[8:-2]] = one
    return replace(call, inputs=(one, *others), args=tuple(args), kwargs=kwargs)
