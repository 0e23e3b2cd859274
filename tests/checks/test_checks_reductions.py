"""Sums and counts of a whole batch where those of each sample were wanted."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(5, 7, 6), (4, 4, 4)]


def tokens(batch, time):
    lengths = torch.randint(1, time + 1, (batch,))
    return (torch.arange(time)[None] < lengths[:, None]).float()


def latent(sizes, divergence):
    """A loss of every step and a divergence, which the mask is multiplied with."""
    batch, time, width = sizes
    hidden = nn.GRU(3, width, batch_first=True)(torch.randn(batch, time, 3))[0]
    mean, scale = nn.Linear(width, width)(hidden), nn.Linear(width, width)(hidden)
    mask = tokens(batch, time)
    loss = (mean.mean(-1) - torch.rand(batch, time)).square() * mask
    (
        (loss + divergence(mean.square() + scale.exp(), mask)).sum() / mask.sum()
    ).backward()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", ["sum", "mean"])
def test_a_divergence_of_the_whole_batch_that_a_mask_is_to_weigh(name, sizes):
    def early(each, mask):
        return -0.5 * getattr(each, name)() * mask

    assert findings(latent, sizes, early) == [("reduced-too-early", name)]


EACH = {
    "of each step": lambda each, mask: -0.5 * each.sum(-1) * mask,
    "masked first": lambda each, mask: (each * mask[..., None]).sum() / mask.sum(),
    "a number": lambda each, mask: each.sum() * 0.1,
    "a share": lambda each, mask: each.sum() * mask.mean(),
    "noise of the size": lambda each, mask: each.mean(-1)
    + each.std() * torch.randn_like(mask),
    "scaled": lambda each, mask: each.sum(-1) / each.sum() * mask,
}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", EACH)
def test_divergences_that_are_weighed_as_they_should(name, sizes):
    assert silent(latent, sizes, EACH[name])


def test_weights_of_samples_on_the_mean_of_a_loss_by_hand():
    def program(reduce):
        x, weights = torch.randn(6, 4), torch.rand(6)
        (reduce((nn.Linear(4, 4)(x) - x).square()) * weights).mean().backward()

    assert findings(program, torch.mean) == [("reduced-too-early", "mean")]
    assert silent(program, lambda errors: errors.mean(1))


def test_a_constant_for_each_class_as_many_as_samples():
    def program():
        out = nn.Linear(4, 6)(torch.randn(6, 4)).T
        (out.square().mean() * torch.ones(6).softmax(0)).sum().backward()

    assert silent(program)


def test_a_penalty_for_weights_beside_data_of_as_many():
    def program():
        layer, x = nn.Linear(6, 6), torch.rand(6, 6)
        loss = (layer(x) - x).square() + layer.weight.square().sum() * x
        loss.mean().backward()

    assert silent(program)


def pooled(sizes, pool):
    batch, time, width = sizes
    layer = nn.TransformerEncoderLayer(width, 2, 8, batch_first=True)
    mask, x = tokens(batch, time), torch.randn(batch, time, width)
    hidden = layer(x, src_key_padding_mask=mask == 0)
    scores = nn.Linear(width, 3)(pool(hidden, mask))
    F.cross_entropy(scores, torch.randint(3, (batch,))).backward()


def of_all(hidden, mask):
    return (hidden * mask[..., None]).sum(1) / mask.sum().clamp(min=1)


@pytest.mark.parametrize("sizes", SIZES)
def test_the_sums_of_samples_divided_by_the_tokens_of_all(sizes):
    assert findings(pooled, sizes, of_all) == [("reduced-too-early", "sum")]


POOLED = {
    "its own count": lambda h, m: (h * m[..., None]).sum(1) / m.sum(1, keepdim=True),
    "a weight first": lambda h, m: (h * (m / m.sum(1, True))[..., None]).sum(1),
    "a constant": lambda h, m: (h * m[..., None]).sum(1) / m.numel(),
    "centred": lambda h, m: (h * m[..., None]).sum(1) / m.sum(1, True)
    - (h * m[..., None]).sum((0, 1)) / m.sum(),
}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", POOLED)
def test_means_over_the_tokens_of_each_sample(name, sizes):
    assert silent(pooled, sizes, POOLED[name])


@pytest.mark.parametrize("sizes", SIZES)
def test_losses_of_tokens_divided_by_the_tokens_of_all(sizes):
    """Summed up over the samples it is the mean over all tokens."""

    def program():
        batch, time, width = sizes
        x, mask = torch.randn(batch, time, width), tokens(batch, time)
        loss = (nn.Linear(width, width)(x) - x).square().mean(-1)
        ((loss * mask).sum(1) / mask.sum()).sum().backward()

    assert silent(program)


def test_one_graph_of_many_nodes():
    def program():
        nodes, picked = nn.Linear(6, 6)(torch.randn(9, 6)), torch.ones(9, 1)
        vector = (nodes * picked).sum(0) / picked.sum()
        nn.Linear(6, 1)(vector).sum().backward()

    assert silent(program)


def regularised(sizes, reduce):
    """A variational autoencoder, whose divergence is reduced in some way."""
    x = torch.randn(*sizes)
    mean, log_variance = nn.Linear(sizes[-1], 3)(x), nn.Linear(sizes[-1], 3)(x)
    made = nn.Linear(3, sizes[-1])(
        mean + torch.randn_like(mean) * (log_variance / 2).exp()
    )
    divergence = mean.square() + log_variance.exp() - 1 - log_variance
    (F.mse_loss(made, x) + reduce(divergence)).backward()


#: batches of vectors and of sequences, as long as they are wide
BATCHES = [(6, 4), (5, 7, 4), (4, 4, 4)]


@pytest.mark.parametrize("sizes", BATCHES)
@pytest.mark.parametrize(
    "reduce",
    [
        lambda each: torch.mean(0.5 * torch.sum(each), dim=0),
        lambda each: (-0.5 * -each.sum()).mean(-1),
    ],
)
def test_a_mean_over_the_batch_of_the_sum_over_all(sizes, reduce):
    assert findings(regularised, sizes, reduce) == [("reduced-too-early", "sum")]


ONCE = {
    "each sample": lambda each: (0.5 * each.flatten(1).sum(1)).mean(dim=0),
    "each number": lambda each: each.mean(),
    "the mean of the mean": lambda each: each.mean().mean(0),
    "of several devices": lambda each: each.sum().mean(),
    "by the batch": lambda each: each.sum() / len(each),
    "summed twice": lambda each: each.sum().sum(0),
    "of one sample": lambda each: each[0].flatten().sum().mean(dim=0),
    "a step at a time": lambda each: torch.stack([e.sum() for e in each]).mean(0),
    "of a dimension": lambda each: each.sum(-1).flatten().mean(0),
    "the largest": lambda each: each.max().mean(0),
}


@pytest.mark.parametrize("sizes", BATCHES)
@pytest.mark.parametrize("name", ONCE)
def test_divergences_that_are_reduced_as_they_should(name, sizes):
    assert silent(regularised, sizes, ONCE[name])
