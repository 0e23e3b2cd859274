"""A table of many batches: one row for a module, whatever the order of its calls."""

from __future__ import annotations

import torch
from torch import nn

import shapetrace
from shapetrace.views.folding import make_plan
from shapetrace.views.marks import marks_of


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 8)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.sometimes = nn.GELU()

    def forward(self, x):
        x = self.fc(x)
        for block in self.blocks:
            x = block(x)
        return self.sometimes(x) if len(x) > 4 else x


class Scale(nn.Module):
    def forward(self, x):
        return x * 2


def many(net, last=4):
    """Batches of sizes that do not repeat, each sample through a transform, each loss
    made anew."""
    scale = Scale()
    with shapetrace.trace() as t:
        for n in [*range(1, 30), *range(30, 1, -1)]:
            x = torch.stack([scale(torch.zeros(last)) for _ in range(n)])
            nn.CrossEntropyLoss()(net(x), torch.zeros(n).long())
    return t


def rows(t):
    """The first two cells of each row of the table."""
    table = str(t).partition("\n\n")[2].partition("\n\n")[0].splitlines()[2:]
    return [tuple(line.split("  ")[0].split(" ×")) for line in table]


def test_a_module_has_one_row_and_its_stack_another():
    t = many(Net())
    *first, losses = [row[0] for row in rows(t)]
    assert first == ["scale", "net", "├─fc", "├─blocks.0…2", "└─sometimes"]
    assert losses.startswith("CrossEnt") and losses.endswith("_58")
    assert rows(t)[1] == ("net", "58") and rows(t)[3] == ("├─blocks.0…2", "3")


def test_losses_and_transforms_are_no_models():
    assert str(many(Net())).startswith("Net: ")
    with shapetrace.trace() as t:
        Scale()(torch.ones(2))
    assert str(t).startswith("Scale: ")


def test_every_call_is_in_one_row_and_every_time_is_counted_once():
    t = many(Net())
    plan = make_plan(t.recording, marks_of(t.recording, ()))
    members = [one for node in plan.nodes for one in node.members]
    assert sorted(members) == list(range(len(t.calls)))
    for node in plan.nodes:
        if node.parent is not None:
            above = set(plan.nodes[node.parent].members)
            assert {plan.parents[one] for one in node.members} <= above


def test_the_call_that_failed_keeps_a_row_of_its_own():
    net = Net()
    try:
        with shapetrace.trace() as t:
            for n in range(1, 40):
                net(torch.zeros(n, 4))
            net(torch.zeros(3, 5))
    except RuntimeError:
        pass
    outer, inner = [line for line in str(t).splitlines() if "failed" in line][1:3]
    assert outer.startswith("net ") and "fc" in inner
    assert len(rows(t)) < 12


def test_a_few_batches_stay_in_their_order():
    net = Net()
    with shapetrace.trace() as t:
        for n in (2, 3, 2):
            net(torch.zeros(n, 4))
    assert [row[0] for row in rows(t)].count("net") == 3


def test_epochs_whose_last_batch_is_smaller_fold_to_one_row_a_module():
    net = Net()
    with shapetrace.trace() as t:
        for n in 2 * (8, 8, 5) + 2 * (9, 9, 6):  # training, then validation
            net(torch.zeros(n, 4))
    first, *inside = [row[0] for row in rows(t)]
    assert first == "net" and len(inside) == 3
