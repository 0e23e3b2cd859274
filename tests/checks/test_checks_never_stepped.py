"""An optimizer that is cleared and never steps, losses that begin at numbers, masks of
weights that nothing reads, and what looks like them."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

SIZES = [(6, 9), (5, 5)]


def told(program, *models):
    """What is found in a program that trains these models."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", shapetrace.ShapeTraceWarning)
        with shapetrace.trace(*models) as t:
            program()
    return t.findings


class Pair:
    """A generator and a critic, each with an optimizer."""

    def __init__(self, batch, width):
        self.batch, self.width = batch, width
        self.make = nn.Sequential(nn.Linear(3, width), nn.Tanh())
        self.judge = nn.Sequential(nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, 1))
        self.of_make = torch.optim.Adam(self.make.parameters())
        self.of_judge = torch.optim.SGD(self.judge.parameters(), 0.01)

    def fake(self):
        return self.make(torch.randn(self.batch, 3))

    def real(self):
        return torch.randn(self.batch, self.width)

    def critic_loss(self):
        fake = self.judge(self.fake().detach())
        return (F.softplus(fake) + F.softplus(-self.judge(self.real()))).mean()

    def maker_step(self):
        self.of_make.zero_grad()
        F.softplus(-self.judge(self.fake())).mean().backward()
        self.of_make.step()


def critic_never_steps(pair):
    for _ in range(2):
        pair.of_judge.zero_grad()
        pair.critic_loss().backward()
        pair.maker_step()


@pytest.mark.parametrize("sizes", SIZES)
def test_a_critic_that_never_steps(sizes):
    pair = Pair(*sizes)
    found = told(lambda: critic_never_steps(pair), pair.make, pair.judge)
    assert [one.code for one in found] == ["incomplete-step"]
    assert found[0].culprits[0].kind == "module"
    assert "of_judge.step() is never called" in found[0].message
    assert "pair.of_judge.step()" in found[0].fixes[0].line


def steps_too(pair):
    for _ in range(2):
        pair.of_judge.zero_grad()
        pair.critic_loss().backward()
        pair.of_judge.step()
        pair.maker_step()


def steps_every_second_time(pair):
    for at in range(2):
        pair.of_judge.zero_grad()
        pair.critic_loss().backward()
        if at % 2:
            pair.of_judge.step()
        pair.maker_step()


def gradients_add_up(pair):
    """The critic is stepped after more batches than are traced."""
    for _ in range(2):
        pair.critic_loss().backward()
        pair.maker_step()


def cleared_once(pair):
    pair.of_judge.zero_grad()
    for _ in range(2):
        pair.critic_loss().backward()
        pair.maker_step()


def stepped_by_hand(pair):
    for _ in range(2):
        pair.of_judge.zero_grad()
        pair.critic_loss().backward()
        with torch.no_grad():
            for weight in pair.judge.parameters():
                weight.sub_(0.01 * weight.grad)
        pair.maker_step()


def stepped_by_another_name(pair):
    both = {"judge": pair.of_judge}
    for _ in range(2):
        pair.of_judge.zero_grad()
        pair.critic_loss().backward()
        for one in both.values():
            one.step()
        pair.maker_step()


def only_cleared(pair):
    """The maker's step leaves gradients in the critic, which are cleared."""
    for _ in range(2):
        pair.maker_step()
        pair.of_judge.zero_grad()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "program",
    [
        steps_too,
        steps_every_second_time,
        gradients_add_up,
        cleared_once,
        stepped_by_hand,
        stepped_by_another_name,
        only_cleared,
    ],
)
def test_optimizers_that_step_or_need_not(program, sizes):
    pair = Pair(*sizes)
    assert not told(lambda: program(pair), pair.make, pair.judge)


class Wrong(nn.Module):
    """The share of wrong answers, as a tensor of its own."""

    def forward(self, scores, labels):
        wrong = [float(a != b) for a, b in zip(scores.argmax(1), labels)]
        return torch.tensor(wrong, requires_grad=True).mean()


@pytest.mark.parametrize("sizes", SIZES)
def test_a_loss_that_begins_at_numbers(sizes):
    batch, width = sizes
    model, loss = nn.Linear(width, 4), Wrong()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def program():
        for _ in range(2):
            optimizer.zero_grad()
            scores = model(torch.randn(batch, width))
            loss(scores, torch.randint(4, (batch,))).backward()
            optimizer.step()

    (one,) = told(program, model)
    assert one.code == "step-without-effect"
    assert [(who.kind, who.name) for who in one.culprits] == [("function", "tensor")]


@pytest.mark.parametrize(
    "scale",
    [
        lambda: torch.tensor(2.0, requires_grad=True),
        lambda: torch.rand((), requires_grad=True),
    ],
)
def test_an_optimizer_of_another_model_is_to_blame_itself(scale):
    model, other = nn.Linear(9, 4), nn.Linear(9, 4)
    optimizer = torch.optim.SGD(other.parameters(), 0.1)

    def program():
        optimizer.zero_grad()
        (model(torch.randn(6, 9)).mean() * scale()).backward()
        optimizer.step()

    (one,) = told(program, model)
    assert [(who.kind, who.name) for who in one.culprits] == [("function", "step")]


