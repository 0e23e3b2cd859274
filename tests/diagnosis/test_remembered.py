"""Programs that are read on with what their names stood for when they failed."""

import functools
from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from failures import failure_of
from torch import nn
from torch.nn import functional as F

import shapetrace

CONFIG = Namespace(rounds=2, classes=4)


class Head(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.places = config, {"hour": (0, 3)}
        self.embed, self.out = nn.Linear(6, 8), nn.Linear(9, 4)

    def forward(self, x):
        x = self.out(self.embed(x))
        for _ in range(self.config.rounds):
            x = x + x.mean(1, keepdim=True)
        first, last = self.places["hour"]
        return x[:, first:last]


class Activation(nn.Module):  # no `__init__` of its own
    def forward(self, x):
        return x * x.sigmoid()


class Trainer:
    real = 1.0
    groups = 2

    def __init__(self, model):
        self.model, self.criterion = model, nn.BCEWithLogitsLoss()

    def step(self, x):
        out = self.model(x).view(-1, self.groups, 2).mean((1, 2))
        return self.criterion(out, torch.full((out.size(0),), self.real))


def fixed(model, step):
    fix = failure_of(model, step).fixes[0]
    return fix.line, fix.status


def test_a_configuration_that_a_module_holds():
    model = Head(SimpleNamespace(rounds=2))
    target = torch.randint(0, 3, (5,))
    found = fixed(model, lambda: F.cross_entropy(model(torch.rand(5, 6)), target))
    assert found[1] == "verified" and "nn.Linear(8, 4)" in found[0]


def test_what_a_configuration_leads_to_is_read():
    """With four classes three are cut out of them, which the target has not."""
    model = Head(SimpleNamespace(rounds=2))
    target = torch.rand(5, 4)
    found = failure_of(model, lambda: F.mse_loss(model(torch.rand(5, 6)), target))
    assert "verified" not in [fix.status for fix in found.fixes]


def test_a_module_without_an_init():
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(9, 4), Activation())
    found = fixed(model, lambda: model(torch.rand(5, 6)).sum())
    assert found[1] == "verified"


def test_an_object_with_its_loss_and_what_its_class_says():
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(9, 4))
    trainer = Trainer(model)
    found = fixed(model, lambda: trainer.step(torch.rand(5, 6)))
    assert found[1] == "verified"


def batches(count):
    for _ in range(count):
        yield torch.rand(5, 6)


def scored(model, x):
    out = model(x)
    return F.mse_loss(out, torch.zeros(5, 7))


def epoch(model):
    return sum(scored(model, x) for x in batches(CONFIG.rounds)) / len("abc".split())


def test_a_function_that_a_generator_feeds():
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(9, 4))
    fix = failure_of(model, lambda: epoch(model)).fixes[0]
    assert fix.status == "moved" and "`mse_loss` at line" in fix.detail
    assert "expects target=7, gets 4" in fix.detail


def test_a_function_that_a_library_calls():
    model, data = nn.Sequential(nn.Linear(6, 8), nn.Linear(9, 4)), [torch.rand(5, 6)]

    def step():
        return functools.reduce(lambda total, x: total + scored(model, x), data, 0)

    assert "expects target=7, gets 4" in failure_of(model, step).fixes[0].detail


def matched(model, x):
    match x.dim():
        case 2:
            return scored(model, x)


def test_a_function_whose_caller_is_not_understood():
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(9, 4))
    found = failure_of(model, lambda: matched(model, torch.rand(5, 6)))
    assert "expects target=7, gets 4" in found.fixes[0].detail


def chosen(model, x, seen):
    out = model(x)
    return F.mse_loss(out[seen], torch.zeros(3, 4))


def test_as_many_as_a_mask_was_seen_to_pick():
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(9, 4))
    seen = torch.tensor([True, True, True, False, False])

    def step():
        other = torch.rand(5)[seen]
        return chosen(model, torch.rand(5, 6), seen) + other.sum()

    assert fixed(model, step)[1] == "verified"


@pytest.mark.parametrize("classes", [4, 7])
def test_a_saved_trace_is_explained_alike(classes, tmp_path):
    model = Head(SimpleNamespace(rounds=2))
    target = torch.rand(5, classes)
    with pytest.raises(RuntimeError), shapetrace.trace(model) as t:
        F.mse_loss(model(torch.rand(5, 6)), target)
    t.to_json(tmp_path / "trace.json")
    assert str(shapetrace.load(tmp_path / "trace.json").failure) == str(t.failure)
