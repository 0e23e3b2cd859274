"""Proposals for a tensor with another number of dimensions than a layer takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shapetrace.diagnosis import edits
from shapetrace.diagnosis.rules.desk import Candidate, Desk, method
from shapetrace.diagnosis.rules.ranks import sibling
from shapetrace.diagnosis.rules.regroup import behind, kept_squeeze
from shapetrace.records import ModuleInfo, TensorRef

Found = Iterator[Candidate | None]


def for_rank(desk: Desk, info: ModuleInfo, ref: TensorRef, wanted: int | None) -> Found:
    """`wanted`: how many channels the layer takes."""
    rank, about = len(ref.shape), desk.about_data(ref.id)
    like = sibling(info.type, rank)
    if like and isinstance(wanted, int):
        qualname = info.qualname.replace(info.type, like)
        new = replace(info, type=like, qualname=qualname)
        words = f"takes {rank}-D, {info.type} does not"
        yield desk.install(info, f"nn.{like}({wanted})", new, words)
        return
    yield from kept_squeeze(desk, ref)
    yield from _flat_squeeze(desk, ref)
    space = int(info.type[-2]) if info.type[-2:-1].isdigit() else 0
    if space and rank == 2 and ref.shape[1] == wanted:
        yield desk.edit(ref, edits.trailing(space), about)
    if space and rank == space + 3 and wanted in (None, ref.shape[2]):
        words = "takes every step of every sample for a sample"
        yield desk.edit(ref, replace(edits.flatten(0, 1), words=words), about)


def _flat_squeeze(desk: Desk, ref: TensorRef) -> Found:
    """`x.flatten(1)` where `x.squeeze()` stands: the batch stays if it is one."""
    for call in behind(desk, ref, ("squeeze",)):
        if len(call.args) == 1 and not call.kwargs and len(call.inputs[0].shape) > 2:
            flat = method(call, "flatten", 1)
            words = "keeps the batch, also of one"
            yield desk.recall(call, flat, "{}.flatten(1)", words)
