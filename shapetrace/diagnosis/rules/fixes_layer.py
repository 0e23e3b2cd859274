"""Proposals for a layer of torch's that does not take its input."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from math import prod

import torch

from shapetrace.diagnosis import edits
from shapetrace.diagnosis.edits import Edit
from shapetrace.diagnosis.leaves import leaves
from shapetrace.diagnosis.rules.desk import Candidate, Desk
from shapetrace.diagnosis.rules.factories import sized_by_input
from shapetrace.diagnosis.rules.fixes_rank import for_rank
from shapetrace.diagnosis.rules.joins import blamed_join
from shapetrace.diagnosis.rules.order import pooled_away, turned_axes
from shapetrace.diagnosis.rules.regroup import flat_instead
from shapetrace.diagnosis.rules.values import container, table
from shapetrace.diagnosis.rules.widths import producers
from shapetrace.records import ModuleCall, ModuleInfo, TensorRef
from shapetrace.signatures import size_given, size_taken
from shapetrace.source.constructor import constructor
from shapetrace.source.line import find

Found = Iterator[Candidate | None]
#: usual sizes of images, small ones first
_SIZES = (28, 32, 64, 96, 128, 224, 256, 299, 384, 512)


def for_layer(desk: Desk) -> Found:
    """The layer rebuilt, its producer rebuilt, its input edited, the images changed."""
    layer, call = desk.problem.layer, desk.problem.call
    if layer is None:
        return
    if desk.problem.kind == "container":
        yield from container(desk)
        return
    info = desk.graph.rec.modules.get(layer.name)
    data = [ref for ref in call.inputs if not desk.graph.is_parameter(ref.id)]
    if info is None or not data:
        return
    if desk.problem.kind == "range":
        yield from table(desk, layer.name, data[0])
        return
    ref = data[0]
    if desk.problem.kind in ("dtype", "device"):
        yield from _unlike(desk, ref)
        return
    yield from sized_by_input(desk)
    yield from blamed_join(desk, ref)
    yield _every_sample(desk, layer)
    if desk.problem.kind == "rank":
        yield from for_rank(desk, info, ref, _wanted(desk, info))
    yield _every_head(desk, info)
    yield from _before_pool(desk, ref)
    yield from blamed_width(desk)
    yield from _layout(desk, info, ref)
    if len(ref.shape) > 2 and _wanted(desk, info) == prod(ref.shape[1:]):
        flat = desk.edit(ref, edits.flatten(1), desk.about_data(ref.id))
        yield None if flat is None else replace(flat, strong=True)
    yield from _rebuilt(desk, info, ref)
    left, right = desk.problem.left, desk.problem.right
    if left is not None and right is not None:
        yield from producers(desk, left, right.size)
    for candidate in flat_instead(desk, ref):
        yield None if candidate is None else replace(candidate, strong=True)
    about = desk.about_data(ref.id)
    maps = info.type == "Linear" and len(ref.shape) == 4
    if maps and ref.shape[1] == _wanted(desk, info):
        yield desk.edit(ref, edits.pool(), about)
    # maps that a layer made are not images of another layout
    if len(ref.shape) != 4 or not desk.graph.from_model(ref.id):
        for edit in _shapes(ref.shape, _wanted(desk, info)):
            if _takes(info, edit, ref):
                yield desk.edit(ref, edit, about)
    yield from _inputs(desk, layer)


def _every_sample(desk: Desk, layer: ModuleCall) -> Candidate | None:
    """A parameter without a batch dimension where the layer's other input has one."""
    left, right = desk.problem.left, desk.problem.right
    if desk.problem.kind != "rank" or left is None or right is None:
        return None
    at = {ref.id: ref for ref in layer.inputs}
    for spot, against in ((left, right), (right, left)):
        if spot.tensor not in at or against.tensor not in at:
            continue
        ref, other = at[spot.tensor], at[against.tensor]
        if desk.graph.is_parameter(ref.id) and len(ref.shape) + 1 == len(other.shape):
            line = find(layer.source)
            node = line.argument(other.path) if line is not None else None
            text = f"{node.id}.size(0)" if isinstance(node, ast.Name) else ""
            edit = edits.expand_batch(other.shape[0], len(ref.shape), text)
            return desk.edit(ref, edit, f"module:{layer.name}")
    return None


