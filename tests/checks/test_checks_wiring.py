"""Residuals that are added twice, rows for slices, names that are given up."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace


class Model(nn.Module):
    """`forward` is one of the functions below."""

    def __init__(self, width, body):
        super().__init__()
        self.inp, self.out = nn.Linear(6, width), nn.Linear(width, 4)
        self.one, self.two = nn.Linear(width, width), nn.Linear(width, width)
        self.drop, self.norm = nn.Dropout(0.1), nn.LayerNorm(width)
        self.pe = nn.Parameter(torch.randn(1, 50, width))
        self.step = nn.Embedding(50, width)
        self.body = body

    def forward(self, x):
        x = self.body(self, self.inp(x))
        return self.out(x.mean(1))


def traced(body, batch, steps, width):
    torch.manual_seed(0)
    model = Model(width, body)
    with shapetrace.trace(model) as t:
        scores = model(torch.randn(batch, steps, 6))
        F.cross_entropy(scores, torch.randint(4, (batch,))).backward()
    return t


def alarms(t):
    return [found for found in t.findings if found.severity != "note"]


SIZES = [(3, 7, 12), (8, 8, 8)]


# -- added-twice ---------------------------------------------------------------------


def shortcut_twice(m, x):
    out = m.two(m.one(x).relu())
    out = out + x
    return out + x


def twice_in_one_line(m, x):
    return (x + m.one(x)) + x


def to_itself(m, x):
    out = m.one(x)
    out += out
    return out.relu()


def after_the_norm(m, x):
    h = m.norm(m.one(x))
    return x + (h + x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "body", [shortcut_twice, twice_in_one_line, to_itself, after_the_norm]
)
def test_what_is_added_twice(body, sizes):
    (found,) = alarms(traced(body, *sizes))
    assert found.code == "added-twice"
    assert found.culprits[0].name.rstrip("_") == "add"


@pytest.mark.filterwarnings("ignore")
def test_the_second_shortcut_is_left_out():
    (found,) = alarms(traced(shortcut_twice, 3, 7, 12))
    assert (found.fixes[0].line, found.fixes[0].status) == ("return out", "verified")


def two_residuals(m, x):
    x = x + m.one(x)
    return x + m.two(x)


def parallel(m, x):
    h = m.norm(x)
    return x + m.one(h) + m.two(h)


def long_skip(m, x):
    h = x + m.one(x)
    h = h + m.two(h)
    return h + x


def doubled(m, x):
    return 2 * x + m.one(x)


def scaled(m, x):
    return torch.add(x + m.one(x), x, alpha=0.5)


def with_its_transpose(m, x):
    scores = m.one(x) @ m.two(x).mT
    return (scores + scores.mT).softmax(-1) @ x


def used_elsewhere(m, x):
    h = x + m.one(x)
    return m.two(h + x) * h


def of_two_paths(m, x):
    a, b = m.one(x), m.two(x)
    return (a + b).relu() + (a - b)


def average(m, x):
    a, b = m.one(x), m.two(x)
    return (a + b + x + a.detach()) / 4


def both_ways(m, x):
    return (x.cumsum(1) + x.flip(1).cumsum(1).flip(1)) + m.one(x)


def weights_in_common(m, x):
    return m.one(x) + m.one(x)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "body",
    [
        *(two_residuals, parallel, long_skip, doubled, scaled, with_its_transpose),
        *(used_elsewhere, of_two_paths, average, both_ways, weights_in_common),
    ],
)
def test_sums_that_look_alike(body, sizes):
    assert alarms(traced(body, *sizes)) == []


# -- slice-missing -------------------------------------------------------------------


def row_of_the_length(m, x):
    return x + m.pe[:, x.shape[1]]


def row_by_a_name(m, x):
    batch, steps, width = x.shape
    return x + m.pe[:, steps, :]


def row_by_size(m, x):
    return m.drop(x + m.pe[0, x.size(1)])


def row_by_len(m, x):
    return x * m.pe[0][len(x[0])]


def row_behind_a_class_token(m, x):
    x = torch.cat((m.step.weight[:1].expand(len(x), 1, -1), x), 1)
    return x + m.pe[:, x.shape[1]]


def row_by_select(m, x):
    return x + m.pe.select(1, x.shape[1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    ("body", "line"),
    [
        (row_behind_a_class_token, "return x + m.pe[:, :x.shape[1]]"),
        (row_by_select, None),
        (row_of_the_length, "return x + m.pe[:, :x.shape[1]]"),
        (row_by_a_name, "return x + m.pe[:, :steps, :]"),
        (row_by_size, "return m.drop(x + m.pe[0, :x.size(1)])"),
        (row_by_len, "return x * m.pe[0][:len(x[0])]"),
    ],
)
def test_a_row_where_a_slice_was_meant(body, line, sizes):
    (found,) = alarms(traced(body, *sizes))
    who = "select" if line is None else "getitem"
    assert (found.code, found.culprits[0].name) == ("slice-missing", who)
    assert [fix.line for fix in found.fixes] == [line] * (line is not None)


def first_rows(m, x):
    return x + m.pe[:, : x.shape[1]]


def class_token(m, x):
    return torch.cat((m.pe[:, :1].expand(len(x), 1, -1), x), 1)


def a_constant_row(m, x):
    return x + m.pe[:, 7]


def last_row(m, x):
    return x + m.pe[:, -1]


def the_last_step(m, x):
    return x + m.pe[:, x.shape[1] - 1 : x.shape[1]]


def a_time_of_diffusion(m, x):
    steps = 8
    return x + m.step.weight[steps]


def looked_up(m, x):
    return x + m.step(torch.arange(x.shape[1]))


def one_for_each_length(m, x):
    """A row for the length itself, beside the tokens: a model that is told it."""
    return torch.cat((m.pe[:, x.shape[1]].expand(len(x), -1)[:, None], x), 1)


def for_the_pooled(m, x):
    return (x.mean(1) + m.pe[0, x.shape[1]])[:, None]


def for_the_pooled_as_one_step(m, x):
    return x.mean(1, keepdim=True) + m.pe[:, x.shape[1]]


def by_select(m, x):
    return x + m.pe.select(1, 3)


def every_second(m, x):
    return x + m.pe[:, : 2 * x.shape[1] : 2]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "body",
    [
        *(first_rows, class_token, a_constant_row, last_row, the_last_step),
        *(a_time_of_diffusion, looked_up, one_for_each_length, for_the_pooled),
        *(every_second, for_the_pooled_as_one_step, by_select),
    ],
)
def test_rows_that_look_alike(body, sizes):
    assert alarms(traced(body, *sizes)) == []


# -- unused-output: a name that is given another value --------------------------------


def dropout_of_the_input(m, x):
    out = m.two(m.one(x).relu())
    out = out + x
    out = m.drop(x)
    return out


def layer_of_the_input(m, x):
    h = m.one(x)
    h = m.two(x)
    return h.relu()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    ("body", "who"), [(dropout_of_the_input, "add"), (layer_of_the_input, "one")]
)
def test_a_name_that_is_given_up_before_it_is_read(body, who, sizes):
    (found,) = alarms(traced(body, *sizes))
    assert (found.code, found.culprits[0].name) == ("unused-output", who)
    assert "gives the name another value" in found.message


def one_after_the_other(m, x):
    out = m.one(x)
    out = m.two(out)
    return out


def a_default(m, x):
    """A layer that only some models have replaces what stands there otherwise."""
    out = m.one(x)
    if m.training:
        out = m.two(x)
    return out


def in_a_loop(m, x):
    for layer in (m.one, m.two):
        h = layer(x)
        x = x + h
    return x


def left_over(m, x):
    out = m.one(x)
    if out.shape != x.shape:
        return out
    return m.two(x)


def thrown_away_on_purpose(m, x):
    _ = m.one(x)
    _ = m.two(x)
    return x


def kept_by_another_name(m, x):
    out = kept = m.one(x)
    out = m.two(x)
    return out + kept


def read_between(m, x):
    out = m.one(x)
    total = out.mean()
    out = m.two(x)
    return out + total


def without_autograd(m, x):
    with torch.no_grad():
        out = m.one(x)
    out = m.two(x)
    return out


def in_its_own_list(m, x):
    out = m.one(x)
    parts = [out]
    out = m.two(x)
    return out + sum(parts)


def for_its_shape(m, x):
    out = m.one(x)
    size = out.shape
    out = m.two(x)
    return out.reshape(size)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "body",
    [
        *(one_after_the_other, a_default, in_a_loop, left_over, read_between),
        *(thrown_away_on_purpose, kept_by_another_name, without_autograd),
        *(in_its_own_list, for_its_shape),
    ],
)
def test_names_that_look_alike(body, sizes):
    assert alarms(traced(body, *sizes)) == []
