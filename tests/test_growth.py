"""What many calls of one kind cost grows with their number, not with its square:
counted in Python's own calls, which no busy machine changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from shapetrace import Trace
from shapetrace.costs.traffic import tensors_in

pytestmark = [
    pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning"),
    pytest.mark.filterwarnings("ignore:Using a target size"),
]


def calls_of(act: Callable[[], object]) -> int:
    """Calls of functions in Python, and steps of its generators."""
    count = 0

    def seen(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        act()
    finally:
        sys.setprofile(before)
    return count


def one_by_many(t: Trace, net: nn.Module, number: int) -> None:
    with t:
        hidden = net(torch.ones(2, 4))
        many = [hidden * at for at in range(number)]
        F.mse_loss(many[-1], torch.zeros(2, 4)).backward()


def failing_cat(t: Trace, net: nn.Module, number: int) -> None:
    with suppress(ValueError), t:
        parts = [net(torch.ones(1, 4)) for _ in range(number)]
        F.cross_entropy(torch.cat(parts), torch.zeros(number + 1, dtype=torch.long))


def failing_loop(t: Trace, net: nn.Module, number: int) -> None:
    x = torch.ones(2, 4)
    with suppress(RuntimeError), t:
        for _ in range(number):
            x = net(x) + 1
        F.l1_loss(x.mean(1), torch.zeros(3))


@pytest.mark.parametrize(
    ("program", "sizes", "most"),
    [
        (one_by_many, (60, 120, 240), 200),
        (failing_cat, (40, 80, 160), 700),
        # behind this many none is walked again
        (failing_loop, (650, 750), 700),
    ],
)
def test_findings_and_explanations_grow_with_the_calls(program, sizes, most):
    def run(number: int) -> tuple[int, int]:
        t = shapetrace.trace(net := nn.Linear(4, 4))
        counted = calls_of(
            lambda: (program(t, net, number), t.findings, str(t.explain()))
        )
        return counted, len(t.functions)

    run(3)  # what is loaded and cached once
    made = [run(number) for number in sizes]
    each = [(b[0] - a[0]) / (b[1] - a[1]) for a, b in pairwise(made)]
    assert max(each) < most and each[-1] < 1.2 * each[0]


def test_costs_are_worked_out_once_for_calls_that_differ_in_a_number():
    def run(number: int) -> int:
        net = nn.Linear(4, 4)
        with shapetrace.trace(net, checks=False) as t:
            hidden = net(torch.ones(40, 4))
            for at in range(number):
                last = hidden * at + float(at)
                rows = hidden[at], hidden[at : at + 2, 1], hidden[..., at % 4]
        assert len(last) == 40 and len(rows) == 3
        return calls_of(lambda: t.costs)

    run(2)
    assert run(30) - run(10) < 20 * 5 * 100  # to repeat one call takes some 600


def test_what_is_read_is_told_apart_where_that_costs_another():
    net = nn.Linear(4, 4)
    with shapetrace.trace(net, checks=False) as t:
        hidden = net(torch.ones(6, 4))
        read = []
        for index in (0, slice(0, 2), slice(0, 4), slice(0, 4, 2), slice(1, 3)):
            read.append(hidden[index].contiguous())
        few, more = torch.tensor([0, 1]), torch.tensor([0, 1, 2])
        kept = [hidden[few], hidden[more]]
    assert len(kept) == 2 and len(read) == 5
    made = [call for call in t.functions if call.name == "contiguous"]
    picked = [call for call in t.functions if call.name == "getitem"][-2:]
    moved = t.costs.function_moved_bytes
    # every second row is copied, the others are there as they are
    assert [moved[call.index] > 0 for call in made] == [0, 0, 0, 1, 0]
    assert moved[picked[0].index] < moved[picked[1].index]


def test_each_tensor_of_a_call_is_counted_once():
    x, y = torch.ones(2), torch.ones(2)
    found = tensors_in([x, [y, x], (y,), None, x])
    assert [id(one) for one in found] == [id(x), id(y)]
    assert calls_of(lambda: tensors_in([x] * 400)) < 20