def _every_head(desk: Desk, info: ModuleInfo) -> Candidate | None:
    """An attention mask for each sample, where one for each of its heads is wanted."""
    right, heads = desk.problem.right, info.attributes.get("num_heads")
    if right is None or right.input is None or not isinstance(heads, int):
        return None
    ref = desk.problem.call.inputs[right.input]
    left = desk.problem.left
    if len(ref.shape) != 3 or left is None or left.size != ref.shape[0] * heads:
        return None
    words = f"the same mask for all {heads} heads of a sample"
    edit = replace(edits.interleaved(heads, 0), words=words)
    return desk.edit(ref, edit, f"module:{info.name}")


def _before_pool(desk: Desk, ref: TensorRef) -> Found:
    """The dimension that a pooling took for space moved to where channels stand."""
    right = desk.problem.right
    lost = pooled_away(desk.graph, ref.id, right.size) if right is not None else None
    if lost is None:
        return
    call, dim = lost
    rank = len(call.inputs[0].shape)
    order = (0, dim, *(at for at in range(1, rank) if at != dim))
    yield desk.before(call, edits.permute(*order))


def blamed_width(desk: Desk) -> Found:
    """The layer that is blamed for its width, with the width that would fit."""
    for culprit in desk.culprits[:1]:
        info = desk.graph.rec.modules.get(culprit.name)
        width = size_given(info.type) if info is not None else None
        if culprit.kind == "module" and info is not None and width is not None:
            if culprit.expected and info.attributes.get(width) == culprit.size:
                yield desk.rebuild(info.name, {width: culprit.expected})


def _rebuilt(desk: Desk, info: ModuleInfo, ref: TensorRef) -> Found:
    """The layer with the size it is given."""
    taken = size_taken(info, ref.shape)
    if taken is None or taken[1] == 0 or _lacks_batch(desk, info):
        return
    wanted = _wanted(desk, info)
    if len(ref.shape) > 2 and wanted in (prod(ref.shape[1:]), *ref.shape[1:2]):
        if info.type == "Linear":
            return  # the features are there, in other dimensions than the last
    if wanted == 1 and info.type.startswith("Conv") and _unbatched(info, ref):
        return  # what stands for the channels is the batch
    if desk.blames("input") and _wanted(desk, info) in ref.shape[1:]:
        return  # another layout: the wrong dimension would stand for channels
    if not _keeps_batch(desk, ref):
        return
    name, size = taken
    if info.attributes.get(name) in (size, (size,)):
        return
    if name == "normalized_shape" and info.attributes.get(name) == (ref.shape[1],):
        yield _channels(desk, info, ref)
        return
    candidate = desk.rebuild(info.name, {name: size})
    yield candidate
    if info.type == "Linear" and candidate is not None and len(ref.shape) == 2:
        made = constructor(info, in_features=size)
        if made is not None:
            lazy = made.replace(f"nn.Linear({size}, ", "nn.LazyLinear(")
            line = candidate.line.replace(f"Linear({size}, ", "LazyLinear(", 1)
            if "LazyLinear" in lazy and line != candidate.line:
                words = "takes in_features from its first input"
                yield Candidate(
                    line, words, candidate.where, candidate.repair, candidate.about
                )


def _unbatched(info: ModuleInfo, ref: TensorRef) -> bool:
    return info.type[-2:-1].isdigit() and len(ref.shape) == int(info.type[-2]) + 1


def _lacks_batch(desk: Desk, info: ModuleInfo) -> bool:
    """One image without its batch dimension: a linear layer behind a flatten of it
    could be made to fit, and would take channels for samples."""
    data = desk.model_input()
    single = data is not None and len(data.shape) == 3
    return info.type == "Linear" and single and desk.blames("input")


def _keeps_batch(desk: Desk, ref: TensorRef) -> bool:
    """Not so where a flatten took the batch too, or left a dimension of its own."""
    made = desk.graph.producer(ref.id)
    layer = desk.graph.layer_of(made) if made is not None else None
    if made is None or not desk.culprits or not made.inputs:
        return True
    name = layer.name if layer is not None else made.name
    before, first = made.inputs[0].shape, desk.culprits[0]
    reshaped = len(before) > len(ref.shape) and first.name == name
    return not (reshaped and (ref.shape[0] != before[0] or len(ref.shape) > 2))


