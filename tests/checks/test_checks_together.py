"""Samples that meet on one line, and are spread along another dimension on another;
pairs of which nothing but the sum is taken."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

CODE = "silent-broadcast"


def found(model, step):
    torch.manual_seed(0)
    with shapetrace.trace(model) as t:
        step().backward()
    return [one for one in t.findings if one.severity != "note"]


class Grouped(nn.Module):
    """Attention of groups of heads: as many groups as samples, if so asked."""

    def __init__(self, groups, mend, masked_by):
        super().__init__()
        self.qk = nn.ModuleList(nn.Linear(8, n * 4) for n in (2 * groups, groups))
        self.groups, self.mend, self.masked_by = groups, mend, masked_by
        self.head = nn.Linear(2 * groups, 1)

    def forward(self, x, mask):
        batch, steps, _ = x.shape
        q, k = (one(x).view(batch, steps, -1, 4).transpose(1, 2) for one in self.qk)
        scores = q.reshape(batch, self.groups, 2, steps, 4) @ k.unsqueeze(2).mT
        mask = mask[:, :, None] if self.mend else mask
        if self.masked_by == "where":
            scores = torch.where(mask, scores, -1e9)
        else:
            scores = scores.masked_fill(~mask, -1e9)
        weights = scores.softmax(-1).diagonal(dim1=-2, dim2=-1)
        return self.head(weights.flatten(1, 2).mT)[..., 0]


def attended(groups, mend=False, masked_by="where"):
    model = Grouped(groups, mend, masked_by)
    x, lengths = torch.randn(4, 6, 8), torch.tensor([6, 4, 5, 3])
    there = torch.arange(6) < lengths[:, None]

    def step():
        out = model(x, there[:, None, None].expand(-1, 1, 6, 6))
        return (out * there).square().mean()

    return model, step


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("masked_by", ["where", "masked_fill"])
def test_a_mask_of_samples_along_groups_of_heads(masked_by):
    (one,) = found(*attended(4, masked_by=masked_by))
    assert one.code == CODE and one.culprits[0].name == masked_by
    assert ".unsqueeze(1)" in one.fixes[0].line


@pytest.mark.parametrize("masked_by", ["where", "masked_fill"])
def test_a_mask_that_has_the_dimension(masked_by):
    assert found(*attended(4, mend=True, masked_by=masked_by)) == []


class Nodes(nn.Module):
    """As many nodes as samples, with features and edges that all samples share."""

    def __init__(self, size=4):
        super().__init__()
        self.body, self.head = nn.Linear(size, size), nn.Linear(size, size)

    def forward(self, x, own, edges):
        return self.head(edges @ (self.body(x) + own).relu()).mean(1)


def shared_by_all_samples():
    model, x = Nodes(), torch.randn(4, 4, 4)
    own, edges = torch.randn(4, 4), torch.rand(4, 4)
    labels = torch.randint(4, (4,))
    return model, lambda: F.cross_entropy(model(x, own, edges * 2), labels)


def weights_of_classes():
    """One weight a class, of as many classes as samples, on two lines."""
    model, x = nn.Linear(4, 4), torch.randn(4, 4)
    labels, weight = torch.rand(4, 4), torch.rand(4)

    def step():
        loss = F.binary_cross_entropy_with_logits(model(x), labels, reduction="none")
        return (loss * weight).mean() + (labels * weight).mean() * loss.mean()

    return model, step


def weights_of_samples():
    model, x = nn.Linear(4, 4), torch.randn(4, 4)
    labels, weight = torch.randint(4, (4,)), torch.rand(4)

    def step():
        loss = F.cross_entropy(model(x), labels, reduction="none")
        return (loss * weight).sum() / (weight * (labels >= 0)).sum()

    return model, step


def one_temperature_for_all():
    """One number of the data meets the steps of one tensor and the features of another,
    of which there are as many."""
    model, x = nn.Linear(1, 4), torch.randn(3, 4)
    weight, temperature = torch.rand(4), torch.rand(1)

    def step():
        hidden = model((x * temperature)[..., None])
        return (hidden * (weight * temperature)).square().mean()

    return model, step


@pytest.mark.parametrize(
    "program",
    [
        *(shared_by_all_samples, weights_of_classes, weights_of_samples),
        one_temperature_for_all,
    ],
)
def test_sizes_that_coincide(program):
    assert found(*program()) == []


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("mend", [True, False])
@pytest.mark.parametrize("turned", [True, False])
def test_a_weight_of_each_sample_along_the_steps(turned, mend):
    """Also where samples and steps of a square meet each other, which pairs nothing."""
    model, x, y = nn.Linear(3, 1), torch.randn(5, 5, 3), torch.randn(5)
    weight = torch.rand(5)

    def step():
        scores = model(x)[..., 0]
        weighted = scores * (weight[:, None] if mend else weight)
        error = (weighted.mean(1) - y).square()
        meets = x * x.transpose(0, 1) if turned else x
        return error.mean() + (weight * y).mean() * error.mean() + meets.mean()

    told = [(one.code, one.culprits[0].name) for one in found(model, step)]
    assert told == ([] if mend else [(CODE, "mul")])


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("mend", [True, False])
def test_samples_that_a_loss_has_paired(mend):
    model, x, labels = nn.Linear(3, 6), torch.randn(6, 3), torch.randint(6, (6,))
    weight = torch.rand(6)

    def step():
        scores = model(x)
        loss = F.cross_entropy(scores, labels) + (weight * labels).mean()
        return loss + (scores * (weight[:, None] if mend else weight)).mean()

    told = [(one.code, one.culprits[0].name) for one in found(model, step)]
    assert told == ([] if mend else [(CODE, "mul")])


# -- the sum of all pairs --------------------------------------------------------------


def returns(rewards, discounts, mean=torch.sum):
    return mean(rewards * discounts)


def discounted(column, size=6, use=returns):
    model, x = nn.Linear(size, 1), torch.randn(size, size)
    rewards, discounts = torch.rand(size, 1), 0.9 ** torch.arange(size)
    given = rewards if column else rewards[:, 0]

    def step():
        return F.mse_loss(model(x).mean(), use(given, discounts))

    return model, step


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("size", [6, 2])
@pytest.mark.parametrize("mean", [torch.sum, torch.mean])
def test_the_sum_of_all_pairs_is_nothing_that_is_meant(mean, size):
    use = lambda a, b: returns(a, b, mean)  # noqa: E731
    (one,) = found(*discounted(True, size, use))
    assert one.code == CODE and one.culprits[0].name == "mul"


def table(rewards, discounts):
    return (rewards * discounts).triu().sum()


def by_row(rewards, discounts):
    return (rewards * discounts).sum(1).max()


def largest(rewards, discounts):
    return (rewards * discounts).max()


def written_out(rewards, discounts):
    return (rewards[:, 0, None] * discounts).sum()


def distances(rewards, discounts):
    return (rewards - discounts).abs().sum()


@pytest.mark.parametrize("use", [table, by_row, largest, written_out, distances])
def test_pairs_that_are_looked_at(use):
    assert found(*discounted(True, use=use)) == []


def test_one_with_one():
    assert found(*discounted(False)) == []


def test_one_number():
    assert found(*discounted(True, size=1)) == []
