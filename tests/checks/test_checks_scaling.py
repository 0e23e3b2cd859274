"""Scores of attention, scaled the wrong way, and factors that are meant."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace
from tests.checks.test_checks_fixes import run

#: as many samples as steps; heads of 9 features, whose square root is 3
X = torch.randn(6, 6, 18)


class Attention(nn.Module):
    """Two heads of nine features, and what `scores` makes of queries and keys."""

    def __init__(self, scores):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(18, 18) for _ in range(4))
        self.norm, self.temperature = nn.LayerNorm(9), nn.Parameter(torch.ones(1))
        self.scores, self.scale = scores, 9**-0.5

    def split(self, x):
        return x.view(6, 6, 2, 9).transpose(1, 2)

    def forward(self, x):
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        weights = self.scores(self, q, k).softmax(-1)
        return self.o((weights @ v).transpose(1, 2).reshape(6, 6, 18))


def found(scores):
    torch.manual_seed(0)
    model = Attention(scores)
    with shapetrace.trace(model) as t:
        F.mse_loss(model(X), X).backward()
    return [one for one in t.findings if one.severity != "note"]


def masked(scores):
    return scores.masked_fill(torch.ones(6, 6).triu(1) > 0, float("-inf"))


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


MEANT = {
    "the inverse root": lambda m, q, k: q @ k.mT * m.scale,
    "by the root": lambda m, q, k: q @ k.mT / 9**0.5,
    "of the queries": lambda m, q, k: (q * m.scale) @ k.mT,
    "both by a fourth root": lambda m, q, k: (q * 9**-0.25) @ (k * 9**-0.25).mT,
    "none": lambda m, q, k: q @ k.mT,
    "the width of the model": lambda m, q, k: q @ k.mT / math.sqrt(18),
    "by the size": lambda m, q, k: q @ k.mT / 9,
    "a temperature": lambda m, q, k: q @ k.mT / 0.5,
    "a learned one": lambda m, q, k: q @ k.mT * 3.0 * m.temperature,
    "of unit length": lambda m, q, k: F.normalize(q, dim=-1)
    @ F.normalize(k, dim=-1).mT
    * 3.0,
    "of unit length by hand": lambda m, q, k: unit(q) @ unit(k).mT * 3.0,
    "of normalised queries": lambda m, q, k: m.norm(q) @ m.norm(k).mT * 3.0,
    "capped": lambda m, q, k: 3.0 * torch.tanh(q @ k.mT * m.scale),
    "masked": lambda m, q, k: masked(q @ k.mT * m.scale),
    "by einsum": lambda m, q, k: torch.einsum("bhid,bhjd->bhij", q, k) * m.scale,
}


@pytest.mark.parametrize("name", MEANT)
def test_a_factor_that_is_meant(name):
    assert found(MEANT[name]) == []


def test_logits_of_a_contrastive_loss_are_no_scores():
    a, b = nn.Linear(8, 9), nn.Linear(8, 9)
    x = torch.randn(9, 8)
    with shapetrace.trace(a, b) as t:
        logits = a(x) @ b(x).T * 3.0
        (logits.softmax(1).diagonal().log().mean()).backward()
    assert [one.code for one in t.findings if one.code == "attention-scale"] == []


MISTAKES = {
    "divided by the inverse": (lambda m, q, k: q @ k.mT / m.scale, "div"),
    "multiplied by the root": (lambda m, q, k: q @ k.mT * math.sqrt(9), "mul"),
    "of the queries": (lambda m, q, k: (q / m.scale) @ k.mT, "div"),
    "before a mask": (lambda m, q, k: masked(q @ k.mT / m.scale), "div"),
    "by einsum": (
        lambda m, q, k: torch.einsum("bhid,bhjd->bhij", q, k) / m.scale,
        "div",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_scaled_the_wrong_way(name):
    scores, culprit = MISTAKES[name]
    with pytest.warns(shapetrace.ShapeTraceWarning, match="by 3, .* 9 features"):
        (one,) = found(scores)
    assert one.code == "attention-scale"
    assert one.culprits[0].name == culprit


CODE = """
import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(6, 16) for _ in range(3))

    def forward(self, x):
        q, k, v = self.q(x), self.k(x), self.v(x)
        return ({scores}).softmax(-1) @ v


def step(model):
    return F.mse_loss(model(torch.randn(5, 7, 6)), torch.randn(5, 7, 16))
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("scores", "mended"),
    [
        ("q @ k.mT / 16**-0.5", "q @ k.mT * (16**-0.5)"),
        ("q @ k.mT * 16**0.5", "q @ k.mT / (16**0.5)"),
        ("(q @ k.mT + 1) / 0.25", "(q @ k.mT + 1) * 0.25"),
    ],
)
def test_the_line_that_mends_it(scores, mended, tmp_path):
    path, again = tmp_path / "program.py", tmp_path / "pasted.py"
    path.write_text(CODE.format(scores=scores))
    (one,) = run(path)
    assert [fix.line for fix in one.fixes] == [f"return ({mended}).softmax(-1) @ v"]
    again.write_text(CODE.format(scores=mended))
    assert run(again) == []