def _channels(desk: Desk, info: ModuleInfo, ref: TensorRef) -> Candidate | None:
    """LayerNorm normalises the last dimensions; over the channels of maps it is
    GroupNorm with one group."""
    channels = ref.shape[1]
    attributes = {"num_groups": 1, "num_channels": channels, "affine": True}
    new = ModuleInfo(
        info.name,
        "GroupNorm",
        "torch.nn.modules.normalization.GroupNorm",
        info.parameters,
        info.buffers,
        attributes,
        info.training,
    )
    words = f"normalises over the {channels} channels, which stand in dim 1"
    return desk.install(info, f"nn.GroupNorm(1, {channels})", new, words)


def _layout(desk: Desk, info: ModuleInfo, ref: TensorRef) -> Found:
    """A recurrent or attention layer that takes the batch in dim 1 by default."""
    first = info.attributes.get("batch_first")
    orders = ("(batch, time, features)", "(time, batch, features)")
    if first is False and len(ref.shape) == 3:
        words = f"takes {orders[0]}, not {orders[1]}"
        yield desk.rebuild(info.name, {"batch_first": True}, words)
    elif first is True and turned_axes(desk.graph, desk.problem):
        words = f"takes {orders[1]}, not {orders[0]}"
        yield desk.rebuild(info.name, {"batch_first": False}, words)


def _wanted(desk: Desk, info: ModuleInfo) -> int | None:
    """How many features or channels the layer takes."""
    for name in (
        "in_features",
        "in_channels",
        "num_features",
        "input_size",
        "num_channels",
    ):
        value = info.attributes.get(name)
        if isinstance(value, int):
            return value
    value = info.attributes.get("normalized_shape")
    if isinstance(value, tuple) and len(value) == 1 and isinstance(value[0], int):
        return value[0]
    return None


def _shapes(shape: tuple[int, ...], wanted: int | None) -> Iterator[Edit]:
    """What may be done to an input, the mildest first; the trial takes its pick."""
    rank = len(shape)
    if rank > 3 and wanted == shape[-1]:
        yield edits.classes_second(rank)
    for dim in range(2, rank - 1) if rank > 3 else ():
        if shape[dim] == wanted != shape[1]:
            yield edits.transpose(1, dim)
    if rank == 3 and wanted in shape[1:]:
        yield edits.transpose(1, 2)
    if rank == 3 and wanted == shape[2]:
        yield edits.Edit(
            "{}.permute(2, 0, 1).unsqueeze(0)",
            lambda t: t.permute(2, 0, 1).unsqueeze(0),
            "puts the channels first and adds a batch dimension",
        )
    if rank == 2 and wanted == shape[0] and wanted != shape[1]:
        yield edits.Edit("{}.T", lambda t: t.transpose(0, 1), "swaps the dimensions")
    if rank > 2 and wanted is not None and shape[-3] == 1 and wanted > 1:
        yield edits.expand_channels(wanted, rank)
    if rank == 4 and shape[1] == 4 and wanted == 3:
        yield Edit("{}[:, :3]", lambda t: t[:, :3], "drops the alpha channel")
    if rank == 4 and wanted == 1 and shape[1] == 3:
        yield edits.mean_channels(rank)
    if rank in (1, 2, 3):
        yield edits.unsqueeze(0, "adds the batch dimension")
        if wanted == 1:
            channel = "adds the channel dimension"
            if rank > 1:
                yield edits.unsqueeze(1, channel)
            yield edits.unsqueeze(-1, "adds the dimension of the one feature")
    if rank == 2 and wanted == 1:
        yield Edit(
            "{}[None, None]",
            lambda t: t[None, None],
            "adds the dimensions of batch and channel",
        )


