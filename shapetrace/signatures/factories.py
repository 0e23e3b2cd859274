"""Tensors made from nothing but arguments."""

from __future__ import annotations

import math
from typing import Any

from shapetrace.records import TensorRef
from shapetrace.signatures.answer import Answer, Dim, Unknown, made
from shapetrace.signatures.binding import Bound
from shapetrace.signatures.registry import rule


def _told(b: Bound, sizes: Any) -> Answer:
    """A shape among the arguments."""
    many = sizes if isinstance(sizes, (tuple, list)) else (sizes,)
    dims: list[Dim] = []
    for place, size in enumerate(many):
        if isinstance(size, TensorRef):
            dims.append(made("values", None, "a tensor's value"))
            continue
        if not isinstance(size, int):
            raise Unknown
        shown = ", ".join(str(s) if i == place else "…" for i, s in enumerate(many))
        dims.append(made("argument", size, f"{b.name}({shown})"))
    return Answer([dims])


@rule("zeros ones empty rand randn", "size")
def sized(b: Bound) -> Answer:
    """The shape given, as one argument or as many."""
    return _told(b, b.rest("size"))


@rule("full empty_strided", "size fill_value")
def full(b: Bound) -> Answer:
    """The shape is the first argument."""
    return _told(b, b.value("size", ()))


@rule("new_zeros new_ones new_empty", "input size")
def new_sized(b: Bound) -> Answer:
    """The shape given; the tensor lends only its dtype and device."""
    return _told(b, b.rest("size"))


@rule("new_full new_empty_strided", "input size fill_value")
def new_full(b: Bound) -> Answer:
    """The shape given; the tensor lends only its dtype and device."""
    return _told(b, b.value("size", ()))


@rule("as_strided", "input size stride")
def as_strided(b: Bound) -> Answer:
    """The shape given, over the same memory."""
    return _told(b, b.value("size", ()))


@rule("resize", "input size")
def resize(b: Bound) -> Answer:
    """The shape given."""
    return _told(b, b.rest("size"))


@rule("randint", "low high size")
def randint(b: Bound) -> Answer:
    """randint(high, size) or randint(low, high, size)."""
    lists = [a for a in b.call.args if isinstance(a, (tuple, list))]
    return _told(b, b.call.kwargs.get("size", lists[0] if lists else None))


@rule(
    "randperm eye hann_window hamming_window blackman_window bartlett_window "
    "kaiser_window",
    "n m",
)
def counted(b: Bound) -> Answer:
    """So many; `eye` is a matrix."""
    n = b.integer("n", b.call.kwargs.get("window_length"))
    if b.name == "eye":
        return _told(b, (n, b.integer("m", n)))
    return _told(b, (n,))


@rule("arange", "start end step")
def arange(b: Bound) -> Answer:
    """arange(end), arange(start, end) or arange(start, end, step)."""
    start, end, step = b.value("start", 0), b.value("end"), b.value("step", 1)
    if end is None:
        start, end = 0, start
    if not all(isinstance(n, (int, float)) for n in (start, end, step)) or not step:
        raise Unknown
    if all(isinstance(n, int) for n in (start, end, step)):
        count = max(0, -(-(end - start) // step))
    else:
        count = max(0, math.ceil((end - start) / step))
    return Answer([[made("argument", count, f"arange to {end}")]])


@rule("linspace logspace", "start end steps")
def linspace(b: Bound) -> Answer:
    """So many steps."""
    steps = b.integer("steps")
    return Answer([[made("argument", steps, f"steps={steps}")]])


@rule(
    "tensor as_tensor asarray from_numpy frombuffer scalar_tensor new_tensor "
    "sparse_coo_tensor",
    "data",
)
def from_data(b: Bound) -> Answer:
    """The shape of the data: as recorded."""
    outputs = b.call.outputs
    if not outputs or b.call.inputs:
        raise Unknown
    return Answer([[made("argument", s, b.name) for s in outputs[0].shape]])


@rule("tril_indices triu_indices combinations", "row col offset")
def indices(b: Bound) -> Answer:
    """As recorded: counted from the arguments."""
    outputs = b.call.outputs
    if not outputs or b.call.inputs:
        raise Unknown
    return Answer([[made("argument", s, b.name) for s in outputs[0].shape]])
