"""Which number of a batch is its size: what `memory_for` scales with."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace


class Tagger(nn.Module):
    """A recurrent layer as torch makes it: (time, batch, features)."""

    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.GRU(5, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.out(self.rnn(x)[0]).flatten(0, 1)


class Encoder(nn.Module):
    def __init__(self, first=False):
        super().__init__()
        self.first, self.embed = first, nn.Embedding(20, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=first)

    def forward(self, x):
        if not self.first:
            return self.layer(self.embed(x)).flatten(0, 1)
        hidden = self.layer(self.embed(x["ids"]), src_key_padding_mask=x["mask"])
        return (hidden * x["scale"]).flatten(0, 1)


class Images(nn.Module):
    """Takes images in a list, of which each has its channels first."""

    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, images):
        return self.out(self.conv(torch.stack(images)).relu().mean((2, 3)))


class Padded(Images):
    def forward(self, images):
        batch = images[0].new_zeros(len(images), 3, 12, 12)
        for place, image in zip(batch, images, strict=True):
            place[:, : image.shape[1]].copy_(image)
        return super().forward(list(batch))


class Clouds(nn.Module):
    """Takes clouds of points in a list, each of another size: only the loss sees the
    batch, and a linear layer none."""

    def __init__(self):
        super().__init__()
        self.points, self.out = nn.Linear(3, 16), nn.Linear(16, 4)

    def forward(self, clouds):
        return self.out(torch.stack([self.points(c).amax(0) for c in clouds]))


class Graphs(nn.Module):
    """Takes the nodes of all graphs at once, and gives a number for each graph."""

    def __init__(self):
        super().__init__()
        self.node, self.out = nn.Linear(3, 16), nn.Linear(16, 4)

    def forward(self, given):
        nodes, graph = given
        sums = nodes.new_zeros(int(graph.max()) + 1, 16)
        return self.out(sums.index_add(0, graph, self.node(nodes).relu()))


class Masked(Encoder):
    """A loss of some words only, of which there are as many as are masked."""

    def forward(self, x):
        return self.layer(self.embed(x))[x > 3]


def classified(out):
    return F.cross_entropy(out, torch.zeros(len(out), dtype=torch.long))


def regressed(out):
    return F.mse_loss(out, torch.zeros(out.shape))


def words(count):
    return {
        "scale": torch.ones(1),
        "mask": torch.zeros(count, 7, dtype=torch.bool),
        "ids": torch.zeros(count, 7, dtype=torch.long),
    }


@pytest.mark.parametrize(
    ("make", "batch"),
    [
        (Tagger, lambda n: torch.randn(7, n, 5)),
        (Encoder, lambda n: torch.randint(20, (7, n))),
        (lambda: Encoder(first=True), words),
        (Images, lambda n: [torch.randn(3, 10, 10) for _ in range(n)]),
        (Padded, lambda n: [torch.randn(3, 10 + i % 3, 12) for i in range(n)]),
        (Clouds, lambda n: [torch.randn(40 + i % 3, 3) for i in range(n)]),
        (
            Graphs,
            lambda n: (torch.randn(9 * n, 3), torch.arange(n).repeat_interleave(9)),
        ),
        (Masked, lambda n: torch.arange(7 * n).remainder(20).view(7, n)),
    ],
    ids="tagger encoder dict images padded clouds graphs masked".split(),
)
def test_the_batch_is_what_layers_and_losses_take_for_it(make, batch):
    def traced(count):
        torch.manual_seed(0)
        model, given = make(), batch(count)
        with shapetrace.trace(model, memory=True) as t:
            loss = regressed if make is Graphs else classified
            loss(model(given)).backward()
        return t

    estimate = traced(6).memory_for(48)
    true = traced(48).memory_for(48)
    assert (estimate.sizes, true.sizes) == ((6,), (48,))
    assert estimate.low <= true.bytes <= estimate.high
    # what the backward of one cloud works with is there once, whatever their number,
    # and is scaled as all else is: 15 % too much
    near = 0.16 if make is Clouds else 0.12
    assert abs(estimate.bytes - true.bytes) < near * true.bytes


class Mixed(nn.Module):
    """Attention by hand over (time, batch, features): nothing tells which is which."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        weights = torch.einsum("tbf,sbf->bts", self.layer(x), x).softmax(-1)
        return torch.einsum("bts,sbf->tbf", weights, x)


def test_of_two_batches_what_differs_is_the_size():
    model = Mixed()

    def traced(count):
        with shapetrace.trace(model, memory=True) as t:
            model(torch.randn(5, count, 8)).square().mean().backward()
        model.zero_grad()
        return t

    assert traced(3).memory_for(24).sizes == (5,)  # what there is to go by
    estimate = traced(3).memory_for(24, traced(6))
    assert estimate.sizes == (3, 6)
    true = traced(24).memory_for(24, traced(3)).bytes
    assert abs(estimate.bytes - true) < 0.03 * true


def test_of_two_lists_their_lengths_are_the_sizes():
    model = nn.Linear(3, 4)

    class Each(nn.Module):
        def forward(self, rows):
            return sum(model(row).sum() for row in rows)

    def traced(count):
        with shapetrace.trace(each := Each(), model, memory=True) as t:
            each([torch.randn(9, 3) for _ in range(count)]).backward()
        return t

    assert traced(2).memory_for(8, traced(5)).sizes == (2, 5)
