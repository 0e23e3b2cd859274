"""A mask of zeros and ones times the scores hides nothing from a softmax."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(5, 7, 6), (8, 8, 8)]


class Batch:
    def __init__(self, batch, time, width):
        self.lengths = torch.randint(1, time + 1, (batch,))
        self.places = torch.arange(time)
        self.x = torch.randn(batch, time, width)
        self.bool = (self.places < self.lengths[:, None])[:, None]
        self.float = self.bool.float()
        q, k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.scores = q(self.x) @ k(self.x).mT / width**0.5

    def weigh(self, shares):
        (shares @ self.v(self.x)).square().mean().backward()


def of_bools(b):
    return b.scores * b.bool


def of_floats(b):
    return b.scores * b.float


def inverted(b):
    padding = (b.places >= b.lengths[:, None]).float()
    return b.scores * (1 - padding)[:, None]


def written(b):
    mask = torch.ones_like(b.x[..., 0])
    mask[b.places >= b.lengths[:, None]] = 0
    return b.scores * mask.unsqueeze(1)


def written_in_blocks(b):
    mask = torch.zeros(b.x.shape[1], b.x.shape[1])
    mask[:3, :3] = 1
    mask[3:, 3:] = 1
    return b.scores * mask


def causal(b):
    return b.scores * torch.ones(b.x.shape[1], b.x.shape[1]).tril()


def both_sides(b):
    mask = b.bool[:, 0].float()
    return b.scores * (mask[:, :, None] * mask[:, None])


def in_place(b):
    scores = b.scores.clone()
    scores *= b.float
    return scores


def scaled_later(b):
    return F.dropout(b.scores * b.float / 2.0, 0.1)


MISTAKES = [of_bools, of_floats, inverted, written, written_in_blocks, causal]
MISTAKES += [both_sides, in_place, scaled_later]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("scores", MISTAKES, ids=lambda one: one.__name__)
def test_scores_that_are_set_to_zero(scores, sizes):
    def program():
        batch = Batch(*sizes)
        batch.weigh(scores(batch).softmax(-1))

    assert findings(program) == [("mask-without-effect", "mul")]


def filled(b):
    return b.scores.masked_fill(~b.bool, -1e9).softmax(-1)


def zeros_and_a_large_number(b):
    return (b.scores * b.float + (1 - b.float) * -1e9).softmax(-1)


def zeros_after_a_fill(b):
    return (b.scores.masked_fill(~b.bool, -1e9) * 1.0).softmax(-1)


def shared_out_anew(b):
    shares = (b.scores * b.float).softmax(-1) * b.float
    return shares / (shares.sum(-1, keepdim=True) + 1e-13)


def queries_alone(b):
    return (b.scores.masked_fill(~b.bool, -1e9) * b.float.mT).softmax(-1)


def weighed_by_the_distance(b):
    far = (b.places[:, None] - b.places).abs().float()
    return (b.scores * torch.exp(-far)).softmax(-1)


def weighed_by_what_is_learned(b):
    gate = torch.sigmoid(nn.Linear(b.x.shape[2], 1)(b.x)).mT
    return (b.scores * gate).softmax(-1)


def dropped_at_random(b):
    return (b.scores * (torch.rand_like(b.scores) > 0.1)).softmax(-1)


def signs(b):
    side = torch.ones(b.x.shape[1])
    side[::2] = -1
    return (b.scores * side).softmax(-1)


def exponentials(b):
    made = b.scores.exp() * b.float
    return made / made.sum(-1, keepdim=True)


CORRECT = [filled, zeros_and_a_large_number, zeros_after_a_fill, shared_out_anew]
CORRECT += [queries_alone, weighed_by_the_distance, dropped_at_random]
CORRECT += [weighed_by_what_is_learned, signs, exponentials]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("shares", CORRECT, ids=lambda one: one.__name__)
def test_scores_and_shares_as_they_are_meant(shares, sizes):
    def program():
        batch = Batch(*sizes)
        batch.weigh(shares(batch))

    assert silent(program)


@pytest.mark.parametrize("sizes", SIZES)
def test_shares_that_weigh_nothing(sizes):
    def program():
        batch = Batch(*sizes)
        (batch.scores * batch.float).softmax(-1).amax(-1).mean().backward()

    assert silent(program)


def test_a_temperature_of_each_class_is_no_mask():
    def program():
        logits = nn.Linear(8, 8)(torch.randn(8, 8))
        chosen = (torch.arange(8) < 5).float()
        F.nll_loss((logits * chosen).log_softmax(-1), torch.arange(8) % 5).backward()

    assert silent(program)


class Attention(nn.Module):
    def __init__(self, hide, width=8):
        super().__init__()
        self.qkv, self.out, self.hide = (
            nn.Linear(width, 3 * width),
            nn.Linear(8, 3),
            hide,
        )

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        past = self.past[:, : x.shape[1], : x.shape[1]]
        return self.out(self.hide(q @ k.mT / 8**0.5, past) @ v)


class Past(Attention):
    """A triangle of ones that was there before the block."""

    def __init__(self, hide):
        super().__init__(hide)
        self.register_buffer("past", torch.tril(torch.ones(9, 9)).view(1, 9, 9))


class Large(Attention):
    def __init__(self, hide):
        super().__init__(hide)
        self.register_buffer("past", torch.full((9, 9), -1e9).triu(1)[None])


def times_before(scores, past):
    return (scores * past).softmax(-1)


def times_after(scores, past):
    return scores.softmax(-1) * past


def filled_before(scores, past):
    return scores.masked_fill(past == 0, float("-inf")).softmax(-1)


def shared_anew(scores, past):
    shares = scores.exp() * past
    return shares / shares.sum(-1, keepdim=True)


def softmax_and_anew(scores, past):
    shares = scores.softmax(-1) * past
    return shares / shares.sum(-1, keepdim=True)


def added(scores, past):
    return (scores + past).softmax(-1)


def with_fill(scores, past):
    return (scores * past - 1e4 * (1 - past)).softmax(-1)


def predict(of, hide, time):
    torch.manual_seed(0)
    model = of(hide)

    def program():
        x, y = torch.randn(5, time, 8), torch.randint(0, 3, (5, time))
        F.cross_entropy(model(x).mT, y).backward()

    return program


@pytest.mark.parametrize("time", [7, 8])
def test_a_buffer_of_zeros_and_ones(time):
    before = predict(Past, times_before, time)
    assert findings(before) == [("mask-without-effect", "mul")]
    after = predict(Past, times_after, time)
    assert findings(after) == [("mask-after-softmax", "mul")]


@pytest.mark.parametrize("time", [7, 8])
@pytest.mark.parametrize(
    "hide", [filled_before, shared_anew, softmax_and_anew, with_fill]
)
def test_a_buffer_that_hides_what_it_should(hide, time):
    assert silent(predict(Past, hide, time))


def test_a_buffer_of_large_numbers_is_no_mask_of_ones():
    assert silent(predict(Large, added, 7))
