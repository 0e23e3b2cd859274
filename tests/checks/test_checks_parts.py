"""Parts of features that are taken twice while another is left, and what is meant."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent

#: a batch, and how many features a part has
SIZES = [(7, 4), (8, 8), (2, 2)]


class Encoder(nn.Module):
    """Two parts of equal size, or as many as `parts`."""

    def __init__(self, cut, size, parts=2):
        super().__init__()
        self.fc, self.size, self.cut = nn.Linear(10, parts * size), size, cut

    def forward(self, x):
        return self.cut(self.fc(x), self.size)


def learned(cut, batch, size, parts=2):
    model = Encoder(cut, size, parts)
    made = model(torch.randn(batch, 10))
    F.mse_loss(made, torch.rand(made.shape)).backward()


def sampled(mean, log_var):
    return mean + torch.randn_like(mean) * (0.5 * log_var).exp()


def first_half_twice(h, n):
    mean = h[:, :n]
    log_var = h[:, :n]
    return sampled(mean, log_var)


def second_half_twice(h, n):
    mean = h[..., n:]
    spread = F.softplus(h[..., n:])
    return mean + spread * torch.randn_like(mean)


def narrowed(h, n):
    mean = h.narrow(1, 0, n)
    log_var = h.narrow(1, 0, n)
    return sampled(mean, log_var)


def chunks(h, n):
    mean = h.chunk(2, dim=1)[0]
    log_var = h.chunk(2, dim=1)[0]
    return sampled(mean, log_var)


def in_one_line(h, n):
    mean, log_var = h[:, :n], h[:, :n].clamp(-5, 5)
    return sampled(mean, log_var)


def in_a_dict(h, n):
    made = {"mean": h[:, :n], "log_var": h[:, :n]}
    return sampled(made["mean"], made["log_var"])


def of_three(h, n):
    query = h[:, :n]
    key = h[:, :n]
    value = h[:, 2 * n :]
    return query * key + value


MISTAKES = [
    (first_half_twice, 2),
    (second_half_twice, 2),
    (narrowed, 2),
    (chunks, 2),
    (in_one_line, 2),
    (in_a_dict, 2),
    (of_three, 3),
]


def both_halves(h, n):
    mean = h[:, :n]
    log_var = h[:, n:]
    return sampled(mean, log_var)


def chunked(h, n):
    mean, log_var = h.chunk(2, 1)
    return sampled(mean, log_var)


def one_half_alone(h, n):
    mean = h[:, :n]
    return mean


def one_half_under_one_name(h, n):
    return h[:, :n] + h[:, :n].tanh()


def twice_and_the_other(h, n):
    mean = h[:, :n]
    again = h[:, :n]
    log_var = h[:, n:]
    return sampled(mean + again, log_var)


def twice_and_all(h, n):
    mean = h[:, :n]
    again = h[:, :n]
    return (mean * again) + h.mean(1, keepdim=True)


def halves_that_overlap(h, n):
    mean = h[:, :n]
    log_var = h[:, 1 : n + 1]
    return sampled(mean, log_var)


def of_the_batch(h, n):
    half = len(h) // 2
    one = h[:half]
    two = h[:half]
    return one + two


def a_smaller_part_twice(h, n):
    one = h[:, :1]
    two = h[:, :1].exp()
    return one + two + h[:, 1:2] * 0


def heads_of_attention(h, n):
    query, key = h.unflatten(1, (2, n)).unbind(1)
    return (query[:, None] * key[None]).sum(-1).softmax(-1) @ key


def gates(h, n):
    value, gate = h[:, :n], h[:, n:]
    return value * gate.sigmoid()


CORRECT = [
    both_halves,
    chunked,
    one_half_alone,
    one_half_under_one_name,
    twice_and_the_other,
    twice_and_all,
    halves_that_overlap,
    of_the_batch,
    heads_of_attention,
    gates,
]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "cut, parts", MISTAKES, ids=lambda one: getattr(one, "__name__", "")
)
def test_a_part_that_is_taken_twice(cut, parts, sizes):
    found = findings(learned, cut, *sizes, parts)
    assert [code for code, _ in found] == ["part-taken-twice"]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("cut", CORRECT, ids=lambda cut: cut.__name__)
def test_parts_that_are_taken_as_they_are_meant(cut, sizes):
    assert silent(learned, cut, *sizes)


def test_a_smaller_part_of_many_features():
    assert silent(learned, a_smaller_part_twice, 6, 4)


def test_columns_by_their_numbers():
    def box(h, n):
        x = h[:, 0]
        y = h[:, 0]
        return (x - y.exp()).square()

    def right(h, n):
        x = h[:, 0]
        y = h[:, 1]
        return (x - y.exp()).square()

    assert findings(learned, box, 6, 1) == [("part-taken-twice", "getitem")]
    assert silent(learned, right, 6, 1)


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize(
    "cut, line",
    [
        (first_half_twice, "log_var = h[:, n:]"),
        (second_half_twice, "mean = h[..., :n]"),
    ],
)
def test_the_part_that_is_left_is_proposed(cut, line):
    with shapetrace.trace() as t:
        learned(cut, 6, 4)
    assert [fix.line for fix in t.findings[0].fixes] == [line]


def test_predictions_without_autograd():
    def program():
        with torch.no_grad():
            Encoder(first_half_twice, 4)(torch.randn(6, 10))

    assert silent(program)
