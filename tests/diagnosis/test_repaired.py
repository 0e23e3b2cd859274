"""What a repaired program would do with its dimensions: a fix that fits and takes
samples for features is none."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from failures import failure_of, first
from torch import nn


class Pairs(nn.Module):
    """Each step's state against the embedding of what came next."""

    def __init__(self, steps, width):
        super().__init__()
        self.items = nn.Embedding(30, width)
        self.layer = nn.Linear(width, width)
        self.labels = torch.ones(steps)

    def forward(self, x):
        items = self.items(x)
        states = self.layer(items)
        states = states.reshape(-1, states.shape[2])
        items = items.reshape(-1, items.shape[2])
        score = torch.sum(states * items, dim=1)
        return F.binary_cross_entropy(torch.sigmoid(score), self.labels)


@pytest.mark.parametrize("steps, width", [(8, 8), (6, 6)])
def test_samples_that_are_added_up_are_not_verified(steps, width):
    model = Pairs(steps, width)
    x = torch.randint(0, 30, (4, steps))
    found = failure_of(model, lambda: model(x))
    added = [fix for fix in found.fixes if "dim=0" in fix.line]
    assert added and all(fix.status == "untried" for fix in added)


def test_steps_joined_with_the_classes_are_not_verified_wherever_they_are_joined():
    model = nn.Linear(16, 48)
    x, y = torch.randn(6, 2, 16), torch.randint(0, 48, (6, 2))

    def step():
        target = y.flatten().chunk(2)[0]
        logits = F.linear(x, model.weight)
        return F.cross_entropy(logits.flatten(0, -2).float(), target)

    found = failure_of(model, step)
    joined = [fix for fix in found.fixes if "flatten(1)" in fix.line]
    assert joined and all(fix.status == "untried" for fix in joined)


@pytest.mark.parametrize("classes, asked", [(5, 4), (6, 8), (9, 3)])
def test_a_view_that_cuts_rows_of_classes_anew_is_the_culprit(classes, asked):
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(12, classes)

        def forward(self, x, y):
            scores = self.head(x)
            return F.cross_entropy(scores.view(-1, asked), y.view(-1))

    model = Tagger()
    x, y = torch.randn(4, 20, 12), torch.randint(0, 3, (4, 20))
    found = failure_of(model, lambda: model(x, y))
    assert first(found) == ("function", "view")
    assert f"view(-1, {classes})" in found.fixes[0].line


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x, memory, mask):
        batch, length, _ = mask.shape
        told = mask.reshape(batch, 1, length, length)
        scores = self.query(x) @ self.key(memory).transpose(1, 2)
        return scores[:, None].masked_fill(told == 0, -1e9)


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.own, self.cross = Attention(), Attention()

    def forward(self, x, memory, keep):
        b, n, s = len(x), x.shape[1], memory.shape[1]
        self.own(memory, memory, keep[:, None].expand(b, s, s))
        return self.cross(x, memory, keep[:, None].expand(b, n, s))


def test_a_size_of_the_tensor_itself_is_another_in_each_call_of_the_line():
    masked = Masked()
    x, memory = torch.randn(3, 6, 8), torch.randn(3, 9, 8)
    found = failure_of(masked, lambda: masked(x, memory, torch.ones(3, 9)))
    assert first(found) == ("function", "reshape")
    assert "mask.shape[2]" in found.fixes[0].line
    assert found.fixes[0].status == "verified"


@pytest.mark.parametrize("rows, steps, static", [(5, 7, 4), (4, 4, 4)])
def test_what_a_sample_has_once_is_joined_with_each_of_its_steps(rows, steps, static):
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3 + static, 1)

        def forward(self, series, fixed):
            return self.head(torch.cat((series, fixed), dim=2))

    model = Joined()
    series, fixed = torch.randn(rows, steps, 3), torch.randn(rows, static)
    found = failure_of(model, lambda: model(series, fixed))
    assert found.fixes[0].status == "verified"
    assert "fixed.unsqueeze(1).expand(-1, " in found.fixes[0].line


def test_samples_that_are_averaged_against_numbers_of_nobody_are_not_verified():
    model, x = nn.Linear(8, 6), torch.randn(4, 8)

    def step():
        scores = model(x)
        return F.mse_loss(scores.sum(dim=1), torch.arange(6).float())

    found = failure_of(model, step)
    (fix,) = [fix for fix in found.fixes if "dim=0" in fix.line]
    assert fix.status == "untried"
