"""A sum over all samples that is added to a value of each, and what looks like it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

SIZES = [(6, 4), (5, 5)]


def by_python(h, score, x, layer):
    return (h.pow(2).sum(1) - sum(score)).mean()


def by_its_method(h, score, x, layer):
    return (h.pow(2).mean(-1) + score.sum()).mean()


def over_two_dimensions(h, score, x, layer):
    kl = -0.5 * torch.sum(1 + h - h.exp())
    return (F.mse_loss(h, x, reduction="none").sum(1) + kl).mean()


def with_the_number_first(h, score, x, layer):
    return torch.sub(torch.sum(score), h.norm(dim=1)).sum()


def with_other_terms(h, score, x, layer):
    each = F.mse_loss(h, x, reduction="none").sum(1) + score.sum()
    return (2 * (each + h.abs().sum(1))).mean()


MISTAKES = [
    by_python,
    by_its_method,
    over_two_dimensions,
    with_the_number_first,
    with_other_terms,
]


def of_each(h, score, x, layer):
    return (h.pow(2).sum(1) - score).mean()


def a_mean_of_all(h, score, x, layer):
    return (h.pow(2).sum(1) + score.mean()).mean()


def a_share_of_all(h, score, x, layer):
    return (h.pow(2).sum(1) + score.sum() / len(score)).mean()


def a_small_weight(h, score, x, layer):
    return (h.pow(2).sum(1) + 0.1 * score.sum()).mean()


def weights_of_a_layer(h, score, x, layer):
    return (h.pow(2).sum(1) + layer.weight.pow(2).sum()).mean()


def numbers_alone(h, score, x, layer):
    return h.pow(2).sum(1).mean() + score.sum()


def raw_data(h, score, x, layer):
    return (h.pow(2).sum(1) + x.sum()).mean()


def a_baseline_that_is_cut_off(h, score, x, layer):
    return (h.pow(2).sum(1) - score.sum().detach()).mean()


def features_and_not_samples(h, score, x, layer):
    return (h.pow(2).sum(0) + score.sum()).mean()


def a_volume_of_the_layer(h, score, x, layer):
    logdet = x.shape[1] * layer.weight.abs().log().sum()
    return (h.pow(2).sum(1) + logdet).mean()


def two_of_several(h, score, x, layer):
    return (h.pow(2).sum(1) + (score[0] + score[1])).mean()


def shares(h, score, x, layer):
    return (score.exp() / score.exp().sum() * h.pow(2).sum(1)).sum()


def one_of_each_step(h, score, x, layer):
    steps = [h.pow(2).sum(1), score]
    return (sum(steps) + h.abs().sum(1)).mean()


MEANT = [
    of_each,
    a_mean_of_all,
    a_share_of_all,
    a_small_weight,
    weights_of_a_layer,
    numbers_alone,
    raw_data,
    a_baseline_that_is_cut_off,
    features_and_not_samples,
    a_volume_of_the_layer,
    two_of_several,
    shares,
    one_of_each_step,
]


def findings(loss, sizes):
    batch, width = sizes
    torch.manual_seed(0)
    layer, head = nn.Linear(width, width), nn.Linear(width, 1)
    with shapetrace.trace(nn.ModuleList([layer, head])) as t:
        x = torch.randn(batch, width)
        h = layer(x)
        loss(h, head(h).squeeze(1), x, layer).backward()
    return [one for one in t.findings if one.severity != "note"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("loss", MISTAKES)
def test_a_sum_over_the_samples_is_told(loss, sizes):
    (found,) = findings(loss, sizes)
    assert found.code == "reduced-too-early"
    assert f"it counts {sizes[0]} times" in found.message
    assert found.culprits[0].name in ("add", "sub")
    assert found.culprits[1].name in ("add", "sum")


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("loss", MEANT)
def test_what_only_looks_like_it_is_not(loss, sizes):
    assert findings(loss, sizes) == []
