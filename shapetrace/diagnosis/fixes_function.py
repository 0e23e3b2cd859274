"""Proposals for a function of the user's code that does not take its tensors."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from shapetrace.diagnosis import edits
from shapetrace.diagnosis.desk import Candidate, Desk
from shapetrace.diagnosis.edits import Edit
from shapetrace.diagnosis.factories import sized_by_input
from shapetrace.diagnosis.fixes_layer import moved
from shapetrace.diagnosis.regroup import keep_batch, kept_squeeze, other_view
from shapetrace.diagnosis.rewrite import find
from shapetrace.diagnosis.tryout import Repair
from shapetrace.diagnosis.values import container
from shapetrace.diagnosis.widths import producers
from shapetrace.records import FunctionCall, TensorRef

Found = Iterator[Candidate | None]
_PRODUCTS = ("matmul", "mm", "bmm", "baddbmm")
_JOINS = ("cat", "concat", "concatenate")


def for_function(desk: Desk) -> Found:
    call, problem = desk.problem.call, desk.problem
    if problem.kind == "container":
        yield from container(desk)
        return
    if not call.inputs:
        return
    if problem.kind in ("dtype", "device"):
        yield from _unlike(desk, call)
        return
    yield from sized_by_input(desk)
    if call.name in ("view", "reshape"):
        yield from other_view(desk, call)
        return
    if problem.loss:
        return  # its own proposals stand elsewhere
    refs = [ref for ref in call.inputs if not desk.graph.is_parameter(ref.id)]
    for ref in refs:
        yield from kept_squeeze(desk, ref)
        yield from keep_batch(desk, ref)
    if call.name in _PRODUCTS and len(call.inputs) > 1:
        for ref in reversed(call.inputs[:2]):
            if len(ref.shape) > 1:
                yield desk.edit(ref, edits.transpose(-2, -1), f"function:{call.name}")
    if call.name in _JOINS:
        yield from _other_dim(desk, call)
    yield from _operands(desk, call)
    left, right = problem.left, problem.right
    if left is not None and right is not None:
        for spot, other in ((left, right), (right, left)):
            yield from producers(desk, spot, other.size)


def _other_dim(desk: Desk, call: FunctionCall) -> Found:
    """`cat` along the dimension that differs."""
    line = find(call.source)
    rank = len(call.inputs[0].shape)
    if line is None or not isinstance(line.tree, ast.Call):
        return
    node: ast.expr | None = line.argument("kwargs['dim']") or line.argument("args[1]")
    for dim in range(rank):
        text = None
        if node is not None:
            text = line.with_part(node, str(dim))
        elif line.code.rstrip().endswith(")"):
            text = line.around(f"{line.code.rstrip()[:-1]}, dim={dim})")
        kwargs = {key: value for key, value in call.kwargs.items() if key != "dim"}
        new = replace(call, args=call.args[:1], kwargs={**kwargs, "dim": dim})
        if text is not None:
            repair = Repair(calls={call.index: new})
            words = f"joins along dim {dim}"
            about = f"function:{call.name}"
            strong = call.kwargs.get("dim", (*call.args[1:], 0)[0]) == 0 and rank > 1
            yield Candidate(text, words, line.source, repair, about, strong)


def _operands(desk: Desk, call: FunctionCall) -> Found:
    """One operand brought to the other's shape."""
    refs = [ref for ref in call.inputs if ref.shape][:2]
    if len(refs) < 2:
        return
    for ref, other in ((refs[1], refs[0]), (refs[0], refs[1])):
        about = desk.about_data(ref.id)
        for edit in _towards(ref, other):
            made = desk.edit(ref, edit, about)
            yield None if made is None else replace(made, once="operand")


def _towards(ref: TensorRef, other: TensorRef) -> Iterator[Edit]:
    a, b = ref.shape, other.shape
    if len(a) < len(b):
        if a == b[: len(a)]:
            yield edits.trailing(len(b) - len(a))
        yield edits.unsqueeze(1)
        yield edits.unsqueeze(0)
        yield edits.unsqueeze(-1)
    if len(a) == len(b) and len(a) > 1:
        if len(a) == 3:
            yield edits.transpose(0, 1)
            yield edits.transpose(1, 2)
        if len(a) == 4:
            yield edits.permute(0, 3, 1, 2)
            yield edits.permute(0, 2, 3, 1)
        differ = [dim for dim, size in enumerate(a) if 1 != size != b[dim] != 1]
        if len(a) == 4 and set(differ) <= {2, 3} and a[2:] != b[2:]:
            yield edits.resize(b[2:])
            if all(a[dim] >= b[dim] for dim in (2, 3)):
                yield _cropped(b[2], b[3])
        elif len(differ) == 1 and differ[0] > 0 and a[differ[0]] > b[differ[0]]:
            yield edits.cut(differ[0], b[differ[0]], len(a))
    if len(a) > len(b):
        for dim in reversed(range(len(a))):
            if a[dim] == 1:
                yield edits.squeeze(dim)
        if len(a) == 4 and len(b) == 2:
            yield edits.flatten(1)


def _cropped(height: int, width: int) -> Edit:
    return Edit(
        f"{{}}[:, :, :{height}, :{width}]",
        lambda t: t[:, :, :height, :width],
        f"crops it to {height}x{width}",
    )


def _unlike(desk: Desk, call: FunctionCall) -> Found:
    """One operand cast or moved to the type or place of the other."""
    left, right = desk.problem.left, desk.problem.right
    refs = {ref.id: ref for ref in call.inputs}
    for spot, other in ((left, right), (right, left)):
        if spot is None or other is None or spot.tensor is None or other.tensor is None:
            continue
        ref, model = refs.get(spot.tensor), refs.get(other.tensor)
        if ref is None or model is None or desk.graph.is_parameter(ref.id):
            continue
        about = desk.about_data(ref.id)
        if desk.problem.loss and ref.id == (right.tensor if right else None):
            about = "target"
        if desk.problem.kind == "device":
            yield moved(desk, ref, model.device, about)
        elif model.dtype.is_floating_point and model.dtype != ref.dtype:
            yield desk.edit(ref, edits.cast(model.dtype), about)
