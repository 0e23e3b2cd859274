"""Proposals for a function of the user's code that does not take its tensors."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

import torch

from shapetrace.diagnosis import edits
from shapetrace.diagnosis.called_again import with_inputs
from shapetrace.diagnosis.edits import Edit
from shapetrace.diagnosis.hypothesis import Repair
from shapetrace.diagnosis.rules.desk import Candidate, Desk, is_method
from shapetrace.diagnosis.rules.factories import sized_by_input
from shapetrace.diagnosis.rules.fixes_layer import blamed_width, moved
from shapetrace.diagnosis.rules.joins import JOINS, other_dim
from shapetrace.diagnosis.rules.letters import relettered
from shapetrace.diagnosis.rules.order import (
    arranger,
    misplaced,
    placements,
    reorder,
    wanted_order,
)
from shapetrace.diagnosis.rules.ranks import BY_INDEX
from shapetrace.diagnosis.rules.regroup import (
    fuller,
    keep_batch,
    kept_squeeze,
    other_view,
)
from shapetrace.diagnosis.rules.values import container
from shapetrace.diagnosis.rules.widths import is_width, producers
from shapetrace.diagnosis.unlike import at_home
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.source.line import find, suffixed

Found = Iterator[Candidate | None]
_PRODUCTS = ("matmul", "mm", "bmm", "baddbmm")


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
        yield from blamed_width(desk)
        yield from other_view(desk, call)
        return
    if problem.loss:
        return  # its own proposals stand elsewhere
    if problem.kind == "rank":
        yield _any_rank(desk, call)
        yield _index(desk, call)
        right = problem.right
        if right is not None and right.tensor is None and call.name != "size":
            for ref in call.inputs[:1]:
                for dim in (1, 0):
                    made = desk.edit(ref, edits.unsqueeze(dim), desk.about_data(ref.id))
                    yield None if made is None else replace(made, once="operand")
    if relettered(call) is not None:
        yield _relettered(desk, call)
        return
    refs = [ref for ref in call.inputs if not desk.graph.is_parameter(ref.id)]
    yield from _ordered(desk, call)
    for ref in refs:
        yield from kept_squeeze(desk, ref)
        yield from keep_batch(desk, ref)
        yield from fuller(desk, ref)
    yield _padded(desk, call)
    yield _other_way_round(desk, call)
    if call.name in _PRODUCTS and len({ref.id for ref in call.inputs[:2]}) == 1:
        yield _with_itself(desk, call)
    elif call.name in (*_PRODUCTS, "linear") and len(call.inputs) > 1:
        about = f"function:{call.name}"
        for ref in reversed(call.inputs[:2]):
            if len(ref.shape) > 1:
                turned = desk.edit(ref, edits.transpose(-2, -1), about)
                yield None if turned is None else replace(turned, once="product")
    if call.name in JOINS:
        yield from other_dim(desk, call)
    yield from _repeated_too(desk, call)
    yield from _operands(desk, call)
    left, right = problem.left, problem.right
    if left is not None and right is not None:
        for spot, other in ((left, right), (right, left)):
            yield from producers(desk, spot, other.size)


def _padded(desk: Desk, call: FunctionCall) -> Candidate | None:
    """pad_sequence in the place of a stack of sequences that differ in length."""
    shapes = {ref.shape[1:] for ref in call.inputs}
    line = find(call.source)
    if call.name != "stack" or line is None or len(shapes) != 1:
        return None
    if len(call.args) != 1 or call.kwargs or not line.code.startswith("torch.stack("):
        return None
    inside = line.code.removeprefix("torch.stack(").rstrip().removesuffix(")")
    text = f"nn.utils.rnn.pad_sequence({inside}, batch_first=True)"
    words = "pads all to the length of the longest"
    # another function of Python's own: no recorded call stands for it
    return Candidate(line.around(text), words, line.source, None, "input")


def _other_way_round(desk: Desk, call: FunctionCall) -> Candidate | None:
    """`adjacency @ x` where `x @ adjacency` stands."""
    culprit = desk.culprits[0] if desk.culprits else None
    line = find(call.source)
    if culprit is None or "other way round" not in culprit.reason or line is None:
        return None
    first, second = call.inputs[:2]
    a, b = (line.argument(ref.path, is_method(call)) for ref in (first, second))
    if a is None or b is None or is_method(call) and isinstance(line.tree, ast.Call):
        return None
    swapped = (replace(second, path=first.path), replace(first, path=second.path))
    text = line.with_parts([(a, line.text(b)), (b, line.text(a))])
    repair = Repair(calls={call.index: with_inputs(call, swapped)})
    about = f"function:{call.name}"
    made = Candidate(text, "the other way round", line.source, repair, about, True)
    return replace(made, once="product")


def _any_rank(desk: Desk, call: FunctionCall) -> Candidate | None:
    """matmul in the place of mm and bmm, which take one number of dimensions only."""
    line = find(call.source)
    if line is None or call.name not in ("mm", "bmm"):
        return None
    if line.code.count(f"{call.name}(") != 1:
        return None
    text = line.code.replace(f"{call.name}(", "matmul(")
    qualname = call.qualname.removesuffix(call.name) + "matmul"
    new = replace(call, name="matmul", qualname=qualname)
    words = "takes any number of dimensions"
    repair = Repair(calls={call.index: new})
    about = f"function:{call.name}"
    return Candidate(line.around(text), words, line.source, repair, about)


def _index(desk: Desk, call: FunctionCall) -> Candidate | None:
    """An index for gather or scatter brought to the tensor's number of dimensions: one
    entry along `dim`, or the same rows for all that stands behind."""
    tensor, index = call.inputs[0], next(
        (ref for ref in call.inputs[1:] if not ref.dtype.is_floating_point), None
    )
    dim = call.kwargs.get("dim", (*call.args[1:2], None)[0])
    if call.name.rstrip("_") not in BY_INDEX or index is None or type(dim) is not int:
        return None
    shape, taken = tensor.shape, index.shape
    dim %= max(len(shape), 1)
    about = f"function:{call.name}"
    if taken == shape[:dim] + shape[dim + 1 :]:
        made = desk.edit(index, edits.unsqueeze(dim), about)
        return None if made is None else replace(made, once="operand")
    if not dim < len(taken) < len(shape):
        return None
    line = find(call.source)
    node = None if line is None else line.argument(tensor.path, is_method(call))
    name = line.text(node) if line is not None and isinstance(node, ast.Name) else ""
    made = desk.edit(index, edits.repeated(len(taken), shape, name), about)
    return None if made is None else replace(made, once="operand")


def _relettered(desk: Desk, call: FunctionCall) -> Candidate | None:
    """An einsum with one operand's letters in the order of its dimensions."""
    found, line = relettered(call), find(call.source)
    node = None if line is None else line.argument("args[0]")
    if found is None or line is None or not isinstance(node, ast.Constant):
        return None
    position, old, new = found
    left, arrow, right = call.args[0].replace(" ", "").partition("->")
    terms = left.split(",")
    terms[position] = new
    equation = ",".join(terms) + arrow + right
    repair = Repair(calls={call.index: replace(call, args=(equation, *call.args[1:]))})
    words = f"`{new}` in the place of `{old}`"
    text = line.with_part(node, repr(equation))
    return Candidate(text, words, line.source, repair, "function:einsum", True)


