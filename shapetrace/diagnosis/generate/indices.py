"""An index with fewer dimensions than the tensor that it picks from or puts into."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

import torch

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.generate.values import holding_values
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.repair import edits
from shapetrace.diagnosis.repair.changes import edited
from shapetrace.diagnosis.repair.edits import Edit
from shapetrace.diagnosis.sites import site_of_call
from shapetrace.records import TensorRef
from shapetrace.signatures import is_method
from shapetrace.source.line import find

#: their index has as many dimensions as the tensor
_BY_INDEX = ("gather", "scatter", "scatter_add", "scatter_reduce", "take_along_dim")


def indices(case: Case) -> Iterator[Hypothesis | None]:
    """The index brought to the tensor's number of dimensions: one entry along `dim`, or
    the same rows for all that stands behind."""
    call = case.call
    index = next((r for r in call.inputs[1:] if not r.dtype.is_floating_point), None)
    dim = call.kwargs.get("dim", (*call.args[1:2], None)[0])
    if call.name.rstrip("_") not in _BY_INDEX or index is None or type(dim) is not int:
        return
    tensor = call.inputs[0]
    shape, taken = tensor.shape, index.shape
    dim %= max(len(shape), 1)
    site = site_of_call(case.graph, call)
    reason = f"wants an index of {len(shape)} dimensions, as the tensor has"
    if taken == shape[:dim] + shape[dim + 1 :]:
        made = edited(case, index, edits.unsqueeze(dim), "insert", site)
        yield made and replace(made, reason=reason)
    elif taken[:-1] and _behind(taken, shape, dim):
        name = _name(case, tensor)
        edit = _ahead(shape[: len(shape) - len(taken)], len(taken), name)
        made = edited(case, index, edit, "insert", site)
        yield made and replace(made, reason=reason)
    elif dim < len(taken) < len(shape):
        edit = _repeated(len(taken), shape, _name(case, tensor))
        made = edited(case, index, edit, "insert", site)
        yield made and replace(made, reason=reason)


def beyond(case: Case) -> Iterator[Hypothesis | None]:
    """A dimension of size 1 that was kept, where the indices fit what it is without:
    `x[i, j, k]` of (4, 1, 24, 48), with places of (4, 24, 48)."""
    call = case.call
    if case.mismatch.kind != "range" or call.name not in ("getitem", "setitem"):
        return
    tensor, index = call.inputs[0], call.args[1]
    parts = index if isinstance(index, tuple) else (index,)
    ranges = case.graph.rec.value_ranges
    spans = [
        ranges.get(part.id) if isinstance(part, TensorRef) else None for part in parts
    ]
    for dim, size in enumerate(tensor.shape):
        shape = tensor.shape[:dim] + tensor.shape[dim + 1 :]
        if size != 1 or len(shape) < len(spans):
            continue
        fit = zip(spans, shape)
        if all(span and -n <= span[0] and span[1] < n for span, n in fit):
            yield holding_values(edited(case, tensor, edits.squeeze(dim)))


def _behind(taken: tuple[int, ...], shape: tuple[int, ...], dim: int) -> bool:
    """Whether an index goes with the last dimensions of a tensor, but for `dim`."""
    first = len(shape) - len(taken)
    pairs = enumerate(zip(taken, shape[first:]), first)
    return 0 < first <= dim and all(a == b for at, (a, b) in pairs if at != dim)


def _name(case: Case, ref: TensorRef) -> str:
    """What the line calls a tensor, where that is a name."""
    line = find(case.call.source)
    node = None if line is None else line.argument(ref.path, is_method(case.call))
    return line.text(node) if line is not None and isinstance(node, ast.Name) else ""


def _repeated(rank: int, shape: tuple[int, ...], name: str = "") -> Edit:
    """`index[..., None].expand(-1, 3)`: an index of `rank` dimensions repeated for the
    others of `shape`, which are those of the tensor called `name`."""
    behind = range(rank, len(shape))
    inside = ", ".join(["..."] + ["None"] * len(behind))
    sizes = (-1,) * rank + shape[rank:]
    texts = [f"{name}.size({dim})" if name else str(shape[dim]) for dim in behind]

    def act(t: torch.Tensor) -> torch.Tensor:
        return t[(..., *(None,) * len(behind))].expand(sizes)

    words = f"the same index for all {'x'.join(map(str, shape[rank:]))} behind it"
    text = ", ".join(["-1"] * rank + texts)
    return Edit(f"{{}}[{inside}].expand({text})", act, words)


def _ahead(sizes: tuple[int, ...], rank: int, name: str = "") -> Edit:
    """`index.expand(3, -1, -1)`: an index of `rank` dimensions for all that stands
    before, in the tensor called `name`."""
    texts = [f"{name}.size({at})" if name else str(n) for at, n in enumerate(sizes)]
    text = ", ".join(texts + ["-1"] * rank)
    words = f"the same index for all {'x'.join(map(str, sizes))} before it"
    return Edit(f"{{}}.expand({text})", lambda t: t.expand(*sizes, *t.shape), words)
