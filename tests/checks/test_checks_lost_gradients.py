"""Gradients that are cleared before a step, and those that are rightly so."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

CODE = "gradients-lost"
OPTIMIZERS = [torch.optim.SGD, torch.optim.AdamW]


class Run:
    """A model, its optimizer, and batches as large as its layers."""

    def __init__(self, make=torch.optim.SGD, size=4):
        self.model = nn.Linear(size, size)
        self.optimizer = make(self.model.parameters(), lr=0.1)
        self.size = size

    def loss(self, model=None):
        x = torch.randn(self.size, self.size)
        labels = torch.randint(self.size, (self.size,))
        return F.cross_entropy((model or self.model)(x), labels)


def found(program, *given):
    torch.manual_seed(0)
    with shapetrace.trace() as t:
        program(Run(*given))
    return [one for one in t.findings if one.code == CODE]


def cleared_in_the_loop(run, every=4, batches=8):
    for number in range(1, batches + 1):
        run.optimizer.zero_grad()
        (run.loss() / every).backward()
        if number % every == 0:
            run.optimizer.step()


def cleared_behind(run, every=2, batches=8):
    for number in range(1, batches + 1):
        (run.loss() / every).backward()
        if number % every == 0:
            run.optimizer.step()
        run.optimizer.zero_grad()


def cleared_between(run, every=2):
    """Data that came from outside, as large as the weight, and weights of the samples
    are used before the gradients of the last batch are cleared."""
    for number, (x, labels, weight) in enumerate(DATA, 1):
        losses = F.cross_entropy(run.model(x), labels, reduction="none")
        run.optimizer.zero_grad()
        (losses * weight[:, 0]).mean().backward()
        if number % every == 0:
            run.optimizer.step()


DATA = [(torch.randn(4, 4), torch.arange(4), torch.rand(4, 2)) for _ in range(8)]


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize(
    "program", [cleared_in_the_loop, cleared_behind, cleared_between]
)
def test_all_but_the_last_are_thrown_away(program, make):
    (one,) = found(program, make)
    assert [who.name for who in one.culprits][1] == "backward"
    assert "zero_grad" in one.culprits[0].name


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
def test_how_many_are_lost_is_said():
    (one,) = found(cleared_in_the_loop)
    assert "6 of 8" in one.message


# -- look-alikes -----------------------------------------------------------------------


def each_batch(run):
    for _ in range(4):
        run.optimizer.zero_grad()
        run.loss().backward()
        run.optimizer.step()


def added_up(run):
    for number in range(1, 9):
        (run.loss() / 4).backward()
        if number % 4 == 0:
            run.optimizer.step()
            run.optimizer.zero_grad()


def left_out_now_and_then(run):
    for number in range(8):
        run.optimizer.zero_grad()
        run.loss().backward()
        if number not in (2, 5):
            run.optimizer.step()


def left_out_once(run):
    """As a scaler does whose gradients are not finite."""
    for number in range(4):
        run.optimizer.zero_grad()
        run.loss().backward()
        if number != 1:
            run.optimizer.step()


def adversaries(run):
    other = Run()
    for _ in range(3):
        run.optimizer.zero_grad()
        run.loss().backward()
        run.optimizer.step()
        other.optimizer.zero_grad()
        (run.loss() + other.loss()).backward()
        other.optimizer.step()


def of_each_task(run):
    """Gradients of several losses, kept, put together, and given back."""
    for _ in range(2):
        kept = []
        for _ in range(3):
            run.optimizer.zero_grad()
            run.loss().backward()
            kept.append([p.grad.clone() for p in run.model.parameters()])
        for p, grads in zip(run.model.parameters(), zip(*kept)):
            p.grad = torch.stack(grads).mean(0)
        run.optimizer.step()


def measured(run):
    for number in range(1, 9):
        run.optimizer.zero_grad()
        run.loss().backward()
        torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
        if number % 4 == 0:
            run.optimizer.step()


def sharpness(run):
    """A step up and back before each step."""
    for _ in range(3):
        run.loss().backward()
        with torch.no_grad():
            moves = [0.05 * p.grad / p.grad.norm() for p in run.model.parameters()]
            for p, move in zip(run.model.parameters(), moves):
                p.add_(move)
        run.optimizer.zero_grad()
        run.loss().backward()
        with torch.no_grad():
            for p, move in zip(run.model.parameters(), moves):
                p.sub_(move)
        run.optimizer.step()
        run.optimizer.zero_grad()


def warmed_up(run):
    """A first pass that makes the kernels ready, thrown away."""
    run.loss().backward()
    run.optimizer.zero_grad()
    each_batch(run)


def never_stepped(run):
    for _ in range(4):
        run.optimizer.zero_grad()
        run.loss().backward()


def closures(run):
    optimizer = torch.optim.LBFGS(run.model.parameters(), max_iter=3)

    def closure():
        optimizer.zero_grad()
        loss = run.loss()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize(
    "program",
    [
        *(each_batch, added_up, left_out_once, adversaries, of_each_task),
        left_out_now_and_then,
        *(measured, sharpness, warmed_up, never_stepped, closures),
    ],
    ids=lambda program: program.__name__,
)
def test_steps_that_look_alike(program):
    assert found(program) == []
