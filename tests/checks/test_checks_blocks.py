"""Rows of each sample beside joined blocks, in another order and in the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

#: samples, rows of each in a block
SIZES = [(6, 3), (5, 2), (8, 8)]


def neighbours(z, count):
    """Rows of the batch for each sample: (samples · count, width)."""
    near = torch.randint(0, len(z), (len(z), count))
    return z[near].view(-1, z.shape[1])


def blocks(z, count):
    return torch.cat([neighbours(z, count), neighbours(z, count)])


def step(samples, count, pair, compare):
    z = nn.Linear(5, 4)(torch.randn(samples, 5))
    compare(*pair(z, count)).backward()


def product(one, two):
    return (one * two).sum(-1).mean()


def distance(one, two):
    return F.pairwise_distance(one, two).mean()


def labelled(one, two):
    half = len(one) // 2
    target = torch.cat([torch.ones(half), -torch.ones(len(one) - half)])
    return F.cosine_embedding_loss(one, two, target)


COMPARE = [product, distance, labelled]


def each_by_itself(z, count):
    return z.repeat_interleave(2 * count, dim=0), blocks(z, count)


def beside_a_stack(z, count):
    parts = torch.stack([neighbours(z, count), neighbours(z, count)])
    return z.repeat_interleave(2 * count, 0), parts.flatten(0, 1)


def the_other_way_round(z, count):
    return blocks(z, count), z.repeat_interleave(2 * count, dim=0)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("compare", COMPARE)
@pytest.mark.parametrize("pair", [each_by_itself, beside_a_stack, the_other_way_round])
def test_samples_first_beside_blocks_first(pair, compare, sizes):
    (found,) = findings(step, *sizes, pair, compare)
    assert found == ("pairs-apart", "repeat_interleave")


@pytest.mark.parametrize("compare", COMPARE)
def test_samples_last_beside_rows_of_each_last(compare):
    def pair(z, count):
        return z.repeat(2 * count, 1), blocks(z, count)

    (found,) = findings(step, 6, 3, pair, compare)
    assert found == ("pairs-apart", "repeat")
    # where both are as many, the blocks may be of rows that hold all samples each
    assert silent(step, 8, 8, pair, compare)


def in_the_same_order(z, count):
    return z.repeat_interleave(count, dim=0).repeat(2, 1), blocks(z, count)


def joined_alike(z, count):
    one = z.repeat_interleave(count, dim=0)
    return torch.cat([one, one]), blocks(z, count)


def one_block(z, count):
    return z.repeat_interleave(count, dim=0), neighbours(z, count)


def side_by_side(z, count):  # both neighbourhoods of each sample behind one another
    near = [part.view(len(z), count, -1) for part in blocks(z, count).chunk(2)]
    return z.repeat_interleave(2 * count, 0), torch.cat(near, 1).flatten(0, 1)


def expanded(z, count):
    parts = blocks(z, count).view(2, len(z), count, -1)
    return z[None, :, None].expand_as(parts).flatten(0, 2), parts.flatten(0, 2)


def one_of_each(z, count):
    return z.repeat(2, 1), torch.cat([z.flip(0), z.roll(1, 0)])


def all_with_a_bank(z, count):
    bank = torch.randn(2 * count, z.shape[1])
    return z.repeat_interleave(len(bank), 0), bank.repeat(len(z), 1)


def all_with_a_joined_bank(z, count):
    bank = torch.randn(len(z) * count, z.shape[1])
    return z.repeat_interleave(len(bank), 0), torch.cat([bank] * len(z))


def all_pairs(z, count):
    return z.repeat_interleave(len(z), 0), z.repeat(len(z), 1)


def picked(z, count):
    own = torch.arange(len(z)).repeat_interleave(count).repeat(2)
    return z[own], blocks(z, count)


CORRECT = [in_the_same_order, joined_alike, one_block, side_by_side, expanded]
CORRECT += [one_of_each, all_with_a_bank, all_with_a_joined_bank, all_pairs, picked]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("compare", COMPARE)
@pytest.mark.parametrize("pair", CORRECT)
def test_rows_that_belong_together(pair, compare, sizes):
    assert silent(step, *sizes, pair, compare)
