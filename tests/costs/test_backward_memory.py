"""What a node of a backward works with is held too: each figure is counted by hand, and
is what torch.profiler sees of the allocator."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile

import shapetrace

#: bytes of a tensor of 64 x 96, and of one of 96
WHOLE, ROW = 64 * 96 * 4, 96 * 4


class Applied(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def allocated(run):
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        run()
    held = most = 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


INDEX = torch.arange(64).flip(0)
#: inputs besides the first, the function, and the most that its step holds: what it
#: gives, the gradient of that, and in turn
CASES = {
    # both gradients, and before it is summed the product that is one of a row
    "a row times": ((96,), torch.mul, [WHOLE, WHOLE, WHOLE, WHOLE, ROW]),
    # first the gradient of what it is divided by: the quotient, that divided again, the
    # negative of what came, and their product
    "divided": ((64, 96), torch.div, [WHOLE, WHOLE, 4 * WHOLE]),
    # the power, and twice it, besides their product with the gradient
    "squared": ((), torch.square, [WHOLE, WHOLE, 3 * WHOLE]),
    # each step's difference to it, the exponential of that, and its gradient
    "log-sum-exp": ((), lambda x: x.logsumexp(-1), [64 * 4, 64 * 4, 3 * WHOLE]),
    # a kernel of the processor's own, of many operations elsewhere
    "silu": ((), F.silu, [WHOLE, WHOLE, WHOLE]),
    # zeros, in which the gradients are put in place
    "index": ((), lambda x: x[INDEX], [WHOLE, WHOLE, WHOLE]),
    "sorted": ((), lambda x: x.sort(-1)[0], [WHOLE, 2 * WHOLE, WHOLE, WHOLE]),
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_backward_of_a_function_holds(name):
    shape, function, parts = CASES[name]
    shapes = [(64, 96), *([shape] if shape else [])]
    inputs = [torch.rand(one).add_(1).requires_grad_() for one in shapes]
    model = Applied(function)

    def step():
        made = model(*inputs)
        gradient = torch.ones_like(made)
        torch.autograd.grad(made, inputs, gradient)

    step()
    with shapetrace.trace(model, memory=True, checks=False) as t:
        step()
    assert t.memory().total == sum(parts)
    assert allocated(step) == pytest.approx(sum(parts), abs=64)


def test_the_backward_of_a_division_counts_after_warm_too():
    model = Applied(torch.div)
    inputs = [torch.ones(64, 96, requires_grad=True) for _ in range(2)]
    with shapetrace.trace(model, memory=True, checks=False) as t:
        for _ in range(2):
            model(*inputs).sum().backward()
    assert t.warm().memory().total == t.memory().total
