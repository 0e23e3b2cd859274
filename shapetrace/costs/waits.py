"""Calls that make the processor wait for the accelerator, by line of code.

To read a tensor's value, or to make a tensor whose size hangs on values, the processor
must wait until the accelerator has done all that was queued. On the processor such a
call waits for nothing; it is a candidate for the day when the model moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from shapetrace.records import FunctionCall, Recording, Source, TensorRef
from shapetrace.records.printable import printable

#: they read values
_READING = {"item", "tolist", "numpy", "equal", "allclose", "is_nonzero", "cpu"}
#: so does Python: `float(x)` calls `x.__float__()`; `x.float()` is something else
_PYTHON = {"bool", "int", "float", "complex", "index", "repr", "format", "str"}
_PYTHON |= {"array", "contains"}
#: the size of what they make hangs on values
_SIZING = {
    *("nonzero", "argwhere", "masked_select", "unique", "unique_consecutive"),
    *("bincount", "combinations", "histogramdd"),
}
#: they look whether what they worked out is sound: torch's pages on them say that they
#: synchronise, and what is left of them by other names
_CHECKING = {
    *("cholesky", "cond", "eig", "eigh", "eigvals", "eigvalsh", "inv", "inverse"),
    *("ldl_factor", "lu_factor", "matrix_rank", "pinv", "pinverse", "solve"),
    *("svd", "svdvals", "normal", "gaussian_nll_loss"),
}
#: where they take a tensor for a number, they read it: these anywhere
_MAKING = {
    *("arange", "eye", "full", "linspace", "logspace", "ones", "zeros", "empty"),
    *("rand", "randn", "randint", "randperm"),
}
#: and these behind the tensor that they are called on
_SHAPING = {
    *("view", "reshape", "unflatten", "expand", "repeat", "tile", "roll", "narrow"),
    *("chunk", "split", "topk", "kthvalue", "triu", "tril", "diagonal", "full_like"),
    *("new_zeros", "new_ones", "new_full", "new_empty"),
}
_INDEXING = {"getitem", "setitem", "index_put_", "index_put"}
_MASKS = {torch.bool, torch.uint8}
_HOST = {"cpu", "meta"}


Line = tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Synchronization:
    """The waiting calls of one function at one line. `certain` where a tensor lay on
    an accelerator; else they are candidates. Times in nanoseconds; on an accelerator
    they contain the wait for what was queued before."""

    source: Source | None
    name: str
    calls: int
    time_ns: int
    certain: bool
    module: str | None = None

    def __str__(self) -> str:
        where = self.source if self.source is not None else "(no line)"
        kind = "waits" if self.certain else "would wait on an accelerator"
        name = printable(self.name, keep="")
        return f"{where}: {name} {kind}, {self.calls}x, {self.time_ns / 1e6:.2f} ms"


def synchronizations(rec: Recording) -> tuple[Synchronization, ...]:
    """What waits, certain before candidates, most time first. Where a tensor lies on
    an accelerator, those on the processor are no candidates; neither are those of
    loaders and optimizers, which stay there."""
    groups: dict[tuple[Line, str, bool], list[FunctionCall]] = {}
    moved = any(map(_on_accelerator, rec.functions))
    spans = [(one.start_ns, one.start_ns + one.duration_ns) for one in rec.ranges]
    # a loader also draws a seed where the loop begins, before its first batch
    loops = {_line(one.source) for one in rec.ranges if "DataLoader" in one.name}
    for call in rec.functions:
        if call.error is not None or not _waits(call):
            continue
        certain = _on_accelerator(call)
        line = _line(call.source)
        inside = any(start <= call.start_ns < end for start, end in spans)
        inside = inside or (line is not None and line in loops)
        if certain or not moved and not inside:
            groups.setdefault((line, call.name, certain), []).append(call)
    found = [
        Synchronization(
            source=calls[0].source,
            name=name,
            calls=len(calls),
            time_ns=sum(call.duration_ns for call in calls),
            certain=certain,
            module=_module(rec, calls),
        )
        for (_, name, certain), calls in groups.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.certain, -one.time_ns)))


def _line(place: Source | None) -> Line:
    return None if place is None else (place.file, place.line)


def _on_accelerator(call: FunctionCall) -> bool:
    ends = (*call.inputs, *(call.outputs or ()))
    return any(map(_is_away, ends))


def _is_away(ref: TensorRef) -> bool:
    return ref.device.type not in _HOST


def _module(rec: Recording, calls: Sequence[FunctionCall]) -> str | None:
    parent = calls[0].parent
    return None if parent is None else rec.calls[parent].name


def _waits(call: FunctionCall) -> bool:
    if not call.inputs:
        return False
    name = call.name.removeprefix("linalg_")
    if name in _PYTHON and call.qualname.endswith("__"):
        return True
    if name in _READING or name in _SIZING or name in _CHECKING:
        return True
    if name == "one_hot":  # without the number of classes it looks for the largest
        classes = call.kwargs.get("num_classes", *(call.args[1:] or (-1,)))
        return bool(classes == -1)
    if call.name == "where":
        return len(call.inputs) == 1
    if call.name == "repeat_interleave":
        return len(call.inputs) > 1 and call.kwargs.get("output_size") is None
    if call.name in _INDEXING:
        indices = [ref for ref in call.inputs if ref.path.startswith("args[1]")]
        away = _on_accelerator(call)  # a number that is not there is read at once
        return any(
            ref.dtype in _MASKS or _is_number(ref) and away == _is_away(ref)
            for ref in indices
        )
    if (call.name in _MAKING or call.name in _SHAPING) and call.direct:
        # torch's own layers ask sizes of tensors that never leave the processor
        away = _on_accelerator(call)
        return any(
            ref.shape == () and away == _is_away(ref)
            for ref in call.inputs
            if call.name in _MAKING or ref.path != "args[0]"
        )
    if call.name in ("to", "copy_", "cuda"):
        return _moves(call)
    return False


def _is_number(ref: TensorRef) -> bool:
    """`x[i]` reads an integer in a tensor: what is made is a view from there on."""
    integer = not ref.dtype.is_floating_point and not ref.dtype.is_complex
    return ref.shape == () and integer


def _moves(call: FunctionCall) -> bool:
    """Between the processor and an accelerator, and not in the background."""
    ends = [*call.inputs, *(call.outputs or ())]
    kinds = {ref.device.type in _HOST for ref in ends}
    return len(kinds) == 2 and call.kwargs.get("non_blocking") is not True