def _takes(info: ModuleInfo, edit: Edit, ref: TensorRef) -> bool:
    """Whether a layer for so many dimensions of space takes what an edit gives; the
    layer's own Python sees to that, not the function that it calls."""
    if not info.type[-2:-1].isdigit():
        return True
    space = int(info.type[-2])
    rank = len(edit.apply(ref).shape)
    least = space + 1 if space == 1 or not info.type.startswith(_NORMS) else space + 2
    return least <= rank <= space + 2


_NORMS = ("BatchNorm", "InstanceNorm")


def _inputs(desk: Desk, layer: ModuleCall) -> Found:
    """The same edits where the model is called, and images of a usual size."""
    top = layer
    while top.parent is not None:
        top = desk.graph.rec.calls[top.parent]
    if top is layer or not top.inputs or not _is_plain_data(desk, top.inputs[0]):
        return
    ref = top.inputs[0]
    first = next(
        (
            call
            for call in desk.graph.rec.calls
            if ref.id in {r.id for r in call.inputs}
            and call.name in desk.graph.rec.modules
            and desk.graph.rec.modules[call.name].parameters
        ),
        None,
    )
    wanted = None
    if first is not None:
        wanted = _wanted(desk, desk.graph.rec.modules[first.name])
    if ref.id not in {r.id for r in desk.problem.call.inputs}:
        for edit in _shapes(ref.shape, wanted):
            yield desk.root_edit(edit)
    if any(len(r.shape) == 2 for r in layer.inputs):
        yield from other_images(desk, ref)


def other_images(desk: Desk, ref: TensorRef) -> Found:
    """The model's images resized to a usual size, the nearest first."""
    if len(ref.shape) != 4 or ref.shape[-1] < 4 or not _spatial(desk):
        return
    for size in sorted(_SIZES, key=lambda size: abs(size - ref.shape[-1])):
        if ref.shape[-2:] != (size, size):
            made = desk.root_edit(edits.resize((size, size)))
            yield None if made is None else replace(made, once="resize")


def _spatial(desk: Desk) -> bool:
    """Whether the odd size depends on that of the images: a layer's width does not."""
    for spot in desk.problem.spots:
        if spot.tensor is None or desk.graph.is_parameter(spot.tensor):
            continue
        if spot.dim is None:
            return True
        found = leaves(desk.graph, spot.tensor, spot.dim)
        if any(leaf.end.kind == "data" and leaf.end.dim > 1 for leaf in found):
            return True
    return False


def _is_plain_data(desk: Desk, ref: TensorRef) -> bool:
    return ref.dtype.is_floating_point and not desk.graph.from_model(ref.id)


def _unlike(desk: Desk, ref: TensorRef) -> Found:
    """The input cast, or moved, to what the layer's parameters are."""
    own = [r for r in desk.problem.call.inputs if desk.graph.is_parameter(r.id)]
    about = desk.about_data(ref.id)
    left, layer = desk.problem.left, desk.problem.layer
    if left is not None and layer is not None and left.tensor is not None:
        if desk.graph.is_parameter(left.tensor) and own:
            to = ref.device if desk.problem.kind == "device" else ref.dtype
            words = "as the rest of the model"
            place = f'"{to}"' if desk.problem.kind == "device" else str(to)
            line = f"{desk.path(layer.name)}.to({place})"
            yield Candidate(line, words, None, None, f"module:{layer.name}")
            return
    if desk.problem.kind == "device":
        device = own[0].device if own else ref.device
        yield moved(desk, ref, device, about)
        whole = desk.root_edit(_to(device))
        # what layers do on devices that differ is not worked out
        yield None if whole is None else replace(whole, repair=None)
        return
    if own and own[0].dtype != ref.dtype:
        yield desk.edit(ref, edits.cast(own[0].dtype), about)
    elif not own or ref.dtype.is_floating_point:
        yield desk.edit(ref, edits.cast(torch.int64), about)
    if desk.problem.layer is not None and desk.problem.layer.type == "Embedding":
        yield desk.edit(ref, edits.cast(torch.int64), about)


def moved(
    desk: Desk, ref: TensorRef, device: torch.device, about: str
) -> Candidate | None:
    """A tensor on the device of the others."""
    return desk.edit(ref, _to(device), about)


def _to(device: torch.device) -> Edit:
    text = f'{{}}.to("{device}")'
    return Edit(text, lambda t: t, f"moves it to {device}", device=device)
