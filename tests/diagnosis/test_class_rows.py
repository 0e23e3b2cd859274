"""Class indices in a loss that is written out, which wants a row for each."""

import runpy

import pytest
import torch
from failures import failure_of
from torch import nn
from torch.nn import functional as F

SIZES = [(16, 10), (5, 3)]


class Margin(nn.Module):
    def forward(self, scores, labels):
        near = F.relu(0.9 - scores) ** 2
        far = F.relu(scores - 0.1) ** 2
        return (labels * near + 0.5 * (1.0 - labels) * far).sum()


class Squares(nn.Module):
    def forward(self, scores, labels):
        error = scores.softmax(1) - labels
        return error.pow(2).sum(1).mean()


def told(criterion, sizes, labels=None, then=lambda labels: labels):
    batch, classes = sizes
    model, x = nn.Linear(7, classes), torch.randn(batch, 7)
    labels = torch.randint(0, classes, (batch,)) if labels is None else labels

    def step():
        return criterion(model(x), then(labels))

    return failure_of(nn.ModuleList([model, criterion]), step)


@pytest.mark.parametrize("sizes", SIZES)
def test_wherever_a_line_names_the_labels(sizes):
    found = told(Margin(), sizes)
    assert found.culprits[0].kind in ("input", "target")
    rows = f"F.one_hot(labels, {sizes[1]})"
    assert found.fixes[0].line == (
        f"return ({rows} * near + 0.5 * (1.0 - {rows}) * far).sum()"
    )


@pytest.mark.parametrize("sizes", SIZES)
def test_in_a_difference(sizes):
    found = told(Squares(), sizes)
    assert found.culprits[0].kind in ("input", "target")
    rows = f"F.one_hot(labels, {sizes[1]})"
    assert found.fixes[0].line == f"error = scores.softmax(1) - {rows}"


@pytest.mark.parametrize("sizes", SIZES)
def test_labels_that_were_cast_before(sizes):
    found = told(Squares(), sizes, then=lambda labels: labels.float())
    assert "one_hot(labels, " in found.fixes[0].line


class Pooled(nn.Module):
    """Sums over time, and divides by how long each sample is."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(6, 8)

    def forward(self, x, lengths):
        return self.lin(x).sum(1) / lengths


def test_lengths_are_no_classes():
    model, x = Pooled(), torch.randn(4, 5, 6)
    lengths = torch.randint(1, 6, (4,))
    found = failure_of(model, lambda: model(x, lengths))
    assert "one_hot" not in str(found)
    assert "lengths[..., None]" in found.fixes[0].line


class Gated(nn.Module):
    """Leaves out samples that count for nothing."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(6, 8)

    def forward(self, x, counts):
        return self.lin(x) * counts


def test_nor_are_gates_that_a_network_is_given():
    model, x = Gated(), torch.randn(4, 6)
    counts = torch.randint(0, 2, (4,))
    found = failure_of(model, lambda: model(x, counts))
    assert "one_hot" not in found.fixes[0].line


class Overlap(nn.Module):
    """A score of maps against masks."""

    def forward(self, scores, masks):
        return 2 * (masks * scores.softmax(1)).sum() / scores.numel()


class Kept(nn.Module):
    """The mean of scores in a region."""

    def forward(self, scores, masks):
        return (masks * scores).mean()


def of_maps(masks, sizes, known=False, overlap=None):
    batch, classes, side = sizes
    net, overlap = nn.Conv2d(3, classes, 1), overlap or Overlap()

    def step():
        made = net(torch.randn(batch, 3, side, side))
        if known:
            F.cross_entropy(made, masks)
        return overlap(made, masks)

    return failure_of(nn.ModuleList([net, overlap]), step)


MAPS = [(8, 5, 12), (4, 5, 6)]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("sizes", MAPS)
def test_maps_of_classes_that_shares_are_held_against(sizes, known):
    batch, classes, side = sizes
    masks = torch.randint(0, classes, (batch, side, side))
    found = of_maps(masks, sizes, known)
    rows = f"F.one_hot(masks, {classes}).movedim(-1, 1)"
    assert found.fixes[0].line == (
        f"return 2 * ({rows} * scores.softmax(1)).sum() / scores.numel()"
    )
    for fix in found.fixes[1:]:
        assert "one_hot" in fix.line or fix.status != "verified"


@pytest.mark.parametrize("sizes", MAPS)
def test_maps_of_which_nobody_says_whether_they_are_masks(sizes):
    batch, _, side = sizes
    regions = torch.randint(0, 2, (batch, side, side))
    found = of_maps(regions, sizes, overlap=Kept())
    assert all(fix.status != "verified" for fix in found.fixes if "masks" in fix.line)


@pytest.mark.parametrize("sizes", MAPS)
def test_masks_of_booleans_are_no_classes(sizes):
    batch, _, side = sizes
    found = of_maps(torch.rand(batch, side, side) > 0.5, sizes)
    assert "one_hot" not in str(found)
    assert "masks[:, None" in found.fixes[0].line or "unsqueeze" in found.fixes[0].line


METRIC = """
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace

model = nn.Conv2d(3, 5, 1)
with shapetrace.trace(model) as t:
    masks = torch.randint(0, 5, (8, 12, 12))
    made = model(torch.randn(8, 3, 12, 12))
    loss = F.cross_entropy(made, masks)
    loss.backward()
    both = (masks * made.softmax(1)).sum()
"""


def test_no_fix_that_reckons_with_class_indices_is_called_verified(tmp_path):
    path = tmp_path / "metric.py"
    path.write_text(METRIC)
    with pytest.raises(RuntimeError) as raised:
        runpy.run_path(str(path))
    said = "".join(raised.value.__notes__)
    assert "Fix (verified), line 14" in said
    assert "F.one_hot(masks, 5).movedim(-1, 1)" in said
    assert "Or (untried)" in said and "Or (verified)" not in said
