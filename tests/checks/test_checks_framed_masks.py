"""Masks of ones that are padded with zeros as the data is: 1 is where there is data."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

#: length, padding, features; heads
SIZES = [(6, 2, 8), (8, 8, 8)]


def attended(frame, mask_of, hide, size):
    """Attention over a padded sequence (4, length, features)."""
    length, padding, width = size
    x = nn.Linear(5, width)(torch.randn(4, length, 5))
    keys = frame(x, padding, None)
    mask = mask_of(frame, x, padding)
    scores = nn.Linear(width, width)(x) @ nn.Linear(width, width)(keys).mT
    out = hide(scores, mask[:, None, :]) @ keys
    F.cross_entropy(nn.Linear(width, 3)(out.mean(1)), torch.arange(4) % 3).backward()


def behind(x, padding, value):
    """Padded behind: values of three dimensions, or a mask of two."""
    if value is None:
        return F.pad(x, (0, 0, 0, padding))
    return F.pad(x, (0, padding), value=value)


def around(x, padding, value):
    if value is None:
        return nn.ZeroPad2d((0, 0, padding, padding))(x)
    return F.pad(x, (padding, padding), "constant", value)


def written(x, padding, value):
    padded = x.new_full((4, x.shape[1] + padding, *x.shape[2:]), value or 0.0)
    padded[:, : x.shape[1]] = x if value is None else float(x[0, 0])
    return padded


def by_rows(x, padding, value):
    """Sequences of which each is as long as it is."""
    padded = torch.zeros(4, x.shape[1] + padding, *x.shape[2:])
    if value:
        padded = torch.ones(4, x.shape[1] + padding)
    for row in range(4):
        kept = x.shape[1] - row
        padded[row, :kept] = x[row, :kept] if value is None else int(x[row, 0])
    return padded


def ones(frame, x, padding):
    return frame(torch.ones(4, x.shape[1]), padding, 0)


def zeros(frame, x, padding):
    return frame(torch.zeros(4, x.shape[1]), padding, 1)


def hidden(scores, mask):
    return scores.masked_fill(mask.bool(), -math.inf).softmax(-1)


def kept(scores, mask):
    return scores.masked_fill(~mask.bool(), -1e9).softmax(-1)


def kept_by_comparison(scores, mask):
    return scores.masked_fill(mask == 0, -1e9).softmax(-1)


def kept_by_half(scores, mask):
    return scores.masked_fill_(mask < 0.5, -1e9).softmax(-1)


FRAMES = [behind, around, written, by_rows]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("frame", FRAMES)
def test_a_mask_that_hides_the_ones_that_were_padded_with_zeros(frame, size):
    wrong = [("mask-inverted", "masked_fill")]
    assert findings(attended, frame, ones, hidden, size) == wrong
    for hide in (kept, kept_by_comparison, kept_by_half):
        assert silent(attended, frame, ones, hide, size)
        assert findings(attended, frame, zeros, hide, size) == wrong
    assert silent(attended, frame, zeros, hidden, size)


def windows(turn, repeat, size):
    """Blocks of an image that attend to their surroundings, padded with zeros."""
    side, halo, width = 8, size[1] // 2, size[2]
    x = nn.Conv2d(3, width, 1)(torch.randn(2, 3, side, side))
    window = 4 + 2 * halo
    keys = F.unfold(x, window, stride=4, padding=halo).view(2, width, window**2, 4)
    keys = keys.permute(0, 3, 2, 1).reshape(8, window**2, width)
    queries = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 4, 5, 1)
    queries = nn.Linear(width, width)(queries.reshape(8, 16, width))
    mask = F.unfold(x.new_ones(1, 1, side, side), window, stride=4, padding=halo)
    mask = repeat(mask.transpose(1, 2)).reshape(8, 1, window**2)
    scores = queries @ nn.Linear(width, width)(keys).mT
    shares = scores.masked_fill_(turn(mask.bool()), -1e4).softmax(-1)
    out = nn.Linear(width, 3)((shares @ keys).mean(1)).view(2, 4, 3).mean(1)
    F.cross_entropy(out, torch.tensor([0, 2])).backward()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "repeat",
    [
        lambda mask: mask.repeat(2, 1, 1),
        lambda mask: mask.expand(2, -1, -1),
        lambda mask: mask.repeat_interleave(2, 0),
    ],
)
def test_windows_of_ones_with_zeros_around(repeat, size):
    found = findings(windows, lambda mask: mask, repeat, size)
    assert found == [("mask-inverted", "masked_fill")]
    assert silent(windows, torch.logical_not, repeat, size)


# what looks alike and is right, or tells nothing


def start_hidden(frame, x, padding):
    """Of another dimension than the data's padding: what comes first is not seen."""
    return F.pad(torch.ones(4, 1), (0, x.shape[1] + padding - 1))


