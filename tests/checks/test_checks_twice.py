"""A sigmoid or a softmax of what one has made already, and what only looks like it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

SIZES = [(6, 9, 4), (5, 5, 5)]


def a_gate_of_a_gate(h):
    return torch.sigmoid(torch.sigmoid(h)) * h


def by_layers(h):
    layers = nn.Sequential(nn.Sigmoid(), nn.Sigmoid())
    return layers(h) * h


def handed_on_in_another_shape(h):
    gate = h.mean(1).sigmoid()
    return gate.unsqueeze(1).expand_as(h).contiguous().sigmoid() * h


def two_gates_joined(h):
    gates = torch.cat([h.sigmoid(), h.flip(1).sigmoid()], dim=-1)
    return gates.sigmoid().chunk(2, -1)[0] * h


def gates_of_shares(h):
    return torch.softmax(h, -1).sigmoid() * h


def drawn_shares_of_shares(h):
    return F.gumbel_softmax(torch.softmax(h, -1), dim=-1) * h


def shares_of_shares(h):
    return F.softmax(F.softmax(h, dim=2), dim=-1) * h


MISTAKES = [
    a_gate_of_a_gate,
    by_layers,
    handed_on_in_another_shape,
    two_gates_joined,
    gates_of_shares,
    shares_of_shares,
    drawn_shares_of_shares,
]


def once(h):
    return torch.sigmoid(h) * h


def both_sides_of_a_matching(h):
    return F.softmax(F.softmax(h, dim=1), dim=2) * h


def sharpened(h):
    return F.softmax(F.softmax(h, -1) / 0.07, dim=-1) * h


def sum_of_gates(h):
    return torch.sigmoid(h.sigmoid() + h.flip(1).sigmoid()) * h


def weighted_gates(h):
    return torch.sigmoid(h.sigmoid() * h) * h


def gate_of_a_layer_of_a_gate(h):
    layer = nn.Linear(h.shape[-1], h.shape[-1])
    return torch.sigmoid(layer(torch.sigmoid(h))) * h


def tanh_of_a_gate(h):
    return torch.tanh(torch.sigmoid(h)) * h


def one_gate_beside_scores(h):
    return torch.cat([h.sigmoid(), h], -1).sigmoid().chunk(2, -1)[0] * h


def shares_of_gates(h):
    return torch.softmax(torch.sigmoid(h), -1) * h


def logit_of_a_gate(h):
    return torch.sigmoid(torch.logit(torch.sigmoid(h), eps=1e-6)) * h


def attention_then_router(h):
    mixed = torch.softmax(h @ h.mT, -1) @ h
    return torch.softmax(mixed, -1) * h


def centred(h):
    return torch.sigmoid(h.sigmoid() - 0.5) * h


def shares_of_logarithms(h):
    return torch.softmax(torch.log_softmax(h, -1), -1) * h


MEANT = [
    once,
    both_sides_of_a_matching,
    sharpened,
    sum_of_gates,
    weighted_gates,
    gate_of_a_layer_of_a_gate,
    tanh_of_a_gate,
    one_gate_beside_scores,
    shares_of_gates,
    logit_of_a_gate,
    attention_then_router,
    centred,
    shares_of_logarithms,
]


def findings(step, sizes):
    batch, time, width = sizes
    model = nn.Linear(width, width)
    x = torch.randn(batch, time, width)
    with shapetrace.trace(model) as t:
        h = step(model(x))
        F.mse_loss(h, torch.zeros_like(h)).backward()
    return [one for one in t.findings if one.severity != "note"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("step", MISTAKES)
def test_an_activation_of_an_activation_is_told(step, sizes):
    (found,) = findings(step, sizes)
    assert found.code == "activation-twice"
    assert found.culprits[0].name in ("sigmoid", "softmax", "gumbel_softmax", "1")
    assert "leave one of the two out" in str(found)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("step", MEANT)
def test_what_only_looks_like_it_is_not(step, sizes):
    assert findings(step, sizes) == []
