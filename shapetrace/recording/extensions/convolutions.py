"""What a convolution works with on the processor, beside what it is given and gives.

oneDNN copies tensors into blocks of sixteen channels: the forward what it is given, a
backward also the gradient that comes. Seen of 17 kinds of convolution with
`torch.profiler`: the backward needed these two to 1 % in 11 of them, half to all in the
others; the forward of a transposed one its output up to twice more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_BLOCK = 16


def is_convolution(name: str) -> bool:
    """Whether a function of this name is one: `conv2d`, `conv_transpose3d`."""
    return name.startswith("conv") and name[-2:] in ("1d", "2d", "3d")


def forward_bytes(name: str, given: int, made: int) -> int:
    """Of copies of these bytes."""
    return given + 2 * made if "transpose" in name else given


def copied(shape: Sequence[int], itemsize: int) -> int:
    """Bytes of a copy whose channels come by the sixteen."""
    channels = shape[1] if len(shape) > 2 else 0
    whole = -(-channels // _BLOCK) * _BLOCK
    return math.prod(shape) * itemsize * whole // max(1, channels)
