"""What many calls of one kind cost grows with their number, not with its square: counted
in Python's own calls, which no busy machine changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from shapetrace import Trace
from shapetrace.costs.traffic import tensors_in

pytestmark = pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")


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
    ("program", "few", "per_call"),
    [(one_by_many, 300, 200), (failing_cat, 300, 600), (failing_loop, 1200, 600)],
)
def test_findings_and_explanations_grow_with_the_calls(program, few, per_call):
    counts, sizes = [], []
    for number in (few, 2 * few, 4 * few):
        t = shapetrace.trace(net := nn.Linear(4, 4), checks=False)
        program(t, net, number)
        sizes.append(len(t.functions))
        whole = shapetrace.trace(net)
        counts.append(calls_of(lambda: program(whole, net, number)))
        counts[-1] += calls_of(lambda: (whole.findings, str(whole.explain())))
    print(program.__name__, counts, sizes)
    more = [(counts[at + 1] - counts[at]) / (sizes[at + 1] - sizes[at]) for at in (0, 1)]
    assert more[1] < 1.3 * more[0] and more[1] < per_call


def test_costs_are_worked_out_once_for_calls_that_differ_in_a_number():
    def program(number: int) -> Trace:
        net = nn.Linear(4, 4)
        with shapetrace.trace(net, checks=False) as t:
            hidden = net(torch.ones(number, 4))
            many = [hidden * at + float(at) for at in range(number)]
            rows = [hidden[at] for at in range(number)]
            torch.stack(rows) + torch.cat([hidden[at : at + 1] for at in range(number)])
            many[-1].sum().backward()
        return t

    counts = []
    for number in (50, 100, 200):
        t = program(number)
        counts.append(calls_of(lambda: t.costs))
    print(counts)
    assert counts[2] - counts[1] < 2.6 * (counts[1] - counts[0])
    assert counts[2] < 200 * 300


def test_what_is_taken_is_told_apart_by_what_it_costs():
    net = nn.Linear(4, 4)
    with shapetrace.trace(net, checks=False) as t:
        hidden = net(torch.ones(6, 4))
        for index in (0, slice(0, 2), slice(0, 4), slice(0, 4, 2), (slice(0, 2), 1)):
            hidden[index].contiguous()
        hidden[torch.tensor([0, 1])]
        hidden[hidden > 0]
        hidden + 1, hidden + 1.0, hidden * True
    moved = t.to_dataframe(by="function", costs=True).set_index("function")
    assert not moved.empty
    t.to_dataframe(by="function", costs=True)


def test_each_tensor_of_a_call_is_counted_once():
    x, y = torch.ones(2), torch.ones(2)
    found = tensors_in([x, [y, x], (y,), None, x])
    assert [id(one) for one in found] == [id(x), id(y)]
    assert calls_of(lambda: tensors_in([x] * 400)) < 20
