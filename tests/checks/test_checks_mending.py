"""One fix mends all places of one mistake, in lines that hold for any batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")
B = 6


class Pose(nn.Module):
    """Two heads over pooled maps, whose sides of 1 are kept."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.trans, self.rot = nn.Conv2d(8, 3, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        x = self.pool(x)
        return self.trans(x), self.rot(x)


def found_in(program, model, *shapes):
    """The alarms of a program, of the given model and data."""
    torch.manual_seed(0)
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace(model) as t:
            program(model, *(torch.randn(shape) for shape in shapes)).backward()
    return [found for found in t.findings if found.severity != "note"]


def lines(found):
    return [(fix.status, fix.line) for fix in found.fixes]


def runs_silently(fix, names):
    """Whether the lines of a fix run on these values, with nothing found."""
    with shapetrace.trace() as t:
        exec(fix.line, names)
        names["loss"].backward()
    return t.findings == ()


def pose(model, x, a, b):
    trans, rot = model(x)
    loss = F.l1_loss(trans, a) + 10 * F.l1_loss(rot, b)
    return loss


def pose_in_lines(model, x, a, b):
    trans, rot = model(x)
    first = F.l1_loss(trans, a)
    scale = 10
    loss = first + scale * F.l1_loss(rot, b)
    return loss


def far_apart(model, x, a, b):
    trans, rot = model(x)
    first = F.l1_loss(trans, a)
    scale = 1
    scale += 1
    scale += 1
    scale += 1
    scale += 1
    scale += 1
    scale += 1
    scale += 1
    scale += 1
    scale += 1
    scale += 1
    loss = first + scale * F.l1_loss(rot, b)
    return loss


@pytest.mark.parametrize("batch", [3, 4, 6])
def test_two_places_of_one_statement(batch):
    shapes = (batch, 8, 5, 5), (batch, 3), (batch, 4)
    (found,) = found_in(pose, Pose(), *shapes)
    first = "loss = F.l1_loss(trans.flatten(1), a) + 10 * F.l1_loss(rot.flatten(1), b)"
    other = (
        "loss = F.l1_loss(trans, a.unsqueeze(2).unsqueeze(3))"
        " + 10 * F.l1_loss(rot, b.unsqueeze(2).unsqueeze(3))"
    )
    assert lines(found) == [("verified", first), ("verified", other)]
    for fix in found.fixes:
        trans, rot = Pose()(torch.randn(shapes[0]))
        names = {"F": F, "trans": trans, "rot": rot}
        names |= {"a": torch.randn(shapes[1]), "b": torch.randn(shapes[2])}
        assert runs_silently(fix, names)


def test_two_places_of_two_statements():
    (found,) = found_in(pose_in_lines, Pose(), (B, 8, 5, 5), (B, 3), (B, 4))
    fix = found.fixes[0]
    assert fix.status == "verified"
    assert fix.line.split("\n") == [
        "first = F.l1_loss(trans.flatten(1), a)",
        "scale = 10",
        "loss = first + scale * F.l1_loss(rot.flatten(1), b)",
    ]
    assert fix.where.end_line - fix.where.line == 2
    trans, rot = Pose()(torch.randn(B, 8, 5, 5))
    names = {"F": F, "trans": trans, "rot": rot}
    assert runs_silently(fix, names | {"a": torch.randn(B, 3), "b": torch.randn(B, 4)})


def test_two_places_that_are_far_apart():
    (found,) = found_in(far_apart, Pose(), (B, 8, 5, 5), (B, 3), (B, 4))
    fix = found.fixes[0]
    assert (fix.status, fix.line) == ("moved", "first = F.l1_loss(trans.flatten(1), a)")
    place = far_apart.__code__.co_firstlineno + 14
    assert fix.detail == f"the same is left at test_checks_mending.py:{place}"
    said = " ".join(str(found).split())
    assert f"Fix (moved), line {place - 12}: the same is left at line {place}" in said


def clipped(model, x, y):
    made = model(x)
    error = made - y
    cut = made.clamp(-1, 1) - y
    loss = torch.max(error**2, cut**2).mean()
    return loss


def test_where_the_other_half_would_then_be_stretched():
    """What is mended in one line alone meets the other."""
    (found,) = found_in(clipped, nn.Linear(8, 1), (B, 8), (B,))
    assert lines(found)[0] == (
        "verified",
        "error = made.squeeze(1) - y\ncut = made.clamp(-1, 1).squeeze(1) - y",
    )


def chained(model, x, y):
    made = model(x)
    one = ((made - y) ** 2).mean()
    two = (made - y).abs().mean()
    return one + two


def test_where_the_same_is_in_the_next_line():
    (found,) = found_in(chained, nn.Linear(8, 1), (B, 8), (B,))
    assert lines(found)[0] == (
        "verified",
        "one = ((made.squeeze(1) - y) ** 2).mean()\n"
        "two = (made.squeeze(1) - y).abs().mean()",
    )


def lies_across(model, x, y):
    return F.mse_loss(model(x), y)


@pytest.mark.parametrize(
    ("width", "target", "line"),
    [
        (1, lambda b: (1, b), "return F.mse_loss(model(x).reshape_as(y), y)"),
        (
            2,
            lambda b: (1, 2),
            "prediction = model(x)\n"
            "return F.mse_loss(prediction, y.expand_as(prediction))",
        ),
        (1, lambda b: (b, 1, 1), "return F.mse_loss(model(x), y.squeeze(2))"),
    ],
)
@pytest.mark.parametrize("batch", [4, 6])
def test_no_size_of_the_batch_is_in_a_line(width, target, line, batch):
    found = found_in(lies_across, nn.Linear(8, width), (batch, 8), target(batch))
    assert line in [fix.line for one in found for fix in one.fixes]


class Heads(nn.Module):
    """Heads joined with the batch by a view alone."""

    def __init__(self):
        super().__init__()
        self.q, self.out = nn.Linear(10, 24), nn.Linear(6, 5)

    def forward(self, x):
        b, t, _ = x.shape
        q = self.q(x).view(b * 4, t, 6)
        return self.out((q @ q.transpose(1, 2)).softmax(-1) @ q)


@pytest.mark.parametrize("batch", [3, 5])
def test_heads_are_cut_without_the_sizes_of_the_batch(batch):
    (found,) = found_in(lambda m, x: m(x).mean(), Heads(), (batch, 7, 10))
    (fix,) = found.fixes
    assert (fix.status, fix.line) == (
        "verified",
        "q = self.q(x).unflatten(2, (4, 6)).permute(0, 2, 1, 3)"
        ".contiguous().view(b * 4, t, 6)",
    )
    names = {"self": Heads(), "x": torch.randn(batch, 7, 10), "b": batch, "t": 7}
    exec(fix.line, names)
    assert names["q"].shape == (batch * 4, 7, 6)
