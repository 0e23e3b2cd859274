"""FLOPs of products of which torch has no formula, by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace

A, B, V, W = torch.randn(6, 5), torch.randn(5, 7), torch.randn(5), torch.randn(6)
LEFT, RIGHT = torch.randn(4, 5), torch.randn(4, 6)


@pytest.mark.parametrize(
    ("product", "forward", "backward"),
    [
        # the gradient of the matrix is an outer product, which has no sum
        (lambda: A @ V, 2 * 6 * 5, 2 * 6 * 5),
        (lambda: torch.addmv(W, A, V), 2 * 6 * 5, 2 * 6 * 5),
        (lambda: torch.dot(V, V), 2 * 5, 0),
        (lambda: torch.addbmm(A @ B, A[None], B[None]), 2 * 2 * 210, 2 * 2 * 2 * 210),
        # 3 x (4x5 times 5x6, then each of 4 rows of 6 times 6); towards each of the
        # three a product, and one of numbers, which has no sum
        (
            lambda: F.bilinear(LEFT, RIGHT, torch.ones(3, 5, 6, requires_grad=True)),
            3 * 2 * 4 * 6 * (5 + 1),
            3 * (3 * 2 * 4 * 5 * 6),
        ),
        (lambda: (A @ B).addmm_(A, B), 2 * 2 * 210, 2 * 2 * 2 * 210),
        (
            lambda: (A @ B)[None].baddbmm_(A[None], B[None]),
            *(2 * 2 * 210, 2 * 2 * 2 * 210),
        ),
        # 5 steps of 3 taps: 2 samples, 4 channels, 5 channels; torch works out both
        # gradients, whichever is asked for
        (
            lambda: torch.conv_tbc(
                *(torch.randn(7, 2, 4).requires_grad_(), torch.randn(3, 4, 5)), V
            ),
            2 * 5 * 3 * 2 * 4 * 5,
            2 * (2 * 5 * 3 * 2 * 4 * 5),
        ),
    ],
)
def test_products_of_which_torch_has_no_formula_are_counted(product, forward, backward):
    """By hand; what `bilinear` multiplies was seen by torch.profiler as well."""
    for tensor in (A, B, V, W, LEFT, RIGHT):
        tensor.requires_grad_()
    with shapetrace.trace(checks=False) as t:
        product().sum().backward()
    assert sum(filter(None, t.costs.function_flops)) == forward
    assert sum(filter(None, t.costs.function_backward_flops)) == backward
    assert t.costs.complete


def test_products_without_a_formula_are_named():
    model, x = nn.Linear(4, 3), torch.randn(2, 4)
    with shapetrace.trace(model, checks=False) as t:
        torch.cdist(torch.linalg.inv(model(x)[:, :2]), x[:, :2])
    assert t.costs.uncounted == ("cdist", "linalg_inv")