def drawn(frame, x, padding):
    return frame((torch.rand(4, x.shape[1]) > 0.5).float(), padding, 0)


def of_data(frame, x, padding):
    return frame((x.detach()[..., 0] > 0).float(), padding, 0)


def other_side(frame, x, padding):
    return F.pad(torch.ones(4, padding), (x.shape[1], 0))


def both_sides(frame, x, padding):
    """True for what stands before or behind: no frame of the data's."""
    return F.pad(torch.ones(4, x.shape[1] - 2), (1, padding + 1))


def weights(frame, x, padding):
    return frame(torch.full((4, x.shape[1]), 0.5), padding, 0)


def repeated(frame, x, padding):
    mask = torch.ones(4, 1, x.shape[1])
    return F.pad(mask, (0, padding), mode="replicate")[:, 0]


def written_behind(frame, x, padding):
    mask = torch.zeros(4, x.shape[1] + padding)
    mask[:, x.shape[1] :] = 1
    return mask


def written_ones_before(frame, x, padding):
    mask = torch.ones(4, x.shape[1] + padding, dtype=torch.bool)
    mask[:, : x.shape[1]] = False
    return mask


def written_row_by_row(frame, x, padding):
    mask = torch.zeros(4, x.shape[1] + padding, dtype=torch.bool)
    for row in range(4):
        mask[row, x.shape[1] - row :] = True
    return mask


def other_side_twice(frame, x, padding):
    other_side(frame, x, padding)
    return other_side(frame, x, padding)


def written_behind_twice(frame, x, padding):
    written_behind(frame, x, padding)
    return written_behind(frame, x, padding)


def every_other(frame, x, padding):
    """Up to the end of the data, with the steps that are not to be seen."""
    mask = torch.zeros(4, x.shape[1] + padding)
    mask[:, : x.shape[1] : 2] = 1
    return mask


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("frame", "mask"),
    [
        (behind, other_side_twice),
        (written, written_behind_twice),
        (written, every_other),
        (behind, start_hidden),
        (behind, drawn),
        (behind, of_data),
        (behind, other_side),
        (behind, both_sides),
        (behind, weights),
        (behind, repeated),
        (written, written_behind),
        (written, written_ones_before),
        (by_rows, written_row_by_row),
    ],
)
def test_masks_that_are_not_padded_as_the_data_is(frame, mask, size):
    assert silent(attended, frame, mask, hidden, size)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_padded_is_no_constant_of_zero_or_one(size):
    for mask in (drawn, weights):
        assert silent(attended, behind, mask, kept, size)


def shifted_and_hidden(size):
    """The labels come one on, behind a start token; only the first key is to be seen.
    The same places are written, and neither is the padding of the other."""
    length, _, width = size
    ids = torch.randint(1, 20, (4, length))
    given = torch.zeros_like(ids)
    given[:, 1:] = ids[:, :-1].clone()
    given[:, 0] = 3
    x = nn.Embedding(20, width)(given)
    mask = torch.zeros(4, length, dtype=torch.bool)
    mask[:, 1:] = True
    shares = hidden(nn.Linear(width, width)(x) @ x.mT, mask[:, None])
    out = nn.Linear(width, 3)((shares @ x)[:, 0])
    F.cross_entropy(out, torch.arange(4) % 3).backward()


@pytest.mark.parametrize("size", SIZES)
def test_a_start_token_is_no_padding(size):
    assert silent(shifted_and_hidden, size)
