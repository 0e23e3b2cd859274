"""Proposals for a loss whose prediction and target do not fit."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from math import prod

import torch

from shapetrace.diagnosis import edits
from shapetrace.diagnosis.edits import Edit
from shapetrace.diagnosis.rules.departed import BY_CLASS
from shapetrace.diagnosis.rules.desk import Candidate, Desk
from shapetrace.diagnosis.rules.fixes_layer import other_images
from shapetrace.diagnosis.rules.fixes_target import one_hot_rows, reweighted, undone
from shapetrace.diagnosis.rules.order import arranger, reorder
from shapetrace.diagnosis.rules.regroup import keep_batch, kept_squeeze, shorter_before
from shapetrace.diagnosis.rules.sequence import every_step
from shapetrace.diagnosis.rules.widths import producers
from shapetrace.lineage.loss_calls import sides
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.source.line import find

Found = Iterator[Candidate | None]
_BY_CLASS = ("cross_entropy", "nll_loss")


def for_loss(desk: Desk) -> Found:
    """Edits of target and prediction, rebuilt layers, and regrouped views."""
    prediction, target = sides(desk.graph, desk.problem.call)
    if prediction is None or target is None:
        return
    if desk.problem.kind == "range":
        yield from _range(desk, prediction, target)
        return
    yield from _types(desk, prediction, target)
    yield from undone(desk, prediction, target)
    yield from reweighted(desk, prediction)
    if desk.problem.call.name in _BY_CLASS:
        yield from one_hot_rows(desk, prediction, target)
    for ref in (prediction, target):
        yield from kept_squeeze(desk, ref)
        yield from keep_batch(desk, ref)
    yield from _ranks(desk, prediction, target)
    yield from _orders(desk, prediction, target)
    yield from _widths(desk, prediction, target)
    yield from every_step(desk, prediction, target)
    picked = _picked_too(desk, prediction, target, "target")
    picked = picked or _picked_too(desk, target, prediction, "prediction")
    if picked is not None:
        yield picked
    else:
        yield from _lengths(desk, prediction, target)
    image = desk.model_input()
    if image is not None and desk.blames("module", "function", "input"):
        yield from other_images(desk, image)


def _picked_too(
    desk: Desk, picked: TensorRef, whole: TensorRef, about: str
) -> Candidate | None:
    """The rows of one side were picked by a mask or by indices: the same rows of the
    other."""
    call = desk.graph.producer(picked.id)
    if not isinstance(call, FunctionCall) or not call.direct or call.name != "getitem":
        return None
    index, line = call.args[1], find(call.source)
    if not isinstance(index, TensorRef) or line is None or not whole.shape:
        return None
    if call.inputs[0].shape[:1] != whole.shape[:1] or not picked.shape:
        return None
    if not isinstance(line.tree, ast.Subscript):
        return None
    shape = (*picked.shape[:1], *whole.shape[1:])
    text = f"{{}}[{line.text(line.tree.slice)}]"
    edit = Edit(text, lambda t: t.new_empty(shape), "picks the same rows")
    if about == "prediction":
        about = "target"  # whose index it is that the other side lacks
    return desk.edit(whole, edit, about)


def _types(desk: Desk, prediction: TensorRef, target: TensorRef) -> Found:
    about = desk.about_data(target.id, target=True)
    indices = desk.problem.call.name in _BY_CLASS
    if indices and prediction.shape == target.shape and len(target.shape) > 1:
        yield desk.edit(target, edits.argmax(1), about)
        yield desk.edit(target, edits.cast(torch.float32), about)
        return
    wanted = torch.int64 if indices else prediction.dtype
    if target.dtype != wanted and wanted.is_floating_point != indices:
        yield desk.edit(target, edits.cast(wanted), about)
        if len(target.shape) > 1 and target.shape[1] == 1:
            both = Edit(
                "{}.squeeze(1)" + edits.cast(wanted).text.removeprefix("{}"),
                lambda t: edits.cast(wanted).act(t.squeeze(1)),
                "drops the dimension of size 1 and casts it",
            )
            yield desk.edit(target, both, about)
    if not prediction.dtype.is_floating_point and target.dtype.is_floating_point:
        yield desk.edit(
            prediction, edits.cast(target.dtype), desk.about_data(prediction.id)
        )


def _ranks(desk: Desk, prediction: TensorRef, target: TensorRef) -> Found:
    """Dimensions of size 1 dropped or added, several joined into one."""
    refs = [(target, True), (prediction, False)]
    level = len(prediction.shape) == len(target.shape)
    alike = level and desk.problem.call.name not in BY_CLASS
    for ref, is_target in refs if not alike else ():  # or they would only broadcast
        about = desk.about_data(ref.id, target=is_target)
        for dim in reversed(range(len(ref.shape))):
            if ref.shape[dim] == 1 and (dim or desk.problem.kind != "rank"):
                yield desk.edit(ref, edits.squeeze(dim), about)
    for ref, is_target in refs:
        about = desk.about_data(ref.id, target=is_target)
        other = prediction if is_target else target
        if len(ref.shape) < len(other.shape):
            for dim in range(1, len(other.shape)):
                if other.shape[dim] == 1 and dim <= len(ref.shape):
                    yield desk.edit(ref, edits.unsqueeze(dim), about)
            if other.shape[:1] == (1,):
                yield desk.edit(ref, edits.unsqueeze(0), about)
            if ref.shape == other.shape[: len(ref.shape)]:
                added = len(other.shape) - len(ref.shape)
                yield desk.edit(ref, edits.trailing(added), about)
    about = desk.about_data(target.id, target=True)
    if len(target.shape) > 1 and prod(target.shape) == prediction.shape[:1][0]:
        yield desk.edit(target, edits.flatten(), about)
    if len(prediction.shape) > 2 and prod(prediction.shape[:2]) == target.shape[0]:
        yield desk.edit(prediction, edits.flatten(0, 1), desk.about_data(prediction.id))


def _orders(desk: Desk, prediction: TensorRef, target: TensorRef) -> Found:
    """The classes last where the loss takes dim 1; or the same sizes otherwise."""
    about = _maker(desk, prediction)
    rank = len(prediction.shape)
    indices = desk.problem.call.name in _BY_CLASS
    if rank > 2 and indices:
        yield desk.edit(prediction, edits.classes_second(rank), about)
    if desk.problem.call.name == "ctc_loss" and rank == 3:
        yield desk.edit(prediction, edits.transpose(0, 1), about)
    if indices or rank < 2:
        return
    for ref, other in ((prediction, target), (target, prediction)):
        edit, call = reorder(ref.shape, other.shape), arranger(desk.graph, ref.id)
        if edit is not None:
            if call is not None and call.outputs and call.outputs[0].shape == ref.shape:
                yield desk.after(call, edit)
            about = desk.about_data(ref.id, target=ref is target)
            yield desk.edit(ref, edit, about)


def _maker(desk: Desk, prediction: TensorRef) -> str:
    """The culprit whose output the prediction is, or the layer right behind it."""
    for culprit in desk.culprits[:1]:
        if culprit.kind in ("module", "function"):
            return f"{culprit.kind}:{culprit.name}"
    return desk.about_data(prediction.id)


def _widths(desk: Desk, prediction: TensorRef, target: TensorRef) -> Found:
    left, right = desk.problem.left, desk.problem.right
    if left is None or right is None or left.dim is None or right.dim is None:
        return
    if desk.problem.call.name in _BY_CLASS and prediction.shape[:-1] == target.shape:
        return  # the classes stand last: no other width is meant
    yield from producers(desk, left, right.size)
    if desk.graph.from_model(target.id):
        yield from producers(desk, right, left.size)


def _lengths(desk: Desk, prediction: TensorRef, target: TensorRef) -> Found:
    """The longer cut to the shorter, images resized."""
    a, b = prediction.shape, target.shape
    if len(a) > 3 and len(b) > 2 and a[-2:] != b[-2:]:
        made = edits.resize(b[-2:]) if len(a) == 4 else None
        if made is not None:
            yield desk.edit(prediction, made, _maker(desk, prediction))
    joined = list(shorter_before(desk, prediction, target))
    yield from joined
    indices = desk.problem.call.name in _BY_CLASS and len(b) < len(a)
    for dim, size in enumerate(b):
        at = dim + 1 if indices and dim else dim
        if at >= len(a) or a[at] == size or a[:-1] == b:
            continue  # the last: classes that stand last are not to be cut
        blamed = desk.blames("target", "input") and size > a[at]
        if dim == 0 and (joined or not blamed or _is_in_loop(desk)):
            continue  # predictions are not to be dropped
        if at == 1 and not indices and desk.blames("module"):
            continue
        longer = (target, dim) if size > a[at] else (prediction, at)
        if _is_made(desk, *longer, at=dim):
            continue  # features of a layer; several labels a sample, flattened
        if size > a[at]:
            about = desk.about_data(target.id, target=True)
            yield desk.edit(target, edits.cut(dim, a[at], len(b)), about)
        else:
            edit = edits.cut(at, size, len(a))
            yield desk.edit(prediction, edit, _maker(desk, prediction))


def _is_in_loop(desk: Desk) -> bool:
    """Whether an earlier batch went through the same line: a number that fits this one
    would not have fitted that."""
    call = desk.problem.call
    return any(
        other.source == call.source and other.name == call.name and other.outputs
        for other in desk.graph.rec.functions
    )


def _is_made(desk: Desk, ref: TensorRef, dim: int, *, at: int) -> bool:
    """Whether a size is a layer's width, or was joined by a view: a part of it means
    nothing."""
    end = desk.graph.trail(ref.id, dim).end
    joined = end.origin is not None and end.origin.how == "product"
    return joined or at > 0 and end.kind == "parameter"


def _range(desk: Desk, prediction: TensorRef, target: TensorRef) -> Found:
    """Class indices beyond the classes: more classes, or indices from 0."""
    span = desk.graph.rec.value_ranges.get(target.id)
    if span is None or len(prediction.shape) < 2:
        return
    classes = prediction.shape[1]
    about = desk.about_data(target.id, target=True)
    if span[0] >= 1 and span[1] - span[0] < classes:
        made = desk.edit(target, edits.shift(span[0]), about)
        yield _sure(made)
    if span[0] < 0 and span[1] < classes:
        yield _ignoring(desk, span[0])
    left = desk.problem.right
    if span[0] >= 0 and left is not None:
        for candidate in producers(desk, left, span[1] + 1):
            yield _sure(candidate)


def _sure(candidate: Candidate | None) -> Candidate | None:
    """The values fit the new sizes, which zeros could not show."""
    if candidate is None or candidate.repair is None:
        return candidate
    return replace(candidate, repair=replace(candidate.repair, holds_values=True))


def _ignoring(desk: Desk, value: int) -> Candidate | None:
    """`ignore_index` for a padding value; of the function's call only."""
    line = find(desk.problem.call.source)
    code = "" if line is None else line.code
    if line is None or "ignore_index" in code or "cross_entropy(" not in code:
        return None
    text = f"{code.rstrip()[:-1].rstrip().rstrip(',')}, ignore_index={value})"
    words = f"leaves the positions with label {value} out"
    return Candidate(line.around(text), words, line.source, None, "target")
