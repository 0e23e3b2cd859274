"""What does not go in evenly, or goes in by chance: who left a rest, took fewer than it
asked for, stretched both sides, or took nothing away."""

import pytest
import torch
from failures import Runs, failure, failure_of, first
from torch import nn
from torch.nn import functional as F


@pytest.mark.parametrize("side, part", [(14, 12), (10, 4), (9, 6)])
def test_a_view_that_cuts_a_map_with_a_rest(side, part):
    def windows(self, x):
        b, c, h, w = self.conv(x).shape
        return self.conv(x).view(b, c, h // part, part, w)

    model = Runs(windows, conv=nn.Conv2d(3, 4, 3, padding=1))
    found = failure(model, torch.rand(2, 3, side, side))
    assert first(found) == ("function", "view")
    rest = f"cuts {side} into parts of {part}, which leaves {side % part}"
    assert rest in found.culprits[0].reason


@pytest.mark.parametrize("features", [5, 7])
def test_halves_of_an_odd_number_of_features(features):
    def halves(self, x):
        a, b = self.norm(x).chunk(2, dim=1)
        return self.net(a) + b

    half = features // 2
    model = Runs(halves, norm=nn.LayerNorm(features), net=nn.Linear(half, half))
    found = failure(model, torch.rand(6, features))
    named = {one.name: one.reason for one in found.culprits}
    assert "chunk" in named or "net" in named
    if "chunk" in named:
        assert f"0:{features - half} of {features}" in named["chunk"]


def frequencies(self, x):
    modes = torch.fft.rfft(self.lift(x).mT).mT[:, :32]
    return torch.einsum("bkc,kcd->bkd", modes.real, self.weight)


@pytest.mark.parametrize("steps", [16, 40])
def test_a_slice_that_asks_for_more_than_there_is(steps):
    model = Runs(frequencies, lift=nn.Linear(2, 6))
    model.weight = nn.Parameter(torch.randn(32, 6, 6))
    found = failure(model, torch.rand(3, steps, 2))
    assert "getitem" in [one.name for one in found.culprits]
    told = next(one.reason for one in found.culprits if one.name == "getitem")
    assert f":32 of {steps // 2 + 1}" in told


def masked(self, states, rewards, final):
    best = self.q(states).max(1)[0]
    wanted = rewards + 0.9 * best
    wanted[final] = rewards[final].squeeze(1)
    return wanted


@pytest.mark.parametrize("batch", [6, 30])
def test_a_column_plus_a_row_that_fails_later(batch):
    model = Runs(masked, q=nn.Linear(4, 3))
    final = torch.zeros(batch, dtype=torch.bool)
    final[:2] = True
    found = failure(model, torch.rand(batch, 4), torch.rand(batch, 1), final)
    assert first(found) == ("function", "add")
    assert f"stretches both ({batch}, 1) and ({batch},)" in found.culprits[0].reason


def test_a_squeeze_of_another_dimension_before_a_mask():
    model = Runs(
        lambda self, x, seen: self.conv(x).squeeze(dim=0)[seen],
        conv=nn.Conv2d(3, 1, 3, padding=1),
    )
    found = failure(
        model, torch.rand(4, 3, 8, 8), torch.ones(4, 8, 8, dtype=torch.bool)
    )
    assert first(found) == ("function", "squeeze")
    told = found.culprits[0].reason
    assert "it takes nothing away: that dimension is 4, not 1" in told


def history(self, x):
    seen, state = x.unsqueeze(1), self.project(x)
    for _ in range(2):
        seen = torch.cat([seen, state.unsqueeze(1)], dim=1)
    return seen


def test_what_is_joined_along_a_dimension_of_its_own_is_joined_along_no_other():
    found = failure(Runs(history, project=nn.Linear(16, 4)), torch.rand(5, 16))
    assert not any(
        "dim=2" in fix.line or "dim=-1" in fix.line for fix in found.fixes[:1]
    )
    assert found.culprits[0].probability < 0.9


def outputs_one_by_one(model, images, masks):
    outputs = model(images)
    loss = 0
    for output in outputs:
        loss = loss + F.binary_cross_entropy_with_logits(output, masks)
    return loss


@pytest.mark.parametrize("batch", [4, 8])
def test_a_loop_over_the_batch_where_a_list_of_outputs_was_meant(batch):
    model = nn.Conv2d(3, 1, 3, padding=1)
    images, masks = torch.rand(batch, 3, 8, 8), torch.rand(batch, 1, 8, 8)
    found = failure_of(model, lambda: outputs_one_by_one(model, images, masks))
    assert first(found) == ("function", "unbind")
    assert found.fixes[0].line == "for output in [outputs]:"


def patches(scale, size):
    small = torch.rand(3, 30, 30)
    large = F.interpolate(small[None], scale_factor=scale)[0]
    top = 2
    side = size // scale
    low = small[:, top : top + side, top : top + side]
    top = top * scale
    return low[None], large[:, top : top + size, top : top + size][None]


def test_a_patch_whose_size_the_scale_does_not_divide():
    model = nn.Sequential(nn.Upsample(scale_factor=3), nn.Conv2d(3, 3, 3, padding=1))

    def step():
        low, high = patches(3, 32)
        return F.l1_loss(model(low), high)

    found = failure_of(model, step)
    named = [(one.kind, one.name) for one in found.culprits]
    assert {("function", "getitem")} & set(named) or "target" in {k for k, _ in named}