def _with_itself(desk: Desk, call: FunctionCall) -> Candidate | None:
    """A product of a tensor with itself, the second time transposed."""
    line = find(call.source)
    second = call.inputs[-1]
    node = line.argument(second.path, is_method(call)) if line is not None else None
    if line is None or node is None or len(call.inputs) != 2 or len(second.shape) < 2:
        return None
    edit = edits.transpose(-2, -1)
    # an id of its own: what is edited is this operand alone
    turned = replace(edit.apply(second), id=-1)
    new = with_inputs(call, (call.inputs[0], turned))
    text = line.with_part(node, suffixed(line.text(node), node, edit.text))
    repair = Repair(calls={call.index: new})
    about = f"function:{call.name}"
    return Candidate(text, edit.words, line.source, repair, about)


def _ordered(desk: Desk, call: FunctionCall) -> Found:
    """An operand whose sizes are those wanted, in another order."""
    found = wanted_order(desk.problem)
    edit = None if found is None else reorder(call.inputs[found[0]].shape, found[1])
    if found is None or edit is None:
        return
    ref = call.inputs[found[0]]
    made = arranger(desk.graph, ref.id)
    here = desk.edit(ref, edit, f"function:{call.name}")
    if made is not None and made.outputs and made.outputs[0].shape == ref.shape:
        here = desk.after(made, edit) or here
    yield None if here is None else replace(here, once="operand")


