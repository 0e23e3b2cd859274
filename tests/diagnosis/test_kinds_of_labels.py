"""What labels are, and what a loss is given rows of."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from failures import considered, failure_of, first
from torch import nn


def names(scored, kind, form=""):
    return {
        fact.name
        for one in scored
        if one.hypothesis.site.kind == kind
        and one.hypothesis.form in (form, form or one.hypothesis.form)
        for fact in one.facts
    }


def dice(scores, labels):
    meet = (scores.softmax(1) * labels).sum((2, 3))
    return 1 - (2 * meet / (scores.softmax(1) + labels).sum((2, 3))).mean()


@pytest.mark.parametrize(
    ("labels", "loss"),
    [
        (torch.rand(2, 3, 8, 8), dice),
        (torch.rand(2, 4, 8, 8), F.mse_loss),
        (torch.rand(2, 8, 8, 3), F.binary_cross_entropy_with_logits),
    ],
)
def test_labels_with_the_channels_of_a_picture(labels, loss):
    model = nn.Conv2d(3, 9, 1)
    scored = considered(model, lambda: loss(model(torch.rand(2, 3, 8, 8)), labels))
    assert "labels are a picture" in names(scored, "target") | names(scored, "input")


def test_planes_for_other_classes_are_no_picture():
    model = nn.Conv2d(3, 9, 1)
    labels = torch.rand(2, 7, 8, 8)
    scored = considered(
        model, lambda: F.mse_loss(model(torch.rand(2, 3, 8, 8)), labels)
    )
    assert "labels are a picture" not in names(scored, "target")


def test_classes_put_together_of_two_dimensions_are_no_verified_fix():
    """A label for each sequence, scores for each of its tokens."""
    model, labels = nn.Linear(6, 9), torch.randint(0, 9, (2,))

    def step():
        scores = model(torch.rand(2, 7, 6))
        F.cross_entropy(scores.view(-1, 9), labels)

    joined = [
        fix for fix in failure_of(model, step).fixes if "size(0), -1)" in fix.line
    ]
    assert joined and all(fix.status == "untried" for fix in joined)


class Squeeze(nn.Module):
    """A gate of the channels, built with the rate of the first block in all of them."""

    def __init__(self, channels, rate):
        super().__init__()
        narrow = channels // rate
        self.down = nn.Linear(channels, narrow)
        self.up = nn.Linear(rate, channels)

    def forward(self, x):
        return x * self.up(self.down(x).relu()).sigmoid()


def test_layers_of_several_widths_that_get_one_are_no_verified_fix():
    blocks = [Squeeze(16, 4), nn.Linear(16, 32), Squeeze(32, 4)]
    model = nn.Sequential(*blocks, nn.Linear(32, 64), Squeeze(64, 4))
    found = failure_of(model, lambda: model(torch.rand(5, 16)))
    alike = [fix for fix in found.fixes if "nn.Linear(channels, rate)" in fix.line]
    assert alike and all(fix.status == "untried" for fix in alike)


def test_a_layer_that_was_built_right_is_not_built_again():
    """Its weight was put in the place of its own."""
    last = nn.Linear(24, 3)
    model = nn.Sequential(nn.Linear(6, 24), last)
    last.weight = nn.Parameter(torch.rand(3, 8))
    found = failure_of(model, lambda: model(torch.rand(5, 6)))
    assert first(found) == ("module", "1")
    assert not [fix for fix in found.fixes if fix.line.startswith("last = ")]


def test_a_part_of_one_dimension_joined_with_another_is_no_verified_fix():
    """Queries with the steps before the heads, where keys have them behind."""
    queries, keys = nn.Linear(32, 32), nn.Linear(32, 16)

    def step():
        x = torch.rand(4, 8, 32)
        q = queries(x).view(4, 8, 8, 4)
        k = keys(x).view(4, 8, 4, 4).transpose(1, 2)
        k = k.repeat_interleave(2, dim=2)
        return F.scaled_dot_product_attention(q, k, k)

    model = nn.ModuleList([queries, keys])
    fixes = [fix for fix in failure_of(model, step).fixes if ".reshape(" in fix.line]
    assert all(fix.status != "verified" for fix in fixes)


def test_the_order_of_data_is_not_the_making_of_who_takes_a_part_of_it():
    conv, data = nn.Conv1d(20, 8, 3), torch.rand(16, 10, 21)

    def step():
        features = data[:, :, :-1]
        return conv(features.relu())

    sites = {
        (one.hypothesis.site.kind, one.hypothesis.line)
        for one in considered(conv, step)
        if one.hypothesis.line.startswith("features = data[:, :, :-1].transpose")
    }
    assert {kind for kind, _ in sites} == {"input"}
