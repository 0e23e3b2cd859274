"""Training steps without backward(), without step(), or with both behind the loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent

SIZES = [(6, 8), (5, 5)]


class Parts:
    def __init__(self, batch, width):
        self.model = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 5)
        )
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1)
        self.batches = [
            (torch.randn(batch, width), torch.randint(5, (batch,))) for _ in range(3)
        ]

    def loss(self, x, y):
        return F.cross_entropy(self.model(x), y)


def no_backward(parts):
    for x, y in parts.batches:
        parts.optimizer.zero_grad()
        loss = parts.loss(x, y)
        parts.optimizer.step()
    return loss


def no_backward_of_a_sum(parts):
    for x, y in parts.batches:
        scores = parts.model(x)
        loss = F.cross_entropy(scores, y) + 0.1 * scores.abs().mean()
        parts.optimizer.step()
    return loss


def no_step(parts):
    for x, y in parts.batches:
        parts.optimizer.zero_grad()
        loss = parts.loss(x, y)
        loss.backward()


def no_step_but_a_schedule(parts):
    schedule = torch.optim.lr_scheduler.StepLR(parts.optimizer, 1)
    for x, y in parts.batches:
        loss = parts.loss(x, y)
        parts.optimizer.zero_grad()
        loss.backward()
    schedule.get_last_lr()


def backward_behind_the_loop(parts):
    for _ in range(2):
        for x, y in parts.batches:
            parts.optimizer.zero_grad()
            loss = parts.loss(x, y)
        loss.backward()
        parts.optimizer.step()


MISTAKES = {
    no_backward: "step",
    no_backward_of_a_sum: "step",
    no_step: "backward",
    no_step_but_a_schedule: "backward",
    backward_behind_the_loop: "backward",
}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("program", MISTAKES)
def test_a_step_that_lacks_a_part_is_told(program, sizes):
    found = findings(program, Parts(*sizes))
    assert found == [("incomplete-step", MISTAKES[program])]


def as_it_should_be(parts):
    for x, y in parts.batches:
        parts.optimizer.zero_grad()
        parts.loss(x, y).backward()
        parts.optimizer.step()


def accumulated(parts):
    for x, y in parts.batches:
        (parts.loss(x, y) / 3).backward()
    parts.optimizer.step()
    parts.optimizer.zero_grad()


def accumulated_beyond_the_block(parts):
    for x, y in parts.batches:
        (parts.loss(x, y) / 30).backward()


def by_hand(parts):
    for x, y in parts.batches:
        parts.optimizer.zero_grad()
        parts.loss(x, y).backward()
        with torch.no_grad():
            for weight in parts.model.parameters():
                weight -= 0.1 * weight.grad


def by_hand_with_new_data(parts):
    for x, y in parts.batches:
        parts.optimizer.zero_grad()
        parts.loss(x, y).backward()
        for weight in parts.model.parameters():
            weight.data = weight.data - 0.1 * weight.grad


def norms_of_gradients(parts):
    for x, y in parts.batches:
        parts.optimizer.zero_grad()
        parts.loss(x, y).backward()
        torch.stack([weight.grad.norm() for weight in parts.model.parameters()])


def saliency(parts):
    for x, y in parts.batches:
        x = x.clone().requires_grad_()
        parts.optimizer.zero_grad()
        parts.loss(x, y).backward()
        x.grad.abs().amax(1)


def evaluated_with_autograd_on(parts):
    as_it_should_be(parts)
    for x, y in parts.batches:
        loss = parts.loss(x, y)
    return loss


def validated_in_between(parts):
    for _ in range(2):
        as_it_should_be(parts)
        print([F.cross_entropy(parts.model(x), y).item() for x, y in parts.batches])


def losses_in_a_list(parts):
    losses = [parts.loss(x, y) for x, y in parts.batches]
    parts.optimizer.zero_grad()
    torch.stack(losses).mean().backward()
    parts.optimizer.step()


def the_least_of_several(parts):
    for x, y in parts.batches:
        losses = [parts.loss(x + torch.randn_like(x), y) for _ in range(3)]
        parts.optimizer.zero_grad()
        min(losses).backward()
        parts.optimizer.step()


def differentiated_by_autograd(parts):
    weights = list(parts.model.parameters())
    for x, y in parts.batches:
        for weight, gradient in zip(
            weights, torch.autograd.grad(parts.loss(x, y), weights), strict=True
        ):
            weight.grad = gradient
        parts.optimizer.step()


def a_closure(parts):
    optimizer = torch.optim.LBFGS(parts.model.parameters(), max_iter=3)
    x, y = parts.batches[0]

    def closure():
        optimizer.zero_grad()
        loss = parts.loss(x, y)
        loss.backward()
        return loss

    optimizer.step(closure)


def criterion(scores, y):
    return F.cross_entropy(scores, y)


def validated_to_no_use(parts):
    for _ in range(2):
        for x, y in parts.batches:
            criterion(parts.model(x), y)
        for x, y in parts.batches:
            parts.optimizer.zero_grad()
            criterion(parts.model(x), y).backward()
            parts.optimizer.step()


def an_evaluation(parts):
    with torch.no_grad():
        for x, y in parts.batches:
            parts.loss(x, y)


MEANT = [
    as_it_should_be,
    accumulated,
    accumulated_beyond_the_block,
    by_hand,
    by_hand_with_new_data,
    norms_of_gradients,
    saliency,
    evaluated_with_autograd_on,
    validated_in_between,
    losses_in_a_list,
    the_least_of_several,
    differentiated_by_autograd,
    a_closure,
    an_evaluation,
    validated_to_no_use,
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("program", MEANT)
def test_what_only_looks_like_it_is_not(program, sizes):
    assert silent(program, Parts(*sizes))


def no_backward_of_a_loss_at_hand(parts):
    for x, y in parts.batches:
        parts.optimizer.zero_grad()
        scores = parts.model(x)
        loss = F.cross_entropy(scores, y)
        total = loss + 0.1 * scores.abs().mean()
        parts.optimizer.step()
    return total


def no_backward_and_a_running_sum(parts):
    x, y = parts.batches[0]
    running = 0
    for _ in range(1200):
        scores = parts.model(x)
        loss = F.cross_entropy(scores, y)
        parts.optimizer.step()
        running = running + loss
    return running


@pytest.mark.parametrize(
    "program, line",
    [
        (no_backward_and_a_running_sum, "loss.backward()\nparts.optimizer.step()"),
        (no_backward_of_a_loss_at_hand, "total.backward()\nparts.optimizer.step()"),
        (no_step, "loss.backward()\nparts.optimizer.step()"),
    ],
)
def test_the_missing_call_is_put_in_by_its_own_names(program, line):
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace() as t:
            program(Parts(6, 8))
    (found,) = t.findings
    assert found.fixes[0].line == line


def test_what_was_dropped_is_not_missing():
    parts = Parts(6, 8)
    with shapetrace.trace(max_calls=9) as t:
        as_it_should_be(parts)
        no_step(parts)
    assert t.findings == ()
