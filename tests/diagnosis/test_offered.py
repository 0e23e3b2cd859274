"""Fixes that fit and that nobody means are not offered, or not called verified."""

import pytest
import torch
import torch.nn.functional as F
from failures import considered, failure_of
from torch import nn

import shapetrace
from shapetrace.diagnosis.consider import consider
from shapetrace.diagnosis.explain import fixes, mismatch_of
from shapetrace.diagnosis.rank import Suspect
from shapetrace.lineage import Graph


def alone(t, words):
    """The fixes that there would be if only those with such a line had been thought
    of."""
    graph = Graph(t.recording)
    case, found, _ = consider(graph, mismatch_of(graph))
    entries = tuple(one for one in found if words in one.hypothesis.line)
    assert entries, [one.hypothesis.line for one in found]
    return fixes(case, [Suspect(entries[0].hypothesis.site, entries, 1.0)])


def test_a_view_that_cuts_across_dimensions_is_not_offered():
    model = nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 50))
    x, y = torch.randint(0, 50, (1, 10)), torch.randint(0, 40, (1, 4))
    with pytest.raises(ValueError):
        with shapetrace.trace(model) as t:
            F.cross_entropy(model(x).view(-1, 50), y.view(-1))
    assert alone(t, "view(-1, 125)") == ()  # 10·50 taken as 4·125
    assert t.failure.fixes


def test_samples_repeated_to_fit_a_state_are_not_verified():
    gru, state = nn.GRU(8, 32, batch_first=True), torch.zeros(1, 8, 32)
    with pytest.raises(RuntimeError):
        with shapetrace.trace(gru) as t:
            gru(torch.randn(4, 7, 8), state)
    (fix,) = alone(t, "repeat_interleave")
    assert (fix.status, fix.loses) == ("untried", "which samples belong together")
    assert "as the other side was" not in fix.detail


def test_a_norm_and_the_layer_before_it_may_each_be_made_to_fit():
    model = nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(64), nn.ReLU())
    found = failure_of(model, lambda: model(torch.randn(4, 10, 16)))
    told = {fix.line.split(", nn.ReLU")[0]: fix.status for fix in found.fixes[:2]}
    assert told == {
        "model = nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32)": "verified",
        "model = nn.Sequential(nn.Linear(16, 64), nn.LayerNorm(64)": "verified",
    }


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads, self.split = 4, nn.Linear(5, 20)

    def forward(self, x, region):
        query = self.split(x).view(2, 256, self.heads, 5).transpose(1, 2)
        ratio = (region.numel() / query.shape[1]) ** 0.5  # shape[2] was meant
        mask = F.interpolate(region[None, None], scale_factor=1 / ratio)
        return x * mask.reshape(1, -1, 1)


def test_maps_are_not_squeezed_to_be_resized_along_one_dimension():
    model = Masked()
    with pytest.raises(RuntimeError):
        with shapetrace.trace(model) as t:
            model(torch.randn(2, 256, 5), torch.ones(128, 128))
    lines = [fix.line for fix in t.failure.fixes]
    assert not any("[None, None]." in line for line in lines), lines


def test_a_fix_of_two_arguments_says_both():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(8, 16))
    fix = failure_of(model, lambda: model(torch.randn(4, 8))).fixes[0]
    assert "nn.Linear(16, 8)" in fix.line
    assert fix.detail == "in_features=16 instead of 8, out_features=8 instead of 16"


def test_what_is_added_to_is_not_edited_in_the_place_of_what_is_added():
    attend = nn.Linear(6, 6)

    def step():
        bias = torch.zeros(2, 5)
        bias += attend(torch.rand(8, 6))[:, :5]
        return bias

    lines = [one.hypothesis.line for one in considered(attend, step)]
    assert not any("repeat_interleave(4" in line for line in lines)
