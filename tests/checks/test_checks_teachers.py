"""Frozen teachers whose dropout is on, and what looks like them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent


def net(rate=0.2, width=16):
    return nn.Sequential(nn.Linear(8, width), nn.Dropout(rate), nn.Linear(width, 8))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(8, 8, 2, dropout=0.3, batch_first=True)

    def forward(self, x):
        return self.rnn(x[:, None])[0][:, 0]


def frozen(model):
    return model.requires_grad_(False)


MATCHED = {
    "mse": lambda s, t: F.mse_loss(s, t),
    "by hand": lambda s, t: ((s - t) ** 2).mean(),
    "kl": lambda s, t: F.kl_div(s.log_softmax(1), t.softmax(1), reduction="sum"),
    "soft": lambda s, t: -(t.softmax(1) * s.log_softmax(1)).sum(1).mean(),
    "cosine": lambda s, t: 1 - F.cosine_similarity(s, t, dim=1).mean(),
    "labels": lambda s, t: F.cross_entropy(s, t.argmax(1)),
    "relative": lambda s, t: ((s - t) ** 2).sum() / ((t**2).sum() + 1e-6),
}


@pytest.mark.parametrize("batch", [5, 8])
@pytest.mark.parametrize("name", MATCHED)
def test_a_student_of_a_teacher_that_drops(name, batch):
    student, teacher = nn.Linear(8, 8), frozen(net())

    def program():
        x = torch.randn(batch, 8)
        with torch.no_grad():
            target = teacher(x)
        MATCHED[name](student(x), target).backward()

    assert "teacher-drops" in dict(findings(program))
    teacher.eval()
    assert silent(program)


@pytest.mark.parametrize("teacher", [net, Recurrent])
def test_a_teacher_that_is_frozen_in_one_way(teacher):
    def program(mode, grad):
        student, other = nn.Linear(8, 8), teacher().train(mode)
        other.requires_grad_(grad)
        x = torch.randn(6, 8)
        with torch.set_grad_enabled(not grad):
            target = other(x)
        F.mse_loss(student(x), target).backward()

    for grad in (True, False):
        assert "teacher-drops" in dict(findings(program, True, grad))
        assert "teacher-drops" not in findings_of(program, False, grad)


def findings_of(program, *args):
    with shapetrace.trace(checks={"teacher-drops"}) as t:
        program(*args)
    return [one.code for one in t.findings]


def learns(student, make):
    x = torch.randn(8, 8)
    make(student, x).backward()


def backbone(student, x):
    body = frozen(net())
    return F.cross_entropy(student(body(x)), torch.arange(8))


def features_without_autograd(student, x):
    body = frozen(net())
    with torch.no_grad():
        given = body(x)
    return F.cross_entropy(student(given), torch.arange(8))


def mean_teacher(student, x):
    student = net()
    teacher = frozen(copy.deepcopy(student))
    with torch.no_grad():
        target = teacher(x)
    return F.mse_loss(student(x), target)


def averaged(student, x):
    teacher = frozen(net(0.1))
    student = net(0.3)
    with torch.no_grad():
        F.mse_loss(student(x), teacher(x))
        for mean, new in zip(teacher.parameters(), student.parameters()):
            mean.mul_(0.9).add_(new, alpha=0.1)
        target = teacher(x)
    return F.mse_loss(student(x), target)


def itself(student, x):
    student = net()
    with torch.no_grad():
        target = student(x)
    return F.mse_loss(student(x), target)


def uncertainty(student, x):
    teacher = frozen(net())
    with torch.no_grad():
        drawn = torch.stack([teacher(x) for _ in range(4)])
    return F.mse_loss(student(x), drawn.mean(0))


def target_network(student, x):
    critic = net()
    target = frozen(copy.deepcopy(critic))
    with torch.no_grad():
        wanted = torch.rand(8) + 0.9 * target(x).amax(1)
    return F.mse_loss(critic(x).gather(1, torch.arange(8)[:, None])[:, 0], wanted)


def added(student, x):
    return F.cross_entropy(student(x) + frozen(net())(x), torch.arange(8))


def gated(student, x):
    return F.cross_entropy(student(x) * frozen(net())(x).sigmoid(), torch.arange(8))


def perceptual(student, x):
    judge = frozen(net(0.0))
    return F.mse_loss(judge(student(x)), judge(x).detach())


def both_learn(student, x):
    one, two = net(), net(width=8)
    target = one(x)
    loss = F.mse_loss(two(x), target.detach())
    return loss + F.cross_entropy(target, torch.arange(8))


@pytest.mark.parametrize(
    "make",
    [
        backbone,
        features_without_autograd,
        mean_teacher,
        averaged,
        itself,
        uncertainty,
        target_network,
        added,
        gated,
        perceptual,
        both_learn,
    ],
)
def test_what_may_drop(make):
    assert findings_of(learns, nn.Linear(8, 8), make) == []
