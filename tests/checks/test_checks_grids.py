"""Grids for `grid_sample` with rows where columns belong, and grids in their order."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent

#: batch, channels, height, width; two of them have coincident sizes
SIZES = [(3, 4, 5, 7), (2, 4, 6, 6), (2, 2, 2, 2)]


class Parts:
    def __init__(self, *sizes):
        self.batch, channels, self.h, self.w = sizes
        self.net = nn.Conv2d(channels, channels, 3, padding=1)
        self.offsets = nn.Conv2d(channels, 2, 3, padding=1)
        self.coarse = nn.Conv2d(channels, 2, 3, stride=2, padding=1)
        self.theta = nn.Linear(channels, 6)
        self.x, self.flow = torch.randn(sizes), torch.randn(self.batch, 2, *sizes[2:])

    @property
    def rows(self):
        return torch.linspace(-1, 1, self.h)

    @property
    def columns(self):
        return torch.linspace(-1, 1, self.w)

    def meshed(self, indexing="ij"):
        return torch.meshgrid(self.rows, self.columns, indexing=indexing)

    def whole(self, grid):
        return grid[None].expand(self.batch, -1, -1, -1)

    def sample(self, grid, image=None):
        image = self.net(self.x) if image is None else image
        made = F.grid_sample(image, grid, align_corners=True)
        made.square().mean().backward()


def stacked(parts):
    parts.sample(parts.whole(torch.stack(parts.meshed(), -1)))


def by_names(parts):
    yy, xx = parts.meshed()
    parts.sample(parts.whole(torch.stack([yy, xx], dim=2)))


def joined_and_moved(parts):
    yy, xx = (one[None].clone() for one in parts.meshed())
    grid = torch.cat((yy, xx), 0).repeat(parts.batch, 1, 1, 1)
    parts.sample(grid.permute(0, 2, 3, 1))


def spread_by_hand(parts):
    yy = parts.rows.view(1, -1, 1).expand(parts.batch, parts.h, parts.w)
    xx = parts.columns.view(1, 1, -1).expand(parts.batch, parts.h, parts.w)
    parts.sample(torch.stack((yy, xx), -1))


def written_into_zeros(parts):
    yy, xx = parts.meshed()
    grid = torch.zeros(parts.batch, parts.h, parts.w, 2)
    grid[..., 0], grid[:, :, :, 1] = yy, xx
    parts.sample(grid)


def written_both_at_once(parts):
    grid = torch.zeros(parts.h, parts.w, 3)
    grid[..., 1:] = torch.stack(parts.meshed(), -1)
    parts.sample(parts.whole(grid[..., 1:]))


def meshed_the_other_way(parts):
    yy, xx = torch.meshgrid(parts.rows, parts.columns, indexing="xy")
    parts.sample(parts.whole(torch.stack((yy, xx), -1).transpose(0, 1)))


def warped(parts):
    yy, xx = torch.meshgrid(torch.arange(parts.h), torch.arange(parts.w), indexing="ij")
    places = torch.stack((yy, xx)).float() + parts.flow
    y = 2.0 * places[:, 0] / (parts.h - 1) - 1.0
    x = 2.0 * places[:, 1] / (parts.w - 1) - 1.0
    parts.sample(torch.stack((y, x), -1))


def warped_in_place(parts):
    yy, xx = torch.meshgrid(torch.arange(parts.h), torch.arange(parts.w), indexing="ij")
    grid = torch.stack((yy, xx), 2).float().clone()
    grid = grid + parts.flow.permute(0, 2, 3, 1)
    grid[..., 0] = 2.0 * grid[..., 0].clone() / (parts.w - 1) - 1.0
    grid[..., 1] = 2.0 * grid[..., 1].clone() / (parts.h - 1) - 1.0
    parts.sample(grid)


def scaled_by_both_sides(parts):
    yy, xx = torch.meshgrid(torch.arange(parts.h), torch.arange(parts.w), indexing="ij")
    sides = torch.tensor([parts.h - 1.0, parts.w - 1.0])
    grid = torch.stack((yy, xx), -1) / sides * 2 - torch.ones(2)
    parts.sample(parts.whole(grid))


def turned_twice(parts):
    grid = torch.stack(parts.meshed(), -1).flip(-1)
    parts.sample(parts.whole(grid[..., [1, 0]]))


def of_parts(parts):
    yy, xx = torch.stack(parts.meshed(), 0)[None].chunk(2, 1)
    grid = torch.cat((yy, xx), 1).movedim(1, -1)
    parts.sample(grid.repeat(parts.batch, 1, 1, 1))


def features_last_afterwards(parts):
    grid = parts.whole(torch.stack(parts.meshed(), -1))
    made = F.grid_sample(parts.net(parts.x), grid, align_corners=True)
    (made * 2).permute(0, 2, 3, 1).square().mean().backward()


MISTAKES = {
    stacked: "stack",
    by_names: "stack",
    joined_and_moved: "cat",
    spread_by_hand: "stack",
    written_into_zeros: "setitem",
    written_both_at_once: "stack",
    meshed_the_other_way: "stack",
    warped: "stack",
    warped_in_place: "stack",
    scaled_by_both_sides: "stack",
    turned_twice: "stack",
    of_parts: "stack",
    features_last_afterwards: "stack",
}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("program", MISTAKES)
def test_rows_in_the_place_of_columns(program, sizes):
    assert findings(program, Parts(*sizes)) == [("grid-order", MISTAKES[program])]


def coarse(parts, order):
    image = parts.net(parts.x)
    offsets = parts.coarse(image).tanh()
    shape = offsets.shape[2:]
    places = torch.meshgrid(*map(torch.arange, shape), indexing="ij")
    grid = torch.stack(places).type_as(offsets).detach() + offsets
    a, b = (2.0 * one / 3 - 1.0 for one in grid.unbind(1))
    parts.sample(torch.stack([(a, b), (b, a)][order], -1), image)


@pytest.mark.parametrize("sizes", [(2, 4, 8, 8), (3, 2, 6, 10)])
def test_a_coarser_grid_with_offsets_of_the_same_map(sizes):
    assert findings(coarse, Parts(*sizes), 0) == [("grid-order", "stack")]
    assert silent(coarse, Parts(*sizes), 1)


@pytest.mark.parametrize("sizes", [(2, 3, 4, 5, 6), (2, 4, 4, 4, 4)])
def test_a_volume_in_the_order_of_its_dimensions(sizes):
    def program(order):
        volume = nn.Conv3d(sizes[1], 2, 1)(torch.randn(sizes))
        places = [torch.linspace(-1, 1, size) for size in sizes[2:]]
        grid = torch.stack(torch.meshgrid(places, indexing="ij"), -1)[..., order]
        made = F.grid_sample(
            volume, grid[None].repeat(2, 1, 1, 1, 1), align_corners=True
        )
        made.square().mean().backward()

    assert findings(program, [0, 1, 2]) == [("grid-order", "stack")]
    assert silent(program, [2, 1, 0])


def columns_first(parts):
    yy, xx = parts.meshed()
    parts.sample(parts.whole(torch.stack((xx, yy), -1)))


def meshed_as_in_a_plane(parts):
    xx, yy = torch.meshgrid(parts.columns, parts.rows, indexing="xy")
    parts.sample(parts.whole(torch.stack((xx, yy), -1)))


def turned_round(parts):
    parts.sample(parts.whole(torch.stack(parts.meshed(), -1).flip(-1)))


def picked_in_the_other_order(parts):
    parts.sample(parts.whole(torch.stack(parts.meshed(), -1))[..., [1, 0]])


def affine(parts):
    theta = torch.eye(2, 3).repeat(parts.batch, 1, 1)
    parts.sample(F.affine_grid(theta, parts.x.shape, align_corners=True))


def learned_affine(parts):
    theta = parts.theta(parts.x.mean((2, 3))).view(-1, 2, 3)
    parts.sample(F.affine_grid(theta, parts.x.shape, align_corners=True))


def columns_meshed_first(parts):  # as kornia does
    grid = torch.meshgrid(parts.columns, parts.rows, indexing="ij")
    parts.sample(parts.whole(torch.stack(grid, -1).permute(1, 0, 2)))


def warped_in_order(parts):
    yy, xx = torch.meshgrid(torch.arange(parts.h), torch.arange(parts.w), indexing="ij")
    places = torch.stack((xx, yy), 2).float() + parts.flow.permute(0, 2, 3, 1)
    x = 2.0 * places[..., 0] / max(parts.w - 1, 1) - 1.0
    y = 2.0 * places[..., 1] / max(parts.h - 1, 1) - 1.0
    parts.sample(torch.stack((x, y), 3))


def offsets_of_a_layer(parts):
    yy, xx = parts.meshed()
    offsets = parts.offsets(parts.x).permute(0, 2, 3, 1)
    parts.sample(torch.stack((xx, yy), -1) + offsets.tanh())


def a_field_of_a_layer(parts):
    parts.sample(parts.offsets(parts.x).permute(0, 2, 3, 1).tanh())


def written_in_order(parts):
    yy, xx = parts.meshed()
    grid = torch.zeros(parts.batch, parts.h, parts.w, 2)
    grid[..., 1], grid[..., 0] = yy, xx
    parts.sample(grid)


def written_over(parts):
    yy, xx = parts.meshed()
    grid = torch.stack((yy, xx), -1)
    grid[..., 0], grid[..., 1] = xx, yy
    parts.sample(parts.whole(grid))


def a_map_that_is_transposed(parts):
    grid = torch.meshgrid(parts.columns, parts.rows, indexing="ij")
    image = parts.net(parts.x).transpose(2, 3)
    parts.sample(parts.whole(torch.stack(grid, -1)), image)


def a_result_that_is_transposed(parts):
    grid = parts.whole(torch.stack(parts.meshed(), -1))
    made = F.grid_sample(parts.net(parts.x), grid, align_corners=True)
    (made * 2).mT.square().mean().backward()


def windows_around_points(parts):  # the order within a window is anybody's choice
    points = torch.rand(parts.batch, 1, 1, 2)
    grid = torch.stack(parts.meshed(), -1) / 4 + points
    parts.sample(grid)


def windows_around_learned_points(parts):
    points = parts.theta(parts.x.mean((2, 3)))[:, None, None, :2]
    parts.sample(torch.stack(parts.meshed(), -1) / 4 + points)


def rotated(parts):
    yy, xx = parts.meshed()
    turn = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    parts.sample(parts.whole(torch.stack((yy, xx), -1) @ turn))


def mixed(parts):
    yy, xx = parts.meshed()
    parts.sample(parts.whole(torch.stack((yy + xx, xx - yy), -1) / 2))


def weighed_by_place(parts):
    yy, xx = parts.meshed()
    near = parts.flow[:, :1].exp().permute(0, 2, 3, 1)
    parts.sample(torch.stack((yy, xx), -1) * near)


def points_in_a_row(parts):
    grid = torch.stack(parts.meshed(), -1).view(1, -1, 1, 2)
    parts.sample(grid.expand(parts.batch, -1, -1, -1))


def places_of_another_map(parts):
    rows, columns = torch.linspace(-1, 1, 9), torch.linspace(-1, 1, 3)
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1)
    parts.sample(parts.whole(grid))


def from_outside(parts):
    parts.sample(parts.grid)


CORRECT = [
    *(columns_first, meshed_as_in_a_plane, turned_round, affine, learned_affine, mixed),
    *(picked_in_the_other_order, columns_meshed_first, warped_in_order, rotated),
    *(offsets_of_a_layer, a_field_of_a_layer, written_in_order, written_over),
    *(a_map_that_is_transposed, a_result_that_is_transposed, windows_around_points),
    *(windows_around_learned_points, weighed_by_place, points_in_a_row),
    *(places_of_another_map, from_outside),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("program", CORRECT, ids=lambda one: one.__name__)
def test_grids_in_their_order_or_of_unknown_order(program, sizes):
    parts = Parts(*sizes)
    parts.grid = torch.stack(parts.meshed("ij"), -1)[None].repeat(parts.batch, 1, 1, 1)
    assert silent(program, parts)


@pytest.mark.parametrize("sizes, line", [((2, 4, 6, 6), True), ((2, 4, 5, 6), False)])
def test_the_fix_of_a_square_map_puts_the_columns_first(sizes, line):
    with pytest.warns(shapetrace.ShapeTraceWarning), shapetrace.trace() as t:
        by_names(Parts(*sizes))
    lines = [fix.line for found in t.findings for fix in found.fixes]
    assert [("torch.stack([xx, yy], dim=2)" in one) for one in lines] == [True] * line
