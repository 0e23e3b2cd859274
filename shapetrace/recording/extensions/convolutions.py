"""What a convolution works with on the processor, beside what it is given and gives.

oneDNN copies tensors into blocks of sixteen channels, and back. What it holds of that
at a time was learnt from `torch.profiler` on a processor with AVX-512: of 180 others,
of one to three dimensions, the forward is right to 5 % in 64 %, the backward in 54 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

_BLOCK = 16
#: so few channels are read where they are, and fewer than a block not padded
_FEW = 4


class Working(NamedTuple):
    """Bytes, by itself and in its backward."""

    forward: int
    backward: int


def is_convolution(name: str) -> bool:
    """Whether a function of this name is one: `conv2d`, `conv_transpose3d`."""
    return name.startswith("conv") and name[-2:] in ("1d", "2d", "3d")


def working(
    name: str,
    given: Sequence[int],
    weight: Sequence[int],
    made: Sequence[int],
    itemsize: int,
    backward_to_given: bool,
) -> Working:
    """Of these shapes; `backward_to_given` says whether what it was given needs a
    gradient too."""
    if len(given) < 3 or len(given) != len(weight):  # one sample, without a batch
        return Working(0, 0)
    x, y = math.prod(given), math.prod(made)
    kernel = math.prod(weight)
    padded = _padded(made)
    if "transpose" in name:
        forward = max(2 * y, _padded(given) + kernel)
        return Working(forward * itemsize, (_padded(given) + _read(made)) * itemsize)
    forward = max(padded, _read(given) + kernel + padded - y)
    backward = _read(given) + padded
    if backward_to_given and 2 * made[2] <= given[2] + 1 and weight[1] > 1:
        backward = max(backward, 2 * (_padded(given) if given[1] >= _BLOCK else x))
    elif backward_to_given and given[1] > 1:
        backward = max(backward, padded + kernel + _padded(given) - x)
    return Working(forward * itemsize, backward * itemsize)


def _padded(shape: Sequence[int]) -> int:
    """Numbers of a copy whose channels come by the sixteen."""
    channels = shape[1]
    whole = -(-channels // _BLOCK) * _BLOCK
    return math.prod(shape) * whole // max(1, channels)


def _read(shape: Sequence[int]) -> int:
    """Of a copy of what a kernel reads."""
    if shape[1] < _FEW:
        return 0
    return _padded(shape) if shape[1] >= _BLOCK else math.prod(shape)
