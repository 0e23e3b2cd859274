"""Evidence of the general kind: what becomes of samples, and how sure one can be."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from failures import failure, failure_of, first
from torch import nn


def test_nothing_is_certain_and_nothing_is_ruled_out():
    found = failure(nn.Sequential(nn.Linear(4, 8), nn.Linear(9, 2)), torch.ones(2, 4))
    assert all(0.01 <= one.probability <= 0.99 for one in found.culprits)
    assert "(100 %)" not in str(found) and "(0 %)" not in str(found)


def test_a_layer_as_wide_as_there_are_samples_is_not_the_first_fix():
    model = nn.Sequential(nn.Flatten(0), nn.Linear(12, 2))
    found = failure(model, torch.ones(5, 12))
    assert "Linear(60" not in found.fixes[0].line


def test_classes_fewer_than_the_labels_name_are_not_the_first_fix():
    model = nn.Sequential(nn.Embedding(30, 8), nn.Linear(8, 30))
    x = torch.arange(22, 30).repeat(4, 1)
    found = failure_of(model, lambda: F.cross_entropy(model(x), x))
    assert first(found) == ("module", "1")
    assert "transpose(1, 2)" in found.fixes[0].line


def test_features_dealt_out_as_more_samples_are_not_verified():
    layers = nn.Flatten(), nn.Linear(32, 8), nn.Linear(8, 2)
    model, x = nn.Sequential(*layers), torch.randn(6, 4, 16)
    found = failure_of(model, lambda: model(x))
    dealt = [fix for fix in found.fixes if "reshape" in fix.line]
    assert all(fix.status != "verified" for fix in dealt)
    assert found.fixes[0].status == "verified" and "Linear(64" in found.fixes[0].line
