"""Layers that are cut off inside of a model, and what only looks like it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(6, 8), (5, 5)]


class Net(nn.Module):
    def __init__(self, width, between):
        super().__init__()
        self.one, self.two = nn.Linear(width, width), nn.Linear(width, width)
        self.between = between

    def forward(self, x):
        return self.two(self.between(self, self.one(x)))


def by_data(net, h):
    return F.relu(h).data


def through_numpy(net, h):
    return torch.from_numpy(h.detach().numpy() * 2)


def through_a_list(net, h):
    return torch.tensor(h.tolist())


MISTAKES = {by_data: "data", through_numpy: "numpy", through_a_list: "tolist"}


def learned(between, sizes):
    batch, width = sizes
    net = Net(width, between)
    F.mse_loss(net(torch.randn(batch, width)), torch.randn(batch, width)).backward()


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("between", MISTAKES)
def test_a_layer_that_is_cut_off_is_told(between, sizes):
    assert findings(learned, between, sizes) == [("layer-cut-off", MISTAKES[between])]


def attached(net, h):
    return F.relu(h)


def detached_by_name(net, h):
    return h.detach()  # so one says that a layer is to stay as it is


def straight_through(net, h):
    return h + (h.round() - h).data


def scaled_by_its_size(net, h):
    return h / h.data.norm()


def masked(net, h):
    return h * (h.data > 0)


def printed(net, h):
    h.detach().numpy().sum()
    return h


def counted(net, h):
    return h * len(h.tolist())


def looked_up(net, h):
    net.last = h.data
    return h


def a_second_way(net, h):
    return h.data + net.one(h)


def a_new_constant(net, h):
    h.detach().numpy()
    return h + torch.tensor(1.0)


MEANT = [
    attached,
    detached_by_name,
    straight_through,
    scaled_by_its_size,
    masked,
    printed,
    counted,
    looked_up,
    a_second_way,
    a_new_constant,
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("between", MEANT)
def test_what_only_looks_like_it_is_not(between, sizes):
    assert silent(learned, between, sizes)


class Values(nn.Module):
    """A network and the older one that makes its targets."""

    def __init__(self, width):
        super().__init__()
        self.now, self.before = nn.Linear(width, 3), nn.Linear(width, 3)

    def forward(self, x, then, reward):
        later = self.before(then).amax(1).data
        return F.mse_loss(self.now(x).amax(1), reward + 0.9 * later)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_targets_are_to_have_no_gradient(sizes):
    batch, width = sizes
    values = Values(width)
    x, then = torch.randn(2, batch, width)
    assert silent(lambda: values(x, then, torch.randn(batch)).backward())


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_a_layer_that_is_in_evaluation_may_stay_as_it_is(sizes):
    batch, width = sizes
    net = Net(width, by_data)
    net.one.eval()
    x, y = torch.randn(2, batch, width)
    assert silent(lambda: F.mse_loss(net(x), y).backward())


# -- losses that are made numbers, and numbers that only weigh -------------------------


class Tasks(nn.Module):
    """Two heads with losses of their own, weighed by what is learned."""

    def __init__(self, width, total):
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, 1)])
        self.sigma = nn.Parameter(torch.ones(2))
        self.total = total

    def forward(self, x, targets):
        losses = [F.mse_loss(head(x), y) for head, y in zip(self.heads, targets)]
        return self.total(self, losses)


def weighed(net, losses):
    return (losses / net.sigma**2).sum() + net.sigma.prod().log()


def as_a_tensor(net, losses):
    return weighed(net, torch.Tensor(losses))


def as_a_tensor_of_items(net, losses):
    return weighed(net, torch.tensor([loss.item() for loss in losses]))


def weights_by_size(net, losses):
    """Each counts by how large it is."""
    share = torch.tensor([loss.item() for loss in losses]).softmax(0)
    return (share * torch.stack(losses)).sum()


def stacked(net, losses):
    return weighed(net, torch.stack(losses))


def one_is_told(net, losses):
    """A number for a log, kept on the module."""
    net.last = torch.tensor([loss.item() for loss in losses])
    return weighed(net, torch.stack(losses))


def target_of_the_weights(net, losses):
    """The weights are to foretell the losses."""
    told = torch.tensor([loss.item() for loss in losses])
    return torch.stack(losses).sum() + F.mse_loss(net.sigma, told)


def trained(total, sizes):
    batch, width = sizes
    net = Tasks(width, total)
    targets = [torch.randn(batch, width), torch.randn(batch, 1)]
    net(torch.randn(batch, width), targets).backward()


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(
    ("total", "name"), [(as_a_tensor, "Tensor"), (as_a_tensor_of_items, "tensor")]
)
@pytest.mark.filterwarnings("ignore:Converting a tensor")
def test_losses_that_are_made_numbers_teach_nothing(total, name, sizes):
    assert findings(trained, total, sizes) == [("layer-cut-off", name)]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_a_number_that_is_printed_is_no_new_tensor(sizes):
    def printed_alone(net, h):
        h.mean().item()
        return torch.ones(sizes) * torch.tensor(2.0)

    assert silent(learned, printed_alone, sizes)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(
    "total", [weights_by_size, stacked, one_is_told, target_of_the_weights]
)
def test_losses_that_also_are_numbers(total, sizes):
    assert silent(trained, total, sizes)