def test_a_latent_of_random_numbers_is_no_loss_of_numbers():
    model = nn.Linear(9, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def program():
        optimizer.zero_grad()
        torch.rand(3, requires_grad=True).mean().backward()
        optimizer.step()

    assert all(
        who.name != "rand" for one in told(program, model) for who in one.culprits
    )


class Sparse(nn.Linear):
    """A linear layer of which a mask says what is connected."""

    def __init__(self, width, out=4):
        super().__init__(width, out)
        self.register_buffer("mask", (torch.rand(out, width) < 0.5).float())
        with torch.no_grad():
            self.weight.mul_(self.mask)


class Masked(Sparse):
    def forward(self, x):
        return F.linear(x, self.weight * self.mask, self.bias)


class Hooked(Sparse):
    """The gradient is masked."""

    def __init__(self, width):
        super().__init__(width)
        self.weight.register_hook(lambda grad: grad * self.mask)


class OfInputs(nn.Linear):
    """A mask of another shape: of what comes in, put on from outside."""

    def __init__(self, width):
        super().__init__(width, 4)
        self.register_buffer("mask", torch.ones(1, width))


class Otherwise(nn.Linear):
    """A buffer of the weight's shape that is no mask: where training began."""

    def __init__(self, width):
        super().__init__(width, 4)
        self.register_buffer("start", self.weight.detach().clone())


class Frozen(Sparse):
    def __init__(self, width):
        super().__init__(width)
        self.weight.requires_grad_(False)


def trained(layer, width, after=None):
    def program():
        optimizer = torch.optim.SGD(layer.parameters(), 0.1)
        for _ in range(2):
            optimizer.zero_grad()
            F.cross_entropy(
                layer(torch.randn(6, width)), torch.ones(6).long()
            ).backward()
            optimizer.step()
            if after is not None:
                after(layer)

    return program


def masks_again(layer):
    with torch.no_grad():
        layer.weight.mul_(layer.mask)


def masks_data(layer):
    layer.weight.data = layer.weight.data * layer.mask


@pytest.mark.parametrize("width", [9, 4])
def test_a_mask_of_weights_that_nothing_reads(width):
    model = nn.Sequential(Sparse(width))
    (one,) = told(trained(model, width), model)
    assert one.code == "mask-without-effect"
    assert [(who.kind, who.name) for who in one.culprits] == [("module", "0")]
    assert "the weight by its mask" in str(one)


@pytest.mark.parametrize("width", [9, 4])
@pytest.mark.parametrize(
    ("layer", "after"),
    [
        (Masked, None),
        (Hooked, None),
        (OfInputs, None),
        (Otherwise, None),
        (Frozen, None),
        (Sparse, masks_again),
        (Sparse, masks_data),
    ],
)
def test_masks_that_are_read_or_are_none(layer, after, width):
    model = layer(width)
    assert not told(trained(model, width, after), model)


def test_a_mask_is_no_mistake_where_nothing_is_trained():
    model = nn.Sequential(Sparse(9))
    assert not told(lambda: model(torch.randn(6, 9)), model)


def test_a_mask_is_no_mistake_where_its_layer_learns_nothing():
    sparse, head = Sparse(9), nn.Linear(4, 4)

    def program():
        with torch.no_grad():
            x = sparse(torch.randn(6, 9))
        F.cross_entropy(head(x), torch.ones(6).long()).backward()

    assert not told(program, head, sparse)


@pytest.mark.parametrize("kwargs", [{"dtype": torch.float64}, {"copy": True}], ids=str)
def test_a_cast_that_makes_a_tensor_cuts_it_off(kwargs):
    model = nn.Linear(9, 4)

    def program():
        scores = model(torch.randn(6, 9))
        with torch.no_grad():
            made = scores.to("cpu", **kwargs)
        side = F.mse_loss(made, torch.zeros_like(made))
        (F.cross_entropy(scores, torch.ones(6).long()) + side).backward()

    assert [one.code for one in told(program, model)] == ["dead-loss"]


@pytest.mark.parametrize("sizes", SIZES)
def test_a_cast_that_changes_nothing_takes_no_gradient_away(sizes):
    """`scores.float()` under `no_grad` is `scores` itself, and learns."""
    batch, width = sizes
    model, other = nn.Linear(width, 4), nn.Linear(4, 1)

    def program():
        scores = model(torch.randn(batch, width))
        with torch.no_grad():
            picked = scores.float().softmax(1)
        first = F.cross_entropy(scores.float(), torch.randint(4, (batch,)))
        second = F.softplus(other(picked)).mean()
        (first + second).backward()

    assert not told(program, model, other)
