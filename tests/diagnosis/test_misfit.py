"""One wrong setting of a window, one wrong part of a join, a batch in the wrong place:
the sizes tell which layer it is."""

import pytest
import torch
from failures import failure
from torch import nn


def said(model, *inputs):
    """The names of the culprits, the likeliest first."""
    found = failure(model, *inputs).culprits
    return [c.name if c.kind == "module" else c.kind for c in found]


def convolutions(**second):
    settings = {"kernel_size": 3, "padding": 1, **second}
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, **settings),
        nn.AdaptiveAvgPool2d((None, None)),
        nn.Flatten(),
        nn.Linear(8 * 12 * 12, 5),
    )


@pytest.mark.parametrize("odd", [{"kernel_size": 5}, {"padding": 0}, {"stride": 2}])
def test_a_window_unlike_the_other_before_a_flatten_is_named(odd):
    assert said(convolutions(**odd), torch.randn(2, 3, 12, 12))[0] == "2"


def test_images_of_another_size_leave_like_windows_alone():
    found = said(convolutions(), torch.randn(2, 3, 10, 10))
    assert found[:2] == ["5", "input"]


class Patches(nn.Module):
    def __init__(self, kernel=8, stride=8):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, kernel, stride)
        self.positions = nn.Parameter(torch.zeros(1, 17, 16))
        self.first = nn.Parameter(torch.zeros(1, 1, 16))

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], 1)
        return x + self.positions


@pytest.mark.parametrize("kernel, stride", [(8, 4), (10, 8)])
def test_patches_that_overlap_are_named_before_the_table_of_positions(kernel, stride):
    assert said(Patches(kernel, stride), torch.randn(2, 3, 32, 32))[0] == "patches"


def test_other_images_are_not_laid_on_patches_that_do_not_overlap():
    assert "patches" not in said(Patches(), torch.randn(2, 3, 40, 40))[:1]


@pytest.mark.parametrize("pooled, taken", [(1, 72), (3, 8)])
def test_a_pooling_to_another_size_than_the_layer_behind_it_takes(pooled, taken):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(pooled), nn.Flatten()
    )
    model.append(nn.Linear(taken, 4))
    culprit = failure(model, torch.randn(2, 3, 12, 12)).culprits[0]
    assert culprit.name == "1"
    assert f"output_size={pooled}" in culprit.reason


class Growing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm1d(16 + 8 * i), nn.Linear(16 + 8 * i, 8))
            for i in range(4)
        )

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


@pytest.mark.parametrize("at", [1, 2])
def test_of_joined_parts_the_one_unlike_its_like_is_named(at):
    model = Growing()
    model.layers[at][1] = nn.Linear(16 + 8 * at, 12)
    assert said(nn.Sequential(model), torch.randn(4, 16))[0] == f"0.layers.{at}.1"


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(6, 5)
        self.lin = nn.Linear(6, 5)

    def forward(self, steps, single):
        return torch.cat([self.rnn(steps)[1][0], self.lin(single)], 1)


def test_steps_taken_for_the_batch_are_the_recurrent_layers():
    found = failure(Towers(), torch.randn(3, 7, 6), torch.randn(3, 6))
    assert found.culprits[0].name == "rnn"
    assert "batch_first=False" in found.culprits[0].reason


class Keyed(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict({"0": nn.Linear(4, 6), "1": nn.Linear(5, 2)})

    def forward(self, x):
        return self.parts["1"](self.parts["0"](x))


def test_an_entry_of_a_module_dict_is_mended_where_it_is_built():
    found = failure(Keyed(), torch.randn(3, 4)).fixes
    lines = [fix.line for fix in found if "Lazy" not in fix.line]
    entries = '"0": nn.Linear(4, 6), "1": nn.Linear(6, 2)'
    assert lines[0] == f"self.parts = nn.ModuleDict({{{entries}}})"


@pytest.mark.parametrize("start", [0, 2])
def test_a_flatten_from_the_wrong_dimension_is_named_and_the_layer_left_alone(start):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(2))
    model.append(nn.Flatten(start)).append(nn.Linear(32, 4))
    found = failure(model, torch.randn(2, 3, 12, 12))
    assert found.culprits[0].name == "2"
    assert not [fix for fix in found.fixes if "nn.Linear(" in fix.line]


def test_images_with_their_channels_last_are_no_reason_to_rebuild_a_layer():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    found = failure(model, torch.randn(2, 16, 16, 3))
    assert found.culprits[0].kind == "input"
    assert found.fixes and not [fix for fix in found.fixes if "Conv2d" in fix.line]


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.start = nn.Linear(5, 12)
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(3))
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        x = self.start(x)
        for norm in self.norms:
            x = x + norm(x)
        return self.out(x)


def test_a_norm_made_to_fit_is_not_verified_while_all_behind_it_want_the_old_width():
    found = failure(nn.Sequential(Normed()), torch.randn(4, 5))
    assert found.culprits[0].name == "0.start"
    status = {fix.line: fix.status for fix in found.fixes if "LayerNorm" in fix.line}
    assert "verified" not in status.values()


class Short(nn.Module):
    """Two ways of which one has a stride and no padding, as it is usual."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.short = nn.Conv2d(8, 8, 1, stride=2)
        self.long = nn.Conv2d(8, 8, 3, stride=2, padding=2)

    def forward(self, x):
        x = self.stem(x)
        return self.short(x) + self.long(x)


def test_a_padding_that_fits_another_kernel_is_none_to_go_by():
    assert said(nn.Sequential(Short()), torch.randn(2, 3, 32, 32))[0] == "0.long"
