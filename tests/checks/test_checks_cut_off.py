"""Terms that a detach cuts off from what the next step trains, and what looks alike."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

pytestmark = pytest.mark.filterwarnings("ignore")


def two(kind="SGD", width=6):
    one = nn.Sequential(nn.Linear(width, width), nn.Tanh())
    other = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
    make = getattr(torch.optim, kind)
    return one, other, make(one.parameters(), 0.01), make(other.parameters(), 0.01)


def codes(program, *args, times=2, **kwargs):
    torch.manual_seed(0)
    models = two(**kwargs)
    with shapetrace.trace(*models[:2]) as t:
        for _ in range(times):
            program(*models, *args)
    return [one.code for one in t.findings if one.severity != "note"]


def critic(g, d, g_step, d_step, real, fake):
    d_step.zero_grad()
    ones, zeros = torch.ones(6, 1), torch.zeros(6, 1)
    scores = d(fake.detach())
    logits = F.binary_cross_entropy_with_logits
    (logits(d(real), ones) + logits(scores, zeros)).backward()
    d_step.step()


def adversarial(d, fake):
    scores = d(fake)
    return F.binary_cross_entropy_with_logits(scores, torch.ones(6, 1))


def wasserstein(d, fake):
    return -d(fake).mean()


def gan(g, d, g_step, d_step, cut, term, aside=True, first=True):
    real, fake = torch.randn(6, 6), g(torch.randn(6, 6))
    if first:
        critic(g, d, g_step, d_step, real, fake)
    g_step.zero_grad()
    loss = term(d, cut(fake))
    if aside:
        loss = loss + 0.1 * F.l1_loss(fake, real)
    loss.backward()
    g_step.step()
    if not first:
        critic(g, d, g_step, d_step, real, fake)


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("term", [adversarial, wasserstein])
def test_the_generator_is_cut_off_in_its_own_step(term, first, kind):
    assert codes(gan, lambda x: x.detach(), term, True, first, kind=kind) == [
        "term-cut-off"
    ]
    assert codes(gan, lambda x: x.data, term, True, first, kind=kind) == [
        "term-cut-off"
    ]
    assert codes(gan, lambda x: x, term, True, first, kind=kind) == []


def test_nothing_else_is_left_to_train():
    found = codes(gan, lambda x: x.detach(), adversarial, False)
    assert set(found) & {"term-cut-off", "step-without-effect"}
    assert codes(gan, lambda x: x, adversarial, False) == []


def both_at_once(g, d, g_step, d_step):
    x, y = torch.randn(6, 6), torch.rand(6, 1)
    g_step.zero_grad(), d_step.zero_grad()
    h = g(x)
    (F.mse_loss(h, x) + F.mse_loss(d(h.detach()), y)).backward()
    g_step.step(), d_step.step()


def probe_every_second_time(g, d, g_step, d_step):
    for count in range(2):
        x, y = torch.randn(6, 6), torch.rand(6, 1)
        g_step.zero_grad()
        h = g(x)
        (F.mse_loss(h, x) + F.mse_loss(d(h.detach()), y)).backward()
        g_step.step()
        if count:
            d_step.step()
            d_step.zero_grad()


def once_for_each(g, d, g_step, d_step):
    x, y = torch.randn(6, 6), torch.rand(6, 1)
    for step in (g_step, d_step):
        h = g(x)
        loss = F.mse_loss(h, x) + F.mse_loss(d(h.detach()), y)
        step.zero_grad()
        loss.backward()
        step.step()


def actor_and_critic(g, d, g_step, d_step):
    x, rewards = torch.randn(6, 6), torch.rand(6, 1)
    value = d(x)
    d_step.zero_grad()
    F.mse_loss(value, rewards).backward()
    d_step.step()
    logs = g(x).log_softmax(-1)[:, :1]
    g_step.zero_grad()
    (-logs * (rewards - value.detach())).mean().backward()
    g_step.step()


def deterministic_policy(g, d, g_step, d_step):
    x, rewards = torch.randn(6, 6), torch.rand(6, 1)
    action = g(x)
    with torch.no_grad():
        wanted = rewards + 0.9 * d(g(x))
    d_step.zero_grad()
    F.mse_loss(d(action.detach()), wanted).backward()
    d_step.step()
    g_step.zero_grad()
    (-d(g(x)).mean()).backward()
    g_step.step()


def accumulated(g, d, g_step, d_step):
    """Real and fake in two backwards before one step."""
    real, fake = torch.randn(6, 6), g(torch.randn(6, 6))
    d_step.zero_grad()
    F.mse_loss(d(real), torch.ones(6, 1)).backward()
    F.mse_loss(d(fake.detach()), torch.zeros(6, 1)).backward()
    d_step.step()
    g_step.zero_grad()
    F.mse_loss(d(fake), torch.ones(6, 1)).backward()
    g_step.step()


def weighed_by_itself(g, d, g_step, d_step):
    """A detach that only balances two terms."""
    real, fake = torch.randn(6, 6), g(torch.randn(6, 6))
    critic(g, d, g_step, d_step, real, fake)
    one, other = F.l1_loss(fake, real), adversarial(d, fake)
    g_step.zero_grad()
    (one + other * (one / other).detach()).backward()
    g_step.step()


def features_of_the_critic(g, d, g_step, d_step):
    real, fake = torch.randn(6, 6), g(torch.randn(6, 6))
    critic(g, d, g_step, d_step, real, fake)
    g_step.zero_grad()
    wanted = d[:2](real).detach()
    (adversarial(d, fake) + F.l1_loss(d[:2](fake), wanted)).backward()
    g_step.step()


def gathered_for_the_other(g, d, g_step, d_step):
    """Nobody clears between: the gradients are for the other step."""
    x, y = torch.randn(6, 6), torch.rand(6, 1)
    h = g(x)
    (F.mse_loss(h, x) + F.mse_loss(d(h.detach()), y)).backward()
    g_step.step()
    F.mse_loss(d(x), y).backward()
    d_step.step()
    g_step.zero_grad(), d_step.zero_grad()


@pytest.mark.parametrize("width", [6])
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize(
    "program",
    [
        both_at_once,
        probe_every_second_time,
        once_for_each,
        actor_and_critic,
        deterministic_policy,
        accumulated,
        weighed_by_itself,
        features_of_the_critic,
        gathered_for_the_other,
    ],
)
def test_what_is_detached_on_purpose(program, kind, width):
    assert "term-cut-off" not in codes(program, kind=kind, width=width, times=1)


def test_the_fix_is_the_line_without_the_detach():
    torch.manual_seed(0)
    models = two()
    with shapetrace.trace(*models[:2]) as t:
        gan(*models, lambda x: x.detach(), adversarial)
    (found,) = [one for one in t.findings if one.code == "term-cut-off"]
    assert found.culprits[0].name == "detach"
    assert "detach" not in found.fixes[0].line
