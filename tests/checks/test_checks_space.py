"""Softmaxes over one side of maps whose classes are another dimension."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

CODE = "softmax-over-space"
#: batch, classes, height and width
SIZES = [(2, 3, 12, 10), (4, 4, 4, 4)]


def codes(program):
    torch.manual_seed(0)
    with warnings.catch_warnings(), shapetrace.trace() as t:
        warnings.simplefilter("ignore", shapetrace.ShapeTraceWarning)
        program()
    return [finding.code for finding in t.findings]


def maps(sizes):
    batch, classes, high, wide = sizes
    body = nn.Sequential(nn.Conv2d(3, classes, 3, padding=1), nn.Tanh())
    labels = torch.randint(0, classes, (batch, high, wide))
    return body(torch.randn(batch, 3, high, wide)), labels


def confident(sizes, dim):
    """A loss that weighs each place by how sure the model is there."""
    out, labels = maps(sizes)
    sure = out.detach().softmax(dim).amax(1)
    (sure * F.cross_entropy(out, labels, reduction="none")).mean().backward()


def consistent(sizes, dim):
    """A teacher's probabilities, taken in two ways."""
    (out, labels), (theirs, _) = maps(sizes), maps(sizes)
    sure = F.softmax(theirs, dim).max()
    loss = sure * F.mse_loss(out.softmax(1), theirs.softmax(1))
    (F.cross_entropy(out, labels) + loss).backward()


def enlarged(sizes, dim):
    out, labels = maps(sizes)
    out = F.interpolate(out, scale_factor=2.0)
    labels = labels.repeat_interleave(2, 1).repeat_interleave(2, 2)
    entropy = -(out.softmax(dim) * out.log_softmax(1)).sum(1).mean()
    (F.cross_entropy(out, labels) + entropy).backward()


def pseudo_labelled(sizes, dim):
    """The largest class of a teacher's maps, and how sure it is of it."""
    (out, _), (theirs, _) = maps(sizes), maps(sizes)
    theirs = theirs.detach() * torch.ones(sizes[-2:])
    sure = F.softmax(theirs, dim).max()
    labels = theirs.max(1)[1]
    (sure * F.cross_entropy(out, labels)).backward()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("program", [consistent, enlarged, pseudo_labelled])
@pytest.mark.parametrize("dim", [-1, 2])
def test_one_side_of_maps_that_are_classes_elsewhere(program, sizes, dim):
    assert CODE in codes(lambda: program(sizes, dim))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("program", [confident, consistent, enlarged, pseudo_labelled])
def test_the_classes_themselves(program, sizes):
    assert codes(lambda: program(sizes, 1)) == []


def rows(sizes):
    """Columns are classified in each row of each lane; the channels are lanes."""
    out, _ = maps(sizes)
    at = torch.randint(0, sizes[3], (sizes[0], sizes[1], sizes[2]))
    likely = out.softmax(-1).clamp_min(1e-6).log()
    F.nll_loss(likely.permute(0, 3, 1, 2).contiguous(), at).backward()


def regions(sizes):
    """All places of a class at once, as an object's region is gathered."""
    out, labels = maps(sizes)
    where = out.flatten(2).softmax(-1)
    context = where @ torch.randn(sizes[0], sizes[2] * sizes[3], 5)
    (F.cross_entropy(out, labels) + context.square().mean()).backward()


def marginals(sizes):
    """Where a landmark lies along the width: the height is summed out before."""
    out, _ = maps(sizes)
    along = out.sum(2).softmax(-1) * torch.arange(sizes[3])
    along.sum(-1).mean().backward()


def one_channel(sizes):
    """A volume of costs, of which one dimension is the disparity."""
    batch, _, high, wide = sizes
    cost = nn.Conv3d(2, 1, 1)(torch.randn(batch, 2, 5, high, wide)).squeeze(1)
    (cost.softmax(1) * torch.arange(5.0)[:, None, None]).sum(1).mean().backward()


def attention(sizes):
    """Scores of heads over places, from convolutions' queries and keys."""
    batch, channels, high, wide = sizes
    x = torch.randn(batch, channels, high, wide)
    q, k = (nn.Conv2d(channels, 8, 1)(x).view(batch, 2, 4, -1) for _ in "qk")
    (q.mT @ k).softmax(-1).square().mean().backward()


def rows_attended(sizes):
    """Attention along the width of each row."""
    q, _ = maps(sizes)
    scores = torch.einsum("bchw,bchv->bhwv", q, q)
    scores.softmax(-1).square().mean().backward()


def kernels(sizes):
    """Weights of a neighbourhood at each place."""
    batch, _, high, wide = sizes
    out = nn.Conv2d(3, 2 * 9, 1)(torch.randn(batch, 3, high, wide))
    weights = out.view(batch, 2, 9, high, wide).softmax(2)
    weights.square().mean().backward()


def both_ways(sizes):
    """A similarity of all pairs, normalised in both directions."""
    a, b = torch.randn(sizes[0], 7, 5), torch.randn(sizes[0], 7, 5)
    s = nn.Linear(5, 5)(a) @ b.mT
    (s.softmax(1) * s.softmax(2)).mean().neg().backward()


def routed(sizes):
    """Attention over places, of which the heads are weighed against each other."""
    batch, _, high, wide = sizes
    q, k = (nn.Linear(5, 2 * 6)(torch.randn(batch, n, 5)) for n in (high, wide))
    q, k = (one.unflatten(-1, (2, 6)).transpose(1, 2) for one in (q, k))
    scores = q @ k.mT
    (scores.softmax(-1) * scores.softmax(1)).square().mean().backward()


def heat(sizes):
    """Maps of landmarks, normalised over all places."""
    out, _ = maps(sizes)
    share = out.flatten(2).softmax(-1).view_as(out)
    (share.log_softmax(1).exp() * share).mean().backward()


def pooled(sizes):
    """The largest channel at each place, and places of a row against each other: no
    index of a channel is asked for."""
    out, _ = maps(sizes)
    largest, _ = out.max(1, keepdim=True)
    (out.softmax(-1) * largest).square().mean().backward()


def sequence(sizes):
    """Weights over the steps of a sequence, whose channels are classes."""
    x = torch.randn(sizes[0], 3, sizes[3])
    out = nn.Conv1d(3, sizes[1], 3, padding=1)(x)
    clip = (out.softmax(-1) * out.softmax(1)).sum(-1)
    F.binary_cross_entropy(clip.clamp(0, 1), torch.zeros_like(clip)).backward()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "program",
    [rows, regions, marginals, one_channel, attention, rows_attended]
    + [kernels, both_ways, routed, heat, sequence, pooled],
)
def test_programs_that_look_alike(program, sizes):
    assert CODE not in codes(lambda: program(sizes))
