"""What labels are, and what a loss is given rows of."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from failures import considered
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


def test_a_wider_layer_gives_no_more_samples():
    model = nn.Linear(6, 8)
    labels = torch.randint(0, 2, (5 * 8,))
    scored = considered(
        model, lambda: F.cross_entropy(model(torch.rand(5, 6)).view(-1, 2), labels)
    )
    assert "gives a loss more rows" in names(scored, "module", "width")


def test_a_narrower_layer_may_give_fewer():
    model = nn.Linear(6, 8)
    labels = torch.randint(0, 2, (5,))
    scored = considered(
        model, lambda: F.cross_entropy(model(torch.rand(5, 6)).view(-1, 2), labels)
    )
    told = names(scored, "module", "width")
    assert told and "gives a loss more rows" not in told
