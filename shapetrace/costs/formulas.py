"""FLOPs of operations of which torch has no formula, or a wrong one.

Two for each product and its sum, as in torch's own formulas; what is no product counts
nothing there, and nothing here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch

from shapetrace.errors import costs_an_answer

Shape = Sequence[int]


def formulas() -> dict[Any, Callable[..., int]]:
    """By operation; the shapes of tensors stand for them."""
    aten = torch.ops.aten
    own: dict[Any, Callable[..., int]] = {
        aten.convolution_backward: _convolution_backward,
        **dict.fromkeys((aten.dot, aten.vdot), _dot),
        aten.mv: _mv,
        **dict.fromkeys((aten.addmv, aten.addmv_), _vector_added),
        **dict.fromkeys((aten.addbmm, aten.addbmm_), _matrices_added),
        **dict.fromkeys((aten.addmm_, aten.baddbmm_), _matrices_added),
        aten.conv_tbc: _conv_tbc,
        aten._trilinear: _trilinear,
    }
    return {operation: _told(formula) for operation, formula in own.items()}


def _told(formula: Callable[..., int]) -> Callable[..., int]:
    """What torch calls: who repeats a call would take our faults for torch's."""

    @wraps(formula)
    def told(*args: Any, **kwargs: Any) -> int:
        try:
            return formula(*args, **kwargs)
        except Exception as fault:
            # of any kind: torch calls this, and who repeats a call takes what comes of
            # it for torch's own
            costs_an_answer("some FLOPs", fault)
            raise

    return told


def _dot(left: Shape, right: Shape, **_: Any) -> int:
    return 2 * left[0]


def _mv(matrix: Shape, vector: Shape, **_: Any) -> int:
    return 2 * math.prod(matrix)


def _vector_added(added: Shape, matrix: Shape, vector: Shape, **_: Any) -> int:
    return 2 * math.prod(matrix)


def _matrices_added(added: Shape, left: Shape, right: Shape, **_: Any) -> int:
    return 2 * math.prod(left) * right[-1]


def _conv_tbc(x: Shape, weight: Shape, bias: Shape, pad: int = 0, **_: Any) -> int:
    steps = x[0] + 2 * pad - weight[0] + 1
    return 2 * steps * x[1] * math.prod(weight)


def _trilinear(
    first: Shape,
    second: Shape,
    third: Shape,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    summed: Sequence[int],
    unrolled: int = 1,
    **_: Any,
) -> int:
    """The sum of products of three tensors, which is what `bilinear` and its gradients
    are: two of them are multiplied first and summed over what the third one lacks, then
    with the third over the rest. Where nothing is summed it is no product. What is to
    be expanded says which dimensions a tensor lacks; one dimension is gone through in a
    loop."""
    lacking = [set(expand1), set(expand2), set(expand3)]
    sizes = [1] * (len(first) + len(expand1))
    for shape, absent in zip((first, second, third), lacking, strict=True):
        present = [dim for dim in range(len(sizes)) if dim not in absent]
        for dim, size in zip(present, shape, strict=True):
            sizes[dim] = max(sizes[dim], size)
    early = (set(summed) & lacking[2]) - {unrolled}
    late = set(summed) - early - {unrolled}
    pair = [n for dim, n in enumerate(sizes) if dim not in lacking[0] & lacking[1]]
    rest = [n for dim, n in enumerate(sizes) if dim not in early]
    return 2 * (math.prod(pair) * bool(early) + math.prod(rest) * bool(late))


def _convolution_backward(
    grad_shape: Shape,
    x_shape: Shape,
    weight_shape: Shape,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    output_mask: Sequence[bool],
    **_: Any,
) -> int:
    """Each of the two gradients pairs the same elements as the forward does. Torch's
    formula forgets the groups in that of the weight, also in 2.15: a depthwise layer of
    16 channels would have 16 times its FLOPs there."""
    places = (x_shape if transposed else grad_shape)[2:]
    # the weight holds the channels of one group on one side, so that the groups are in
    forward = 2 * grad_shape[0] * math.prod(places) * math.prod(weight_shape)
    return forward * sum(output_mask[:2])