def _repeated_too(desk: Desk, call: FunctionCall) -> Found:
    """One operand repeated along a dimension, as the other was before they met."""
    refs = [ref for ref in call.inputs if ref.shape][:2]
    for ref, other in zip(refs, reversed(refs)):
        for _, made in desk.graph.chain(other.id):
            if not isinstance(made, FunctionCall) or not made.outputs:
                break
            if made.name == "repeat_interleave" and made.direct:
                before, after = made.inputs[0].shape, made.outputs[0].shape
                grown = [d for d, (a, b) in enumerate(zip(before, after)) if a != b]
                if len(grown) == 1 and len(before) == len(after):
                    dim = grown[0]
                    edit = edits.interleaved(after[dim] // max(before[dim], 1), dim)
                    yield desk.edit(ref, edit, f"function:{made.name}")
                break


def _operands(desk: Desk, call: FunctionCall) -> Found:
    """One operand brought to the other's shape."""
    refs = [ref for ref in call.inputs if ref.shape][:2]
    if len(refs) < 2:
        return
    pairs = [(refs[1], refs[0]), (refs[0], refs[1])]
    pairs.sort(key=lambda pair: not _enlarged(desk, pair[0]))
    for ref, other in pairs:
        about = desk.about_data(ref.id)
        culprits = misplaced(desk.graph, ref.id, other.id)
        if len(ref.shape) == 3 and culprits:
            maker = f"{culprits[0].kind}:{culprits[0].name}"
            made = desk.edit(ref, _LAST_LAYER, maker)
            yield None if made is None else replace(made, once="operand")
        maps = call.name not in (*_PRODUCTS, "einsum", "masked_fill", "where")
        batches = [desk.graph.trail(r.id, 0).end for r in (ref, other) if r.shape]
        firm = all(end.kind == "data" and end.dim == 0 for end in batches)
        for edit in _towards(ref, other, maps, firm):
            if edit.cuts is not None and is_width(desk.graph, ref.id, edit.cuts):
                continue
            made = desk.edit(ref, edit, about)
            yield None if made is None else replace(made, once="operand")


_LAST_LAYER = Edit(
    "{}[-1].unsqueeze(1)",
    lambda t: t[-1].unsqueeze(1),
    "takes the last layer's, for all steps of the other side",
)


def _enlarged(desk: Desk, ref: TensorRef) -> bool:
    """Whether a map was just enlarged: it is this one that has not its true size."""
    for _, call in desk.graph.chain(ref.id):
        if call.inputs and call.inputs[0].shape[-1:] == ref.shape[-1:]:
            continue
        name = call.name if isinstance(call, FunctionCall) else ""
        return name in ("interpolate", "upsample") or name.startswith("conv_transpose")
    return False


def _towards(
    ref: TensorRef, other: TensorRef, maps: bool, firm: bool
) -> Iterator[Edit]:
    """`maps`: the last two of four dimensions may be height and width; `firm`: both
    have the batch first, which is to stay there."""
    a, b = ref.shape, other.shape
    if len(a) < len(b):
        if a == b[: len(a)]:
            yield edits.trailing(len(b) - len(a))
        for places in placements(a, b)[:2]:
            yield edits.spread(places, len(b))
        yield edits.unsqueeze(1)
        yield edits.unsqueeze(0)
        yield edits.unsqueeze(-1)
    if len(a) == len(b) and len(a) > 1:
        if len(a) == 3:
            if not firm:
                yield edits.transpose(0, 1)
            yield edits.transpose(1, 2)
        if len(a) == 4:
            yield edits.permute(0, 3, 1, 2)
            yield edits.permute(0, 2, 3, 1)
            yield edits.transpose(1, 2)
        differ = [dim for dim, size in enumerate(a) if 1 != size != b[dim] != 1]
        if maps and len(a) == 4 and set(differ) <= {2, 3} and a[2:] != b[2:]:
            if ref.dtype.is_floating_point:
                yield edits.resize(b[2:])
            if all(a[dim] >= b[dim] for dim in (2, 3)):
                yield _cropped(b[2], b[3])
        elif maps and len(differ) == 1 and differ[0] > 0:
            if a[differ[0]] > b[differ[0]]:
                yield edits.cut(differ[0], b[differ[0]], len(a))
    if len(a) > len(b):
        for dim in reversed(range(len(a))):
            if a[dim] == 1:
                yield edits.squeeze(dim)
        if len(b) == 2:
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
    if left is not None and right is None and desk.problem.name == "int64":
        for index in call.inputs:
            if index.id == left.tensor:
                about = desk.about_data(index.id)
                yield desk.edit(index, edits.cast(torch.int64), about)
        return
    for spot, other in ((left, right), (right, left)):
        if spot is None or other is None or spot.tensor is None or other.tensor is None:
            continue
        ref, model = refs.get(spot.tensor), refs.get(other.tensor)
        if ref is None or model is None or desk.graph.is_parameter(ref.id):
            continue
        if at_home(desk.graph, ref.id, desk.problem.kind):
            continue  # the other one is to change
        about = desk.about_data(ref.id)
        if desk.problem.loss and ref.id == (right.tensor if right else None):
            about = "target"
        if desk.problem.kind == "device":
            yield moved(desk, ref, model.device, about)
        elif model.dtype.is_floating_point and model.dtype != ref.dtype:
            yield desk.edit(ref, edits.cast(model.dtype), about)
