"""Normalised over the wrong dimension, masks, reductions, lost work: shown and not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace


def findings(program, *args):
    torch.manual_seed(0)
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace() as t:
            program(*args)
    return [(found.code, found.culprits[0].name) for found in t.findings]


def silent(program, *args):
    torch.manual_seed(0)
    with shapetrace.trace() as t:
        program(*args)
    return [(found.code, found.message) for found in t.findings] == []


def pair(size=8, batch=8):
    encoder = nn.Linear(size, 8)
    x = torch.randn(batch, size)
    return encoder(x), encoder(x + 0.1)


# -- normalised-dim ------------------------------------------------------------------

COMPARED = {
    "product": lambda a, b, d: F.normalize(a, dim=d) @ F.normalize(b, dim=d).T,
    "einsum": lambda a, b, d: torch.einsum(
        "nd,md->nm", F.normalize(a, dim=d), F.normalize(b, dim=d)
    ),
    "sum": lambda a, b, d: (F.normalize(a, dim=d) * F.normalize(b, dim=d)).sum(1),
    "entropy": lambda a, b, d: (a.softmax(1).detach() * b.log_softmax(d)).sum(-1),
    "cosine": lambda a, b, d: F.cosine_similarity(a, b, dim=d),
}


@pytest.mark.parametrize("batch", [5, 8])
@pytest.mark.parametrize("name", COMPARED)
def test_what_is_normalised_over_the_batch_and_compared_over_features(name, batch):
    def program(dim):
        COMPARED[name](*pair(batch=batch), dim).mean().backward()

    codes = {code for code, _ in findings(program, 0)}
    assert codes <= {"normalised-dim", "softmax-over-batch"} and codes
    assert silent(program, 1)


def test_the_default_dimension_of_normalize_is_the_time():
    def program(**dim):
        z = F.normalize(nn.Linear(8, 8)(torch.randn(8, 8, 8)), **dim)
        (z @ z.mT).mean().backward()

    assert findings(program) == [("normalised-dim", "normalize")]
    assert silent(lambda: program(dim=2))


def barlow(one, two):
    c = F.normalize(one - one.mean(0), dim=0).T @ F.normalize(two - two.mean(0), dim=0)
    (c - torch.eye(8)).pow(2).sum().backward()


def columns(one, two):
    weight = nn.Parameter(torch.randn(8, 4))
    F.cross_entropy(one @ F.normalize(weight, dim=0), torch.arange(8) % 4).backward()


def marginal(one, two):
    p = one.softmax(1).mean(0)
    (p * p.log()).sum().backward()


def both_directions(one, two):
    scores = F.normalize(one, dim=1) @ F.normalize(two, dim=1).T
    loss = scores.log_softmax(1).diag().mean() + scores.log_softmax(0).diag().mean()
    (-loss).backward()


def mean_first(one, two):
    (two.softmax(1).detach() * one.log_softmax(1)).mean(0).sum().neg().backward()


def channels(one, two):
    maps = nn.Conv2d(8, 8, 1)(torch.randn(8, 8, 8, 8))
    F.normalize(maps).pow(2).sum((1, 2, 3)).mean().backward()


def pooled(one, two):
    hidden = nn.Linear(8, 8)(torch.randn(8, 8, 8))
    weights = nn.Linear(8, 1)(hidden).softmax(1)
    F.cross_entropy((weights * hidden).sum(1), torch.arange(8)).backward()


def energies(one, two):
    F.normalize(one, dim=0).pow(2).mean(1).sum().backward()


def of_raw_data(one, two):
    x = F.normalize(torch.randn(8, 8), dim=0)
    F.mse_loss(nn.Linear(8, 8)(x), torch.randn(8, 8)).backward()


def listwise(one, two):
    scores = nn.Linear(8, 1)(torch.randn(8, 8, 8)).squeeze(-1)
    (-(torch.rand(8, 8) * scores.log_softmax(1)).sum(1)).mean().backward()


def profile(one, two):
    F.cosine_similarity(torch.randn(8, 8), torch.randn(8, 8), dim=0).mean()


@pytest.mark.parametrize(
    "program",
    [barlow, columns, marginal, both_directions, mean_first, channels, pooled]
    + [energies, of_raw_data, listwise, profile],
)
def test_normalised_and_used_as_it_is_meant(program):
    assert silent(program, *pair())


# -- masks ---------------------------------------------------------------------------


def attend(mask, fill=True, size=8):
    q, k, v = (nn.Linear(size, size) for _ in range(3))
    x = torch.randn(size, size, size)
    scores = q(x) @ k(x).mT / size**0.5
    scores = scores.masked_fill(mask, -1e9) if fill else scores + mask.float() * -1e9
    (scores.softmax(-1) @ v(x)).mean().backward()


PAD = torch.arange(8) >= torch.tensor([8, 7, 6, 5, 4, 3, 2, 1])[:, None]


@pytest.mark.parametrize("fill", [True, False])
def test_a_mask_of_queries_where_keys_were_meant(fill):
    found = findings(attend, PAD[:, :, None], fill)
    assert [code for code, _ in found] == ["mask-without-effect"]
    assert silent(attend, PAD[:, None, :], fill)


@pytest.mark.parametrize("size", [(1, 1, 8), (8, 1, 8), (8, 8), (8, 8, 8)])
def test_masks_that_hide_keys(size):
    assert silent(attend, torch.rand(size) > 2)


def test_a_mask_of_queries_beside_one_of_keys():
    assert silent(attend, PAD[:, None, :] | PAD[:, :, None])


def test_what_is_no_attention_may_be_masked_by_rows():
    def program():
        logits = nn.Linear(8, 4)(torch.randn(8, 8))
        logits = logits.masked_fill(torch.rand(8, 1) > 0.5, 0)
        (logits.log_softmax(1) * torch.rand(8, 4)).sum(1).mean().backward()

    assert silent(program)


def test_the_maximum_is_taken_off_for_stability():
    def program():
        x = nn.Linear(8, 8)(torch.randn(8, 8, 8))
        scores = x @ x.mT
        scores = scores - scores.amax(-1, keepdim=True)
        (scores.softmax(-1) @ x).mean().backward()

    assert silent(program)


def test_scaled_dot_product_attention_with_a_mask_of_queries():
    def program(mask):
        x = nn.Linear(8, 8)(torch.randn(8, 8, 8))
        F.scaled_dot_product_attention(x, x, x, attn_mask=mask).mean().backward()

    codes = findings(program, ~PAD[:, :, None])
    assert [code for code, _ in codes] == ["mask-without-effect"]
    assert silent(program, ~PAD[:, None, :])


# -- reductions ----------------------------------------------------------------------


def weighted(reduction, weight):
    logits, y = nn.Linear(8, 4)(torch.randn(8, 8)), torch.arange(8) % 4
    (F.cross_entropy(logits, y, reduction=reduction) * weight).mean().backward()


def focal(reduction):
    logits, y = nn.Linear(8, 4)(torch.randn(8, 8)), torch.arange(8) % 4
    loss = F.cross_entropy(logits, y, reduction=reduction)
    ((1 - torch.exp(-loss)) ** 2 * loss).mean().backward()


def test_weights_of_samples_on_the_mean_of_the_batch():
    assert findings(lambda: weighted("mean", torch.rand(8)))[0] == (
        "reduced-too-early",
        "cross_entropy",
    )
    assert silent(lambda: weighted("none", torch.rand(8)))


def test_a_focal_weight_of_the_mean_of_the_batch():
    assert findings(focal, "mean") == [("reduced-too-early", "cross_entropy")]
    assert silent(focal, "none")


@pytest.mark.parametrize(
    "weight", [0.5, torch.tensor(0.5), torch.rand(1), torch.rand(3)]
)
def test_weights_of_the_whole_loss(weight):
    assert silent(lambda: weighted("mean", weight))


@pytest.mark.parametrize(
    "change",
    [torch.sqrt, torch.exp, lambda loss: loss**2, lambda loss: (loss - 0.1).abs()]
    + [lambda loss: loss.mean(), lambda loss: torch.exp(-loss) + loss],
)
def test_functions_of_the_whole_loss(change):
    def program():
        change(F.mse_loss(nn.Linear(8, 8)(torch.randn(8, 8)), torch.rand(8, 8)))

    assert silent(program)


def test_a_learned_uncertainty_weighs_whole_losses():
    def program():
        s = nn.Parameter(torch.zeros(8))
        loss = F.mse_loss(nn.Linear(8, 8)(torch.randn(8, 8)), torch.rand(8, 8))
        (torch.exp(-s) * loss + s).sum().backward()

    assert silent(program)


# -- work that is thrown away --------------------------------------------------------


class Stack(nn.Module):
    def __init__(self, chained):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.chained = chained

    def forward(self, x):
        for layer in self.layers:
            out = layer(x)
            x = out if self.chained else x
        return out


def test_a_loop_whose_layers_all_take_the_first_input():
    def program(chained):
        Stack(chained)(torch.randn(8, 8)).mean().backward()

    assert findings(program, False) == [("unused-output", "Stack.layers.1")]
    assert silent(program, True)


class Residual(nn.Module):
    """Layers by name, and what is done to each before the next."""

    def __init__(self, chained, width=8):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(8, width, 1), nn.Conv1d(8, 8, 1)
        self.chained = chained

    def forward(self, x):
        out = F.relu(self.conv1(x)) + 1
        return self.conv2(out if self.chained else x) + x


def test_a_chain_by_name_whose_second_layer_takes_the_first_input():
    def program(chained, width=8):
        Residual(chained, width)(torch.randn(8, 8, 8)).mean().backward()

    assert findings(program, False) == [("unused-output", "Residual.conv1")]
    assert silent(program, True)


def test_a_part_that_the_other_could_not_follow():
    def program():
        Residual(False, 3)(torch.randn(8, 8, 8)).mean().backward()

    assert silent(program)


def test_parts_of_a_list_that_are_all_used():
    def program():
        heads, x = Stack(True).layers, torch.randn(8, 8)
        sum(head(x) for head in heads).mean().backward()

    assert silent(program)


# -- attributes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer, name",
    [(nn.Linear(8, 8), "out_features"), (nn.Linear(8, 8), "in_features")]
    + [(nn.Conv2d(8, 8, 1), "out_channels"), (nn.Conv2d(8, 8, 1), "in_channels")],
)
def test_an_attribute_that_was_changed_alone(layer, name):
    def program(size):
        setattr(layer, name, size)
        layer(torch.randn(1, 8, 8, 8)).mean().backward()

    assert findings(program, 5) == [("attribute-mismatch", type(layer).__name__)]
    assert silent(program, 8)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_a_projected_lstm_is_as_wide_as_it_says():
    """Its weights for what it hands itself are `proj_size` wide, not `hidden_size`."""

    def program(projected):
        lstm = nn.LSTM(4, 6, 2, bidirectional=True, proj_size=projected)
        lstm(torch.randn(5, 3, 4))[0].mean().backward()

    assert silent(program, 0)
    assert silent(program, 3)


def test_a_length_by_hand_over_the_tokens():
    def program(dim):
        z, classes = nn.Linear(8, 8)(torch.randn(8, 8, 8)), nn.Linear(8, 8)
        z = z / z.norm(dim=dim, keepdim=True).clamp(min=1e-6)
        (z @ classes(torch.randn(8, 8)).T).mean().backward()

    assert findings(program, 1) == [("normalised-dim", "norm")]
    assert silent(program, 2)


def test_normalize_is_left_to_take_the_tokens():
    def program(*options):
        tokens = F.normalize(nn.Linear(8, 8)(torch.randn(8, 8, 8)), *options)
        nn.TransformerEncoderLayer(8, 2, 8)(tokens).mean().backward()

    assert findings(program) == [("normalised-dim", "normalize")]
    assert silent(program, 2, 2)


def test_channels_that_are_compared_over_the_tokens():
    def program():
        q, k = (F.normalize(nn.Linear(8, 8)(torch.randn(8, 8, 8))) for _ in "qk")
        weights = (q.mT @ k).softmax(-1)
        (torch.randn(8, 8, 8) @ weights).mean().backward()

    assert silent(program)
