"""Sizes read off the wrong dimension, entries of the wrong place, and who is told of
data that lacks a dimension; with sizes that are all distinct, and alike."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace
from shapetrace.diagnosis.consider import consider
from shapetrace.diagnosis.explain import mismatch_of
from shapetrace.lineage import Graph


def traced(model, step):
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        with shapetrace.trace(model) as t:
            step(model).sum().backward()
    return t


def failed(model, step):
    return traced(model, step).failure


class Points(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, points):
        return self.fc(points)


@pytest.mark.parametrize("h, w", [(41, 16), (4, 5)])
def test_an_entry_of_the_wrong_dimension_is_picked_anew_wherever_it_is(h, w):
    def step(model):
        out = model(torch.randn(h, w, 3))
        depth = torch.rand(h, w)
        return out[:, 2] * (depth + out[:, 2])

    found = failed(Points(), step)
    assert found.culprits[0].name == "getitem"
    assert found.fixes[0].line == "return out[..., 2] * (depth + out[..., 2])"


def relative(out, points, root):
    joints = out[0].shape[1]
    others = torch.arange(joints) != root
    moved = points.clone()
    moved[:, others] -= moved[:, root : root + 1]
    return out[:, others] - moved[:, others]


@pytest.mark.parametrize("batch, joints", [(4, 17), (3, 17), (4, 5)])
def test_a_count_that_reads_another_dimension_is_read_anew(batch, joints):
    def step(model):
        out = model(torch.randn(batch, joints, 3))
        return relative(out, torch.randn(batch, joints, 3), 0)

    found = failed(Points(), step)
    assert (found.culprits[0].kind, found.culprits[0].name) == ("function", "arange")
    assert found.fixes[0].line == "joints = out[0].shape[0]"


def test_a_size_that_only_the_message_knows_is_told_of_its_argument():
    def step(model):
        out = model(torch.randn(60, 4, 3)).log_softmax(2)
        target = torch.ones(4, 20, dtype=torch.long)
        lengths = torch.tensor([16, 29, 12, 17])
        return F.ctc_loss(out, target, torch.full((4,), 60), lengths)

    found = failed(Points(), step)
    assert found.culprits[0].kind == "target"
    assert "dim 1 of the target is 20, the size asked for is 29" in found.message
    assert not found.fixes


class Outline(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return torch.sigmoid(self.conv(x))


@pytest.mark.parametrize("size", [16, 5])
def test_labels_without_a_channel_lack_it_whatever_was_put_in_before(size):
    def step(model):
        y, x = torch.meshgrid(*[torch.arange(size)] * 2, indexing="ij")
        mask = (3 - (y - x).abs()).clamp(min=0).unsqueeze(0)
        edge = torch.zeros_like(mask, dtype=torch.float32)
        edge[:, 1:] += (mask[:, 1:] != mask[:, :-1]).float()
        image = mask.unsqueeze(1).float() + torch.randn(1, 1, size, size)
        return F.binary_cross_entropy(model(image), edge.clamp(max=1))

    found = failed(Outline(), step)
    assert found.culprits[0].kind == "target"
    assert "[:, None" in found.fixes[0].line or "unsqueeze(1)" in found.fixes[0].line


def test_data_that_is_stretched_where_it_is_made_is_told_as_data():
    def step(model):
        drawn = (torch.rand(1, 1, 8, 8) > 0.5).float().expand(-1, 3, -1, -1)
        out = model(torch.rand(1, 1, 8, 8))
        return torch.dot(out.reshape(-1), drawn.reshape(-1))

    assert failed(Outline(), step).culprits[0].kind == "input"


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(7, 5)

    def forward(self, x, action):
        conv = nn.Conv1d(x.shape[0], 1, 1)
        h = conv(x.reshape(1, *x.shape))
        action = action.reshape(1, *action.shape)
        return self.fc(torch.cat([h, action], dim=2))


@pytest.mark.parametrize("batch", [8, 5, 2])
def test_samples_behind_a_dimension_of_1_are_samples(batch):
    def step(model):
        return model(torch.randn(batch, 5), torch.randn(batch, 2))

    assert failed(Critic(), step).culprits[0].name == "conv1d"


class Margin(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 10)

    def forward(self, x, label):
        cosine = self.fc(x)
        kept = torch.where(label != -1)[0]
        first = torch.zeros(len(kept), cosine.size(1))
        first.scatter_(1, label[kept, None], 1.0)
        second = torch.zeros(len(kept), cosine.size(1))
        second.scatter_(1, label[kept, None], 1.0)
        return cosine * (first + second)


@pytest.mark.parametrize("batch", [16, 10])
def test_an_expression_that_stands_twice_is_mended_twice(batch):
    def step(model):
        label = torch.randint(0, 10, (batch, 1))
        return model(torch.randn(batch, 5), label)

    found = failed(Margin(), step)
    assert found.culprits[0].name == "getitem"
    fix = found.fixes[0]
    assert fix.status == "verified" and fix.line.count("squeeze(2)") == 2


class Pyramid(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(2, 2, 3, 2, 1) for _ in range(3))
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, x):
        kept = [x]
        for down in self.down:
            kept.append(down(kept[-1]))
        x = kept.pop()
        while kept:
            x = self.up(x) + kept.pop()
        return x


@pytest.mark.parametrize("h, w", [(32, 45), (45, 45)])
def test_data_that_is_halved_to_a_rest_is_told_of_its_size(h, w):
    found = failed(Pyramid(), lambda model: model(torch.rand(2, 2, h, w)))
    assert found.culprits[0].kind == "input" and "45" in str(found)


@pytest.mark.parametrize("batch, classes", [(2, 2), (2, 3), (4, 3)])
def test_one_weight_a_class_is_put_beside_no_samples(batch, classes):
    model = nn.Conv2d(1, classes, 1)

    def step(model):
        target = (torch.rand(batch, classes, 6, 6) > 0.5).float()
        weight = 1 / (1 + target.sum(dim=(0, 2, 3)))
        out = model(torch.rand(batch, 1, 6, 6))
        return F.binary_cross_entropy_with_logits(out, target, pos_weight=weight)

    lines = [fix.line for fix in failed(model, step).fixes]
    assert lines and not any("None, None, None" in line for line in lines)


def test_what_a_method_returns_is_not_verified_before_its_caller_is_read():
    class Loss(nn.Module):
        def distance(self, x, target):
            return torch.sigmoid(x).detach() - target

        def forward(self, out, target):
            weight = self.distance(out, target).abs()
            return F.binary_cross_entropy_with_logits(out, target, weight=weight)

    def step(model):
        loss = Loss()
        return loss(model(torch.randn(26, 5)), torch.randint(0, 2, (26,)))

    found = failed(nn.Linear(5, 2), step)
    assert all(fix.status != "verified" for fix in found.fixes)


class Edges(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2 * 9, 3)

    def gather(self, count, index, edges):
        sent = edges[index]
        update = torch.zeros(count * 2, edges.shape[-1]).index_add(0, index, sent)
        return update.view(count, 2 * 9)

    def forward(self, index, edges):
        return self.fc(self.gather(5, index, edges))


def test_what_is_made_as_large_as_data_follows_it():
    def step(model):
        return model(torch.randint(0, 10, (12,)), torch.randn(12, 4))

    graph = Graph(traced(Edges(), step).recording)
    found = [entry.hypothesis for entry in consider(graph, mismatch_of(graph)).scored]
    of_data = [one for one in found if one.form == "data" and one.site.kind == "input"]
    fit = [one for one in of_data if one.outcome.status == "verified"]
    assert [(one.dim, one.size, one.expected) for one in fit] == [(1, 4, 9)]
