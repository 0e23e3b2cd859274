"""Gradients that nobody clears, and layers that no optimizer can hold."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent

SIZES = [(5, 8, 4), (8, 8, 8)]


def net(width=8, classes=4):
    return nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, classes))


def loss_of(model, batch=5, width=8, classes=4):
    return F.cross_entropy(
        model(torch.randn(batch, width)), torch.randint(classes, (batch,))
    )


# -- gradients-not-cleared -----------------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "adam": torch.optim.Adam,
    "amsgrad": lambda p: torch.optim.Adam(p, amsgrad=True, weight_decay=0.1),
    "fused": lambda p: torch.optim.Adam(p, fused=True),
    "foreach": lambda p: torch.optim.AdamW(p, foreach=True),
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}


def loop(make, clear=lambda model, optimizer: None, clip=False, sizes=(5, 8, 4)):
    def program():
        model = net(*sizes[1:])
        optimizer = make(list(model.parameters()))
        for _ in range(3):
            loss_of(model, *sizes).backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            clear(model, optimizer)

    return program


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradients_that_pile_up(name, clip, sizes):
    program = loop(OPTIMIZERS[name], clip=clip, sizes=sizes)
    assert findings(program) == [("gradients-not-cleared", "backward")]


def test_the_optimizer_clears_them_under_its_own_name():
    def program():
        model = net()
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            loss = loss_of(model)
            loss.backward()
            opt.step()

    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace() as t:
            program()
    (fix,) = t.findings[0].fixes
    assert fix.line.splitlines() == ["opt.zero_grad()", "loss.backward()"]


def zero(value):
    return lambda model, optimizer: [value(p.grad) for p in model.parameters()]


CLEARS = {
    "zero_grad": lambda model, optimizer: optimizer.zero_grad(),
    "kept": lambda model, optimizer: optimizer.zero_grad(set_to_none=False),
    "of the model": lambda model, optimizer: model.zero_grad(),
    "by data": zero(lambda grad: grad.data.zero_()),
    "in place": zero(lambda grad: grad.zero_()),
    "filled": zero(lambda grad: grad.fill_(0)),
    "assigned": zero(lambda grad: grad.__setitem__(slice(None), 0)),
    "none": lambda model, optimizer: [
        setattr(p, "grad", None) for p in model.parameters()
    ],
    "times nothing": zero(lambda grad: grad.mul_(0)),
    "fading": zero(lambda grad: grad.mul_(0.9)),
    "together": lambda model, optimizer: torch._foreach_zero_(
        [p.grad for p in model.parameters()]
    ),
}


@pytest.mark.parametrize("clear", CLEARS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradients_that_are_cleared(name, clear):
    assert silent(loop(OPTIMIZERS[name], CLEARS[clear], sizes=(8, 8, 8)))


def accumulated():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(4):
        (loss_of(model) / 2).backward()
        if step % 2:
            optimizer.step()
            optimizer.zero_grad()


def stepped_twice():
    """Two optimizers step along the same gradients."""
    model = net()
    one = torch.optim.SGD(model.parameters(), lr=0.1)
    two = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        one.zero_grad()
        loss_of(model).backward()
        for optimizer in (one, two):
            optimizer.step()


def adversaries():
    """The maker's loss leaves gradients in the critic, which clears them itself."""
    maker, critic = nn.Linear(8, 8), nn.Linear(8, 1)
    of_maker = torch.optim.Adam(maker.parameters())
    of_critic = torch.optim.Adam(critic.parameters())
    for _ in range(3):
        fake = maker(torch.randn(5, 8))
        of_critic.zero_grad()
        loss = critic(fake.detach()).mean() - critic(torch.randn(5, 8)).mean()
        loss.backward()
        of_critic.step()
        of_maker.zero_grad()
        (-critic(fake).mean()).backward()
        of_maker.step()


def closure():
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    x, y = torch.randn(5, 8), torch.randint(4, (5,))

    def evaluate():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(evaluate)


def near_the_start():
    """An optimizer of one's own keeps where it began, and pulls back to it."""
    model = net()
    start = [p.detach().clone() for p in model.parameters()]

    class Proximal(torch.optim.Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters, {"lr": 0.1})

        @torch.no_grad()
        def step(self):
            for p, at in zip(self.param_groups[0]["params"], start):
                p.sub_(0.1 * (p.grad + 0.01 * (p - at)))

    optimizer = Proximal(list(model.parameters()))
    for _ in range(3):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def one_step():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model).backward()
    optimizer.step()


def without_a_backward_between():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model).backward()
    for _ in range(3):
        optimizer.step()


def one_model_after_the_other():
    for _ in range(3):
        model = net()
        optimizer = torch.optim.Adam(model.parameters())
        loss_of(model).backward()
        optimizer.step()


def layers_in_turns():
    """Each layer has an optimizer; a loop steps one of them at a time."""
    model = net()
    parts = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (model[0], model[2])]
    for turn in range(4):
        model.zero_grad()
        loss_of(model).backward()
        parts[turn % 2].step()


STEPS = [
    *(accumulated, stepped_twice, adversaries, closure, near_the_start, one_step),
    *(without_a_backward_between, one_model_after_the_other, layers_in_turns),
]


@pytest.mark.parametrize("program", STEPS, ids=lambda program: program.__name__)
def test_steps_that_look_alike(program):
    assert silent(program)
