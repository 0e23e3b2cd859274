"""A failing batch's traceback is the one that it has without a trace."""

from __future__ import annotations

import traceback

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), nn.ReLU())

    def forward(self, x):
        return self.body(x)


def through_layers():
    Net()(torch.ones(2, 5))


def through_a_loss_in_python():
    F.l1_loss(Net()(torch.ones(2, 4)), torch.ones(2, 9)).backward()


def through_a_hook_of_the_users():
    net = Net()
    net.register_forward_pre_hook(lambda module, args: None)
    net(torch.ones(2, 5))


def chained():
    try:
        through_layers()
    except RuntimeError as error:
        raise KeyError("mine") from error


def entries(body, **options):
    """File, function and expression of each entry below the body's caller."""
    try:
        if options.get("traced"):
            with shapetrace.trace(functions=options["functions"]):
                body()
        else:
            body()
    except Exception as error:
        found = []
        one = error
        while one is not None:
            stack = traceback.extract_tb(one.__traceback__)
            own = 1 if one is error else 0
            found.append(
                [
                    (f.filename, f.name, f.lineno, f.colno, f.end_colno)
                    for f in stack[own:]
                ]
            )
            one = one.__cause__ or one.__context__
        return found
    raise AssertionError("nothing was raised")


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize(
    "body",
    [
        through_layers,
        through_a_loss_in_python,
        through_a_hook_of_the_users,
        chained,
    ],
)
def test_the_traceback_is_the_one_of_an_untraced_batch(body, functions):
    assert entries(body, traced=True, functions=functions) == entries(body)


def test_expectations_fail_at_the_users_line():
    layer = nn.Linear(4, 3)
    with pytest.raises(shapetrace.ShapeError) as raised:
        with shapetrace.trace(layer) as t:
            t.expect(layer(torch.ones(2, 4)), "batch 9")
    last = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert last.filename == __file__
