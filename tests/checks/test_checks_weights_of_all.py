"""A weight of each sample with more dimensions than the errors have left: it meets
the errors of all samples."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(5, 3, 6, 7), (8, 8, 8, 8)]


class Images:
    def __init__(self, count, channels, height, width):
        self.x = torch.randn(count, channels, height, width)
        self.t = torch.rand(count)
        self.made = nn.Conv2d(channels, channels, 1)(self.x)
        self.error = (self.made - torch.randn_like(self.x)).square()


def as_column(t, rank):
    return t.reshape(t.shape + (1,) * (rank - 1))


def mean_over_channels(b):
    return (as_column(1 / b.t.add(1), 4) * b.error.mean(1)).mean()


def sum_over_the_last(b):
    return (b.error.sum(-1) * as_column(b.t, 4)).mean()


def divided(b):
    return (b.error.mean(dim=1) / as_column(b.t + 1, 4)).sum()


def by_views(b):
    weight = b.t.view(-1, 1, 1, 1).exp()
    return (weight * b.error.mean(1)).sum()


def inside_of_a_module(b):
    class Loss(nn.Module):
        def forward(self, error, t):
            weight = as_column(t, 3)
            each = error.flatten(2).mean(2)
            return (weight * each).mean()

    return Loss()(b.error, b.t)


MISTAKES = [mean_over_channels, sum_over_the_last, divided, by_views]
MISTAKES += [inside_of_a_module]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("loss", MISTAKES, ids=lambda one: one.__name__)
def test_a_weight_of_each_sample_that_meets_all(loss, sizes):
    found = findings(lambda: loss(Images(*sizes)).backward())
    assert [code for code, _ in found] == ["silent-broadcast"]


def of_one_rank(b):
    return (as_column(b.t, 4) * b.error).mean()


def the_dimension_is_kept(b):
    return (as_column(b.t, 4) * b.error.mean(1, keepdim=True)).mean()


def of_the_errors_that_are_left(b):
    return (as_column(b.t, 3) * b.error.mean(1)).mean()


def times_a_map_for_all_images(b):
    places = torch.rand(b.x.shape[1:])
    return (as_column(b.t, 4) * places * b.error).mean()


def of_each_step_of_a_sampler(b):
    shown = as_column(b.t, 5) * b.made
    return (shown.flatten(2).std(0) + shown.mean()).mean()


def of_learned_maps(b):
    maps = nn.Parameter(torch.rand(b.x.shape[1:]))
    return (as_column(b.t, 4) * maps - b.made).square().mean()


def all_pairs_of_the_samples(b):
    each = b.made.flatten(1)
    away = (each[:, None] - each).square()
    return away.sum(-1).softmax(-1).diagonal().mean()


def one_weight(b):
    return (b.t[:1].view(1, 1, 1, 1) * b.error.mean(1)).mean()


def steps_of_time_by_samples(b):
    times = torch.linspace(0, 1, 9)
    return (times.view(-1, 1, 1, 1) * b.error.mean(1)).mean()


def kernels(b):
    widths = torch.tensor([0.5, 1.0, 2.0])
    away = torch.cdist(b.made.flatten(1), b.made.flatten(1))
    return torch.exp(-away / widths[:, None, None]).mean()


def as_many_kernels_as_samples(b):
    widths = torch.linspace(0.5, 2.0, len(b.t))
    away = torch.cdist(b.made.flatten(1), b.made.flatten(1))
    return (away * widths[:, None, None]).mean()


CORRECT = [
    as_many_kernels_as_samples,
    of_one_rank,
    the_dimension_is_kept,
    of_the_errors_that_are_left,
    one_weight,
]
CORRECT += [times_a_map_for_all_images, of_each_step_of_a_sampler, of_learned_maps]
CORRECT += [all_pairs_of_the_samples, steps_of_time_by_samples, kernels]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("loss", CORRECT, ids=lambda one: one.__name__)
def test_weights_as_they_are_meant(loss, sizes):
    assert silent(lambda: loss(Images(*sizes)).backward())
