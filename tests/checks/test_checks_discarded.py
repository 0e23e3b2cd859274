"""Results that nobody takes, and what only looks as if they were thrown away."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent


class Scores(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.fc, self.change = nn.Linear(8, 5), change

    def forward(self, x):
        x = self.fc(x)
        self.change(x)
        return x.log_softmax(1)


def scored(change):
    F.nll_loss(Scores(change)(torch.randn(6, 8)), torch.arange(6) % 5).backward()


def clamps(x):
    x.clamp(-1, 1)


def adds(x):
    x + 1


def detaches(x):
    x.detach()


def drops(x):
    F.dropout(x, 0.5)


def joins(x):
    torch.cat([x, x], 1)


def scatters(x):
    x.scatter(1, torch.zeros(6, 1, dtype=torch.long), 1.0)


def hides_its_argument(x):
    x = F.relu(x)


def hides_the_items(x):
    for row in [x]:
        row = row.clamp(-1, 1)


def masks_under_another_name(x):
    masked = x.masked_fill(x > 1, -1e9)  # noqa: F841


def clamps_itself(x):
    x.clamp_(-1, 1)


def leaky_relu_in_place(x):
    F.leaky_relu(x, inplace=True)


def looks(x):
    x.mean()
    x.argmax(1)
    x.numel()


def returns(x):
    return x.clamp(-1, 1)


def measures(x):
    wide = x.repeat(1, 1)
    for _ in range(3):
        wide.clamp(-1, 1)


def counts(x):
    """A result under a name of its own, which may be looked at in a debugger."""
    shares = x.softmax(1)  # noqa: F841


def ignores(x):
    _ = x.clamp(-1, 1)


def reads_later(x):
    x = x.clamp(-1, 1)
    assert x.shape


def reads_in_the_next_turn(x):
    for _ in range(2):
        assert x.shape
        x = x.clamp(-1, 1)


def reads_inside(x):
    x = x.clamp(-1, 1)
    return lambda: x


def keeps(x):
    kept = []
    for row in [x]:
        row = row.clamp(-1, 1)
        kept.append(row)


def old_and_new(x):
    x = x.clamp(-1, 1)
    print(end=f"{x.shape}"[:0])


def left_over(x):
    found = x * 2
    found = found.flatten(1)
    return x


@pytest.mark.parametrize(
    "change",
    [
        clamps,
        adds,
        detaches,
        drops,
        joins,
        scatters,
        hides_its_argument,
        hides_the_items,
        masks_under_another_name,
    ],
)
def test_a_result_that_nobody_takes(change):
    assert findings(scored, change)[0][0] == "discarded-result"


@pytest.mark.parametrize(
    "change",
    [
        clamps_itself,
        leaky_relu_in_place,
        looks,
        returns,
        measures,
        counts,
        ignores,
        reads_later,
        reads_in_the_next_turn,
        reads_inside,
        keeps,
        old_and_new,
        left_over,
    ],
)
def test_calls_whose_result_is_not_missed(change):
    assert silent(scored, change)


# -- parameters ------------------------------------------------------------------------


class Cosine(nn.Module):
    """A classifier whose weights are to be of length 1."""

    def __init__(self, change):
        super().__init__()
        self.fc, self.change = nn.Linear(8, 5, bias=False), change

    def forward(self, x):
        return self.fc(F.normalize(x, dim=1)) if self.change(self.fc) is None else x


def classified(change):
    model = Cosine(change)
    F.cross_entropy(model(torch.randn(6, 8)), torch.arange(6) % 5).backward()


def renames_each(fc):
    for weight in fc.parameters():
        weight = F.normalize(weight, dim=1)


def renames_the_data(fc):
    data = fc.weight.data
    data = F.normalize(data, dim=1)


def renames_one(fc):
    weight = fc.weight
    weight = weight / weight.norm(dim=1, keepdim=True)


def clamps_each(fc):
    for weight in fc.parameters():
        weight.data.clamp(-0.01, 0.01)


def normalises_alone(fc):
    F.normalize(fc.weight, dim=1)


def steps_each(fc):
    for weight in fc.parameters():
        weight = weight - 0.1 * torch.ones_like(weight)


def averages_each(fc):
    for mine, other in zip(fc.parameters(), nn.Linear(8, 5).parameters()):
        mine = 0.9 * mine + 0.1 * other


def steps_and_keeps(fc):
    kept = []
    for weight in fc.parameters():
        weight = weight - 0.1 * torch.ones_like(weight)
        kept.append(weight)


def writes_each(fc):
    for weight in fc.parameters():
        weight.data = F.normalize(weight.data, dim=1)


def copies_each(fc):
    with torch.no_grad():
        for weight in fc.parameters():
            weight.copy_(F.normalize(weight, dim=1))


def clamps_in_place(fc):
    for weight in fc.parameters():
        weight.data.clamp_(-0.01, 0.01)


def sums_up(fc):
    total = 0.0
    for weight in fc.parameters():
        weight = weight.detach().abs()
        total += weight.sum().item()


def reads_the_deviation(fc):
    spread = fc.weight.exp()  # noqa: F841


@pytest.mark.parametrize(
    "change",
    [
        renames_each,
        renames_the_data,
        renames_one,
        clamps_each,
        normalises_alone,
        steps_each,
        averages_each,
    ],
)
def test_a_parameter_of_which_a_changed_copy_is_lost(change):
    assert "discarded-result" in [code for code, _ in findings(classified, change)]


@pytest.mark.parametrize(
    "change",
    [
        steps_and_keeps,
        writes_each,
        copies_each,
        clamps_in_place,
        sums_up,
        reads_the_deviation,
    ],
)
def test_a_parameter_that_is_changed_or_looked_at(change):
    assert silent(classified, change)


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize(
    "change, line",
    [
        (renames_each, "weight.data = F.normalize(weight.data, dim=1)"),
        (clamps_each, "weight.data = weight.data.clamp(-0.01, 0.01)"),
        (normalises_alone, "fc.weight.data = F.normalize(fc.weight.data, dim=1)"),
    ],
)
def test_the_parameter_itself_is_given_what_was_lost(change, line):
    with shapetrace.trace() as t:
        classified(change)
    assert [fix.line for found in t.findings for fix in found.fixes] == [line]


# -- layers of torch, and libraries ----------------------------------------------------


class Layers(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.fc, self.last, self.layer = nn.Linear(8, 8), nn.Linear(8, 5), layer

    def forward(self, x):
        x = self.fc(x)
        self.layer(x)
        return self.last(x)


def layered(layer):
    model = Layers(layer)
    F.cross_entropy(model(torch.randn(6, 8)), torch.arange(6) % 5).backward()


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.Dropout(0.2), nn.Tanh(), nn.GELU()])
def test_an_activation_alone_on_its_line(layer):
    assert findings(layered, layer) == [("unused-output", "Layers.layer")]


@pytest.mark.filterwarnings("error::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize(
    "layer", [nn.ReLU(inplace=True), nn.BatchNorm1d(8), nn.Linear(8, 2), nn.Identity()]
)
def test_layers_that_are_called_for_what_they_do(layer):
    with shapetrace.trace() as t:
        layered(layer)
    assert all(found.severity == "note" for found in t.findings)


def test_what_a_library_throws_away_inside_is_not_the_line_s():
    """`AveragedModel.update_parameters` detaches the parameters of its copy."""
    averages = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=averages)
    optimizer = torch.optim.AdamW(model.parameters())
    with shapetrace.trace(model) as t:
        for _ in range(3):
            optimizer.zero_grad()
            F.mse_loss(model(torch.randn(5, 4)), torch.randn(5, 3)).backward()
            optimizer.step()
            averaged.update_parameters(model)
        averaged.module(torch.randn(5, 4))
    assert "detach" in [call.name for call in t.functions]
    assert t.findings == ()
