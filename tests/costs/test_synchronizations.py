"""Calls that make an accelerator wait, by their lines."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace
from shapetrace.costs.waits import synchronizations
from shapetrace.records import FunctionCall, Recording, Source, TensorRef

LINE = Source("train.py", 10, "main")


def test_waits_are_found_by_line_and_are_candidates_on_the_processor():
    model = nn.Linear(4, 3)
    with shapetrace.trace(model, checks=False) as t:
        y = model(torch.randn(2, 4))
        for _ in range(5):
            y.sum().item() + y.max().item()
        y[y > 0], y.nonzero(), y.tolist(), bool(y.any()), repr(y)
        y + 1, y.view(-1), y[0], y.shape
    found = synchronizations(t.recording)
    assert {one.name: one.calls for one in found} == {
        "item": 10, "getitem": 1, "nonzero": 1, "tolist": 1, "bool": 1, "repr": 1
    }  # fmt: skip
    assert not any(one.certain for one in found)


@pytest.mark.parametrize(
    ("run", "waits"),
    [
        (lambda y, at: torch.linalg.inv(y), True),  # is it singular?
        (lambda y, at: torch.linalg.inv_ex(y), False),
        (lambda y, at: F.one_hot(at), True),  # how many classes?
        (lambda y, at: F.one_hot(at, 9), False),
        (lambda y, at: y[at], True),  # from where on?
        (lambda y, at: y[at[None]], False),
        (lambda y, at: y.__setitem__(at, 0.0), True),
        (lambda y, at: y.__setitem__(0, torch.tensor(True)), False),
        (lambda y, at: y.__setitem__(y > 0, 0.0), True),
        (lambda y, at: torch.arange(at), True),  # how many?
        (lambda y, at: torch.full((2,), at), True),
        (lambda y, at: torch.full_like(at, 1), False),
        (lambda y, at: y.new_zeros(at, 3), True),
        (lambda y, at: y.topk(at), True),
        (lambda y, at: at.view(1), False),  # is not the number, but what is viewed
        (lambda y, at: y.clamp(max=at), False),  # an operand as any other
        (lambda y, at: y.fill_(at), False),
        (lambda y, at: F.gaussian_nll_loss(y, y, y * y), True),  # is one below 0?
        (lambda y, at: float(y[0, 0]), True),
        (lambda y, at: int(at), True),
        (lambda y, at: (y.int(), y.bool(), at.float()), False),  # other dtypes
    ],
)
def test_what_reads_values_to_know_what_to_do_would_wait(run, waits):
    y, at = torch.eye(4), torch.tensor(1)
    with shapetrace.trace(nn.Identity()) as t:
        run(y, at)
    assert len(synchronizations(t.recording)) == waits


def test_the_seed_that_a_loader_draws_waits_for_nothing():
    model = nn.Linear(4, 3)
    data = torch.utils.data.TensorDataset(torch.randn(8, 4))
    with shapetrace.trace(model) as t:
        for (x,) in torch.utils.data.DataLoader(data, batch_size=4, shuffle=True):
            model(x).sum().item()
    assert [(one.name, one.calls) for one in synchronizations(t.recording)] == [
        ("item", 2)
    ]


def on(device, at=1, dtype=torch.float32):
    return TensorRef(f"args[{at - 1}]", at, (4,), dtype, torch.device(device))


def test_on_an_accelerator_waits_are_certain_and_the_processors_are_none():
    calls = (
        FunctionCall(0, None, "item", "item", (on("cuda"),), (), 0, 70, LINE),
        FunctionCall(1, None, "item", "item", (on("cpu"),), (), 80, 10, LINE),
        FunctionCall(2, None, "to", "to", (on("cpu"),), (on("cuda"),), 90, 9, LINE),
        FunctionCall(
            3, None, "to", "to", (on("cpu"),), (on("cuda"),), 99, 9, LINE,
            kwargs={"non_blocking": True},
        ),
        FunctionCall(4, None, "to", "to", (on("cuda"),), (on("cuda"),), 99, 9, LINE),
    )  # fmt: skip
    found = synchronizations(Recording((), calls, {}, {}))
    assert [(one.name, one.calls, one.certain) for one in found] == [
        ("item", 1, True),
        ("to", 1, True),
    ]


def test_an_index_on_the_processor_does_not_make_it_wait():
    def pick(device):
        tensor, index = on("cuda"), replace(on(device, 2, torch.int64), shape=())
        return FunctionCall(
            0, None, "getitem", "getitem", (tensor, index), (), 0, 70, LINE
        )

    for device, count in (("cuda", 1), ("cpu", 0)):
        rec = Recording((), (pick(device),), {}, {})
        assert len(synchronizations(rec)) == count


def test_an_optimizers_own_reading_is_no_candidate():
    model = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    with shapetrace.trace(model, checks=False) as t:
        model(torch.randn(2, 4)).sum().backward()
        optimizer.step()
    assert "item" in {call.name for call in t.functions}
    assert synchronizations(t.recording) == ()
