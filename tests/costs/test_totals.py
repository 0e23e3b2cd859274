"""Figures by type, by block and by line: each time counted once."""

from __future__ import annotations

import pandas
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import shapetrace


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.fc(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList(nn.Sequential(Block(), Block()) for _ in range(3))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return self.head(x)


@pytest.fixture(scope="module")
def trained():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with shapetrace.trace(model, memory=True, backward=True) as t:
        for _ in range(2):
            model(torch.randn(5, 4)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    return t


FLOPS = 2 * 5 * 4 * 4  # of one inner layer


def test_by_type(trained):
    frame = trained.to_dataframe(by="type").set_index("name")
    linear = frame.loc["Linear"]
    assert (linear["modules"], linear["calls"]) == (7, 14)
    assert linear["flops"] == 2 * (6 * FLOPS + 2 * 5 * 4 * 2)
    assert linear["parameter_bytes"] == 4 * (6 * 20 + 10)
    assert frame.loc["Block", "parameter_bytes"] == 4 * 6 * 20
    # of one batch: the input of each layer and, for its mask, what the ReLU gave,
    # which is the input of the next
    assert frame.loc["ReLU", "saved_bytes"] == 6 * 5 * 4 * 4


def test_own_times_add_up_to_the_whole(trained):
    costs = trained.costs
    whole = costs.corrected_ns if costs.settled else costs.measured_ns
    for by in ("type", "block"):
        frame = trained.to_dataframe(by=by)
        assert frame["self_ms"].sum() == pytest.approx(whole / 1e6)
        assert frame["share"].sum() == pytest.approx(1)


def test_what_contains_its_own_kind_counts_once():
    class Nest(nn.Module):
        def __init__(self, inner=None):
            super().__init__()
            self.inner = inner
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return self.fc(x if self.inner is None else self.inner(x))

    model = Nest(Nest())
    with shapetrace.trace(model) as t:
        model(torch.randn(5, 4))
    row = t.to_dataframe(by="type").set_index("name").loc["Nest"]
    assert row["flops"] == 2 * FLOPS and row["calls"] == 1
    assert row["total_ms"] <= t.calls[0].duration_ns / 1e6


def test_by_block(trained):
    frame = trained.to_dataframe(by="block").set_index("name")
    # the outermost that repeat: the stages, not the blocks in them
    assert set(frame.index) == {"stages.*", "head", ""}
    stages = frame.loc["stages.*"]
    assert (stages["type"], stages["modules"], stages["calls"]) == ("Sequential", 3, 6)
    assert stages["flops"] == 2 * 6 * FLOPS


def test_by_line_has_what_is_outside_of_modules(trained):
    frame = trained.to_dataframe(by="line")
    step = frame[frame["code"] == "optimizer.step()"]
    assert "Optimizer.step#SGD.step" in step["names"].item()
    head = frame[frame["code"] == "return self.head(x)"]
    assert head["flops"].item() == 2 * 2 * 5 * 4 * 2
    # of one of the two batches: what the head is given
    assert head["saved_bytes"].item() == 5 * 4 * 4
    backward = frame[frame["names"].str.contains("backward")]
    assert backward["code"].item() == "model(torch.randn(5, 4)).sum().backward()"
    assert frame["share"].sum() == pytest.approx(1)


def test_what_a_line_saves_is_unknown_where_one_of_its_calls_is_checkpointed():
    """Checkpointing keeps what nobody may look at; running it again saves nothing new
    for a line."""
    first, second = Block(), nn.Linear(4, 2)

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = first, second

        def forward(self, x):
            x = checkpoint(self.first, x, use_reentrant=False)
            return self.second(x)

    with shapetrace.trace(model := Pair(), memory=True) as t:
        model(torch.randn(5, 4)).sum().backward()
    saved = t.to_dataframe(by="line").set_index("code")["saved_bytes"]
    assert pandas.isna(saved["return self.act(self.fc(x))"])
    assert saved["return self.second(x)"] == 5 * 4 * 4


def test_csv_has_the_same_rows_and_the_costs(trained, tmp_path):
    trained.to_csv(tmp_path / "lines.csv", by="line")
    found = pandas.read_csv(tmp_path / "lines.csv")
    assert found["code"].tolist() == trained.to_dataframe(by="line")["code"].tolist()
    trained.to_csv(tmp_path / "calls.csv", costs=True)
    found = pandas.read_csv(tmp_path / "calls.csv")
    assert found["flops"].tolist() == [cost.flops for cost in trained.costs.calls]
    assert "corrected_ms" in found
    trained.to_csv(tmp_path / "functions.csv", by="function", costs=True)
    moved = pandas.read_csv(tmp_path / "functions.csv")["moved_bytes"].tolist()
    assert moved == list(trained.costs.function_moved_bytes) and any(moved)


def test_a_hundred_small_layers_are_told_of_by_type():
    model = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4)) for _ in range(50)))
    with shapetrace.trace(model) as t:
        model(torch.randn(2, 4))
    text = " ".join(t.summary(100).split())
    assert "… and 71 more modules:" in text and " Linear (" in text
