"""Slices that are cut by the wrong size, and dimensions swapped with another."""

import torch
from failures import Runs, failure, first
from torch import nn


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.randn(1, 50, 6))
        self.enter, self.head = nn.Linear(2, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.enter(x)
        return self.head(x + self.table[:, : x.size(0)])


def test_positions_cut_by_the_batch_are_cut_by_the_length():
    found = failure(Positions(), torch.randn(4, 20, 2))
    assert first(found) == ("function", "getitem")
    fix = found.fixes[0]
    assert fix.line == "return self.head(x + self.table[:, : x.size(1)])"
    assert fix.status == "verified"
    moved = [fix for fix in found.fixes if "transpose(0" in fix.line]
    assert all(fix.status != "verified" for fix in moved)


def test_a_number_written_out_becomes_another():
    def first_ten(self, x):
        return self.head(x) + x[:, :, :4].cumsum(1)

    model = Runs(first_ten, head=nn.Linear(6, 3))
    found = failure(model, torch.randn(2, 5, 6))
    assert any("x[:, :, :3]" in fix.line for fix in found.fixes)


def swapped(self, x):
    x = x.transpose(1, 2)
    return self.conv(x)


def test_no_dimension_is_swapped_with_itself():
    found = failure(Runs(swapped, conv=nn.Conv1d(4, 8, 3)), torch.randn(2, 4, 9))
    assert first(found) == ("function", "transpose")
    assert (found.fixes[0].line, found.fixes[0].old) == ("", "x = x.transpose(1, 2)")
    assert not any("transpose(2, 2)" in fix.line for fix in found.fixes)
    assert not any("transpose(1, 1)" in fix.line for fix in found.fixes)
