"""A ReLU between the last layer and a loss, and what only looks like it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

SIZES = [(6, 8, 4), (5, 5, 5)]


def by_function(net, x, y, hot):
    return F.cross_entropy(F.relu(net.fc(x)), y)


def by_layer(net, x, y, hot):
    return nn.CrossEntropyLoss()(net.act(net.fc(x)), y)


def by_method(net, x, y, hot):
    return F.binary_cross_entropy_with_logits(net.fc(x).relu(), hot)


def by_log_softmax(net, x, y, hot):
    return F.nll_loss(torch.log_softmax(torch.relu(net.fc(x)), dim=1), y)


def viewed(net, x, y, hot):
    scores = F.relu(net.fc(x[:, None])).squeeze(1).contiguous()
    return F.cross_entropy(scores, y)


def normalised(net, x, y, hot):
    return F.cross_entropy(F.relu(net.norm(net.fc(x))), y)


def cut_off_at_six(net, x, y, hot):
    return F.multilabel_soft_margin_loss(F.relu6(net.fc(x)), hot)


MISTAKES = [
    by_function,
    by_layer,
    by_method,
    by_log_softmax,
    viewed,
    normalised,
    cut_off_at_six,
]


def scores_alone(net, x, y, hot):
    return F.cross_entropy(net.fc(x), y)


def before_the_last_layer(net, x, y, hot):
    return F.cross_entropy(net.fc(F.relu(net.up(x))), y)


def values(net, x, y, hot):
    return F.mse_loss(F.relu(net.fc(x)), hot)


def counts(net, x, y, hot):
    return F.poisson_nll_loss(F.relu(net.fc(x)), hot)


def pooled_maps(net, x, y, hot):
    maps = F.relu(net.conv(x[:, :, None, None].expand(-1, -1, 3, 3)))
    return F.cross_entropy(F.adaptive_avg_pool2d(maps, 1).flatten(1), y)


def negative(net, x, y, hot):
    return F.cross_entropy(-F.relu(net.fc(x)), y)


def scaled(net, x, y, hot):
    return F.cross_entropy(F.relu(net.fc(x)) * 3 - 1, y)


def leaky(net, x, y, hot):
    return F.cross_entropy(F.leaky_relu(net.fc(x), 0.2), y)


def smooth(net, x, y, hot):
    return F.cross_entropy(F.gelu(net.fc(x)), y)


def ten_times_tanh(net, x, y, hot):
    return F.cross_entropy(10 * torch.tanh(net.fc(x)), y)


def of_a_difference(net, x, y, hot):
    return F.cross_entropy(F.relu(net.fc(x) - net.fc(x).mean()), y)


def an_attention(net, x, y, hot):
    weights = torch.softmax(F.relu(net.fc(x)), dim=1)
    return F.mse_loss(weights, hot)


def probabilities(net, x, y, hot):
    return F.binary_cross_entropy(torch.tanh(F.relu(net.fc(x))), hot)


def distances(net, x, y, hot):
    return F.cross_entropy(-torch.cdist(x, x)[:, : hot.shape[1]].relu(), y)


MEANT = [
    scores_alone,
    before_the_last_layer,
    values,
    counts,
    pooled_maps,
    negative,
    scaled,
    leaky,
    smooth,
    ten_times_tanh,
    of_a_difference,
    an_attention,
    probabilities,
    distances,
]


class Net(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.fc, self.up = nn.Linear(width, classes), nn.Linear(width, width)
        self.conv = nn.Conv2d(width, classes, 1)
        self.norm, self.act = nn.BatchNorm1d(classes), nn.ReLU()


def findings(loss, sizes):
    batch, width, classes = sizes
    torch.manual_seed(0)
    net = Net(width, classes)
    y = torch.arange(batch) % classes
    with shapetrace.trace(net) as t:
        loss(net, torch.randn(batch, width), y, torch.eye(classes)[y])
    return [one for one in t.findings if one.severity != "note"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("loss", MISTAKES)
def test_a_relu_before_a_loss_that_takes_scores_is_told(loss, sizes):
    (found,) = findings(loss, sizes)
    assert found.code == "relu-before-loss"
    assert found.culprits[0].name in ("relu", "relu6", "act")


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("loss", MEANT)
def test_what_only_looks_like_it_is_not(loss, sizes):
    assert [str(one) for one in findings(loss, sizes)] == []


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.act = nn.Linear(6, 6), nn.Linear(6, 4), nn.ReLU()

    def forward(self, x):
        x = self.act(self.one(x))
        return self.act(self.two(x))


@pytest.mark.filterwarnings("ignore")
def test_a_relu_that_stands_elsewhere_too_is_not_taken_out_of_the_model():
    model = Shared()
    with shapetrace.trace(model) as t:
        F.cross_entropy(model(torch.randn(3, 6)), torch.tensor([0, 1, 2]))
    (found,) = t.findings
    assert found.culprits[0].name == "act"
    assert all("Identity" not in fix.line for fix in found.fixes)
    assert "give cross_entropy what goes into relu" in str(found)
