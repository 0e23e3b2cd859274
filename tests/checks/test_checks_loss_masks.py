"""Masks over the loss of each place: what they keep, and what they are counted by."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

#: a finding is told as a warning too
pytestmark = pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")

#: batch, places, features
SIZES = [(4, 7, 5), (6, 6, 6)]


class Data:
    """Frames of several lengths, some of them hidden, and a model of them."""

    def __init__(self, size):
        batch, steps, width = size
        self.model = nn.Linear(width, width)
        self.x, self.y = torch.randn(size), torch.randn(size)
        self.lengths = torch.randint(2, steps, (batch,))
        self.tokens = torch.randint(0, width, (batch, steps))
        self.given = torch.rand(batch, steps) < 0.5

    @property
    def place(self):
        return torch.arange(self.x.shape[1])

    def loss(self):
        return F.mse_loss(self.model(self.x), self.y, reduction="none").mean(-1)

    def scores(self):
        return F.cross_entropy(self.model(self.x).mT, self.tokens, reduction="none")


def counted_by_the_hidden(d):
    return (d.loss().masked_fill(d.given, 0).sum(-1) / d.given.sum(-1)).mean()


def counted_by_the_hidden_at_least_one(d):
    return d.loss().masked_fill(d.given, 0.0).sum() / d.given.sum().clamp(min=1)


def multiplied(d):
    return (d.loss() * ~d.given).sum() / (d.given.sum() + 1e-6)


def multiplied_by_the_rest(d):
    mask = d.given.float()
    return ((1 - mask) * d.loss()).sum() / mask.sum()


def picked(d):
    return d.loss()[~d.given].sum() / d.given.sum()


def selected(d):
    return d.loss().masked_select(d.given).sum() / (~d.given).sum()


def mean_by_mean(d):
    mask = d.given.float()
    return (d.loss() * (1 - mask)).mean() / mask.mean()


def behind_the_lengths(d):
    mask = d.place >= d.lengths[:, None]
    return (d.scores() * mask).sum() / mask.sum()


def picked_behind_the_lengths(d):
    mask = d.place[None] < d.lengths[:, None]
    return d.loss()[~mask].mean()


def tokens_set_to_nothing(d):
    mask = d.place < d.lengths.unsqueeze(1)
    loss = d.scores().masked_fill(mask, 0)
    return loss.sum() / (~mask).sum()


WRONG = [
    counted_by_the_hidden,
    counted_by_the_hidden_at_least_one,
    multiplied,
    multiplied_by_the_rest,
    picked,
    selected,
    mean_by_mean,
    behind_the_lengths,
    picked_behind_the_lengths,
    tokens_set_to_nothing,
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("program", WRONG)
def test_a_mask_that_keeps_what_is_not_meant(program, size):
    assert codes(program, size) == {"mask-inverted"}


def kept_and_counted(d):
    return d.loss().masked_fill(~d.given, 0).sum() / d.given.sum()


def kept_by_a_product(d):
    mask = d.given[..., None].float()
    error = (d.model(d.x) - d.y).square() * mask
    return error.sum() / mask.sum().clamp(min=1)


def the_rest_by_the_rest(d):
    mask = d.given.float()
    return (d.loss() * (1 - mask)).sum() / (1 - mask).sum()


def tokens_of_the_lengths(d):
    mask = d.place < d.lengths[:, None]
    return (d.scores() * mask).sum() / mask.sum()


def padding_set_to_nothing(d):
    mask = d.place >= d.lengths[:, None]
    return d.scores().masked_fill(mask, 0).sum() / (~mask).sum()


def picked_by_the_lengths(d):
    mask = d.place >= d.lengths[:, None]
    return d.loss()[~mask].mean()


def both_sides(d):
    """Objects and background, each by the number of objects."""
    loss, there = d.loss(), d.given
    objects = (loss * there).sum() / there.sum()
    return objects + 0.5 * (loss * ~there).sum() / there.sum()


def both_sides_by_places(d):
    loss, there = d.loss(), d.given
    rows, columns = there.nonzero(as_tuple=True)
    found = loss[rows, columns].sum()
    return (found + loss[~there].sum()) / there.sum()


def background_by_another(d):
    """Hard negatives, as many as there are objects."""
    loss, there = d.scores(), d.tokens > 1
    hard = loss.detach() > loss.detach().median()
    return (loss[hard].sum() + loss[there].sum()) / there.sum()


def hidden_input(d):
    x = d.x * ~d.given[..., None]
    loss = F.mse_loss(d.model(x), d.y, reduction="none").mean(-1)
    return (loss * d.given).sum() / d.given.sum()


def learned_padding(d):
    """What was learned stands for the padding; all places are compared."""
    mask = (d.place < d.lengths[:, None])[..., None]
    made = d.model(d.x)
    fill = d.model.bias.expand_as(made)
    return (made * mask + fill * ~mask - d.y).square().mean()


def silence_is_learned(d):
    """Speech and silence, weighed apart."""
    mask = d.place < d.lengths[:, None]
    loss = d.loss()
    return loss[mask].mean() + 0.1 * loss[~mask].mean()


def divided_by_all(d):
    return d.loss().masked_fill(d.given, 0).sum() / d.given.numel()


def contrast(d):
    """Of the others, not of the sample itself."""
    z = d.model(d.x).mean(1)
    own = torch.eye(len(z), dtype=torch.bool)
    return (z @ z.T).masked_fill(own, 0).sum() / (~own).sum()


RIGHT = [
    kept_and_counted,
    kept_by_a_product,
    the_rest_by_the_rest,
    tokens_of_the_lengths,
    padding_set_to_nothing,
    picked_by_the_lengths,
    both_sides,
    both_sides_by_places,
    background_by_another,
    hidden_input,
    learned_padding,
    silence_is_learned,
    divided_by_all,
    contrast,
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("program", RIGHT)
def test_a_mask_that_keeps_what_is_counted(program, size):
    assert codes(program, size) == set()


def codes(program, size):
    torch.manual_seed(0)
    data = Data(size)
    with shapetrace.trace(data.model) as t:
        program(data).backward()
    return {found.code for found in t.findings if found.severity != "note"}
