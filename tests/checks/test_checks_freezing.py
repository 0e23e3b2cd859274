"""Layers that an attribute was to freeze, and those that are frozen."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace


class Named(nn.Module):
    """A flag of its own, for the gradient of what it is given."""

    def __init__(self, requires_grad=False):
        super().__init__()
        self.layer, self.requires_grad = nn.Linear(8, 8), requires_grad

    def forward(self, x):
        return self.layer(x.requires_grad_(self.requires_grad))


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.two(self.one(x).relu())


def net(first=None):
    return nn.Sequential(first or nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def codes(model, steps=2):
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with shapetrace.trace(model) as t:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(6, 8)), torch.arange(6) % 3).backward()
            optimizer.step()
    return [(one.code, one.culprits[0].name) for one in t.findings]


def layer(model):
    model[0].requires_grad = False


def each_layer(model):
    for child in list(model.children())[:2]:
        child.requires_grad = False


def by_setattr(model):
    setattr(model[0], "requires_grad", False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("freeze", [layer, each_layer, by_setattr])
@pytest.mark.parametrize("first", [nn.Linear, Body])
def test_an_attribute_freezes_no_module(freeze, first):
    model = net(first(8, 8) if first is nn.Linear else first())
    freeze(model)
    assert codes(model) == [("freeze-without-effect", "0")]


def by_the_method(model):
    model[0].requires_grad_(False)


def by_the_parameters(model):
    for parameter in model[0].parameters():
        parameter.requires_grad = False


def both(model):
    model[0].requires_grad = False
    model[0].requires_grad_(False)


def thawed(model):
    model[0].requires_grad = True


def without_parameters(model):
    model[1].requires_grad = False


def another_attribute(model):
    model[0].trainable = False


@pytest.mark.parametrize(
    "freeze",
    [by_the_method, by_the_parameters, both, thawed, without_parameters]
    + [another_attribute, lambda model: None],
)
def test_layers_that_are_what_they_were_told_to_be(freeze):
    model = net()
    freeze(model)
    assert codes(model) == []


def test_a_flag_of_a_module_of_its_own():
    assert codes(net(Named())) == [] and codes(net(Named(True))) == []


def test_a_layer_that_no_gradient_reaches():
    class Above(nn.Module):
        def __init__(self):
            super().__init__()
            self.below, self.head = nn.Linear(8, 8), nn.Linear(8, 3)
            self.below.requires_grad = False

        def forward(self, x):
            with torch.no_grad():
                x = self.below(x)
            return self.head(x)

    assert "freeze-without-effect" not in [code for code, _ in codes(Above())]


# -- gradients that are zero and not None ----------------------------------------------

OPTIMIZERS = {
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "weight decay": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1),
    "Adam": lambda p: torch.optim.Adam(p, foreach=False),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1),
    "foreach": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, foreach=True),
    "Adam, foreach": lambda p: torch.optim.Adam(p, foreach=True),
}


def then_frozen(make, freeze, to_none=False, sizes=(6, 8, 3), thaw=None):
    """A step, a freeze, and a step: what is found, and whether the layer moved."""
    batch, width, classes = sizes
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes))
    optimizer = make(model.parameters())

    def step():
        optimizer.zero_grad(set_to_none=to_none)
        x, y = torch.randn(batch, width), torch.randint(0, classes, (batch,))
        F.cross_entropy(model(x), y).backward()
        if thaw:
            thaw(model)
        optimizer.step()

    with shapetrace.trace(model) as t:
        step()
        freeze(model)
        before = model[0].weight.detach().clone()
        step()
    moved = not torch.equal(before, model[0].weight)
    return [(one.code, one.culprits[0].name) for one in t.findings], moved


@pytest.mark.parametrize("sizes", [(6, 8, 3), (4, 4, 4)])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("freeze", [by_the_method, by_the_parameters])
@pytest.mark.filterwarnings("ignore")
def test_a_frozen_layer_that_the_optimizer_moves_on(make, freeze, sizes):
    found, moved = then_frozen(make, freeze, sizes=sizes)
    assert moved and found == [("freeze-without-effect", "0")]


def without_gradients(model):
    by_the_parameters(model)
    for parameter in model[0].parameters():
        parameter.grad = None


@pytest.mark.parametrize(
    ("make", "freeze", "to_none"),
    [
        ("momentum", by_the_parameters, True),
        ("Adam", by_the_method, True),
        ("AdamW", without_gradients, False),
        ("foreach", without_gradients, False),
    ],
)
def test_a_frozen_layer_that_stays(make, freeze, to_none):
    found, moved = then_frozen(OPTIMIZERS[make], freeze, to_none)
    assert not moved and found == []


def test_zeros_move_nothing_without_momentum_and_weight_decay():
    found, moved = then_frozen(lambda p: torch.optim.SGD(p, lr=0.1), by_the_parameters)
    assert not moved and found == []


def test_a_layer_that_learns_again_before_the_step():
    def thaw(model):
        model[0].requires_grad_(True)

    found, moved = then_frozen(OPTIMIZERS["Adam"], by_the_method, thaw=thaw)
    assert moved and found == []


def test_critics_that_are_frozen_behind_their_own_backward():
    """The gradients are there, and the step is theirs."""
    critic = net()
    optimizer = OPTIMIZERS["momentum"](critic.parameters())
    with shapetrace.trace(critic) as t:
        for _ in range(2):
            critic.requires_grad_(True)
            optimizer.zero_grad(set_to_none=False)
            F.cross_entropy(critic(torch.randn(6, 8)), torch.arange(6) % 3).backward()
            critic.requires_grad_(False)
            optimizer.step()
    assert t.findings == ()


def test_a_latent_is_no_layer():
    model, latent = net(), torch.zeros(6, 8, requires_grad=True)
    optimizer = OPTIMIZERS["momentum"]([latent, *model.parameters()])
    with shapetrace.trace(model) as t:
        for frozen in (False, True):
            optimizer.zero_grad(set_to_none=False)
            if frozen:
                latent.requires_grad_(False)
            F.cross_entropy(model(latent), torch.arange(6) % 3).backward()
            optimizer.step()
    assert t.findings == ()


def test_an_average_that_a_hook_of_the_step_makes():
    """Frozen, and written to within a step, by code of the user's."""
    model, average = net(), net()
    optimizer = OPTIMIZERS["momentum"](model.parameters())

    def follow(*_):
        with torch.no_grad():
            for mine, other in zip(average.parameters(), model.parameters()):
                mine.mul_(0.9)
                mine.add_(other * 0.1)

    optimizer.register_step_post_hook(follow)
    with shapetrace.trace(model, average) as t:
        average.requires_grad_(False)
        for _ in range(2):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(6, 8)), torch.arange(6) % 3).backward()
            optimizer.step()
    assert [one.code for one in t.findings] == []


@pytest.mark.filterwarnings("ignore")
def test_the_gradient_goes_with_what_is_frozen():
    torch.manual_seed(0)
    model = net()
    optimizer = OPTIMIZERS["momentum"](model.parameters())
    with shapetrace.trace(model) as t:
        for frozen in (False, True):
            optimizer.zero_grad(set_to_none=False)
            if frozen:
                by_the_parameters(model)
            F.cross_entropy(model(torch.randn(6, 8)), torch.arange(6) % 3).backward()
            optimizer.step()
    assert t.findings[0].fixes[0].line == (
        "parameter.requires_grad = False\nparameter.grad = None"
    )
