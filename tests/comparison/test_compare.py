"""Two traces side by side, and a failed batch beside an earlier one of its loop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace
from shapetrace.lineage import GoodBatch, last_good
from shapetrace.records import FunctionCall, ModuleCall


class Cnn(nn.Module):
    def __init__(self, width: int = 72) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.fc1 = nn.Linear(288, width)
        self.fc2 = nn.Linear(width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv(x)).view(64, -1)
        return self.fc2(F.relu(self.fc1(x)))


class Hidden(nn.Module):
    """An LSTM whose first state is as large as the usual batch."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.GRU(4, 6, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = torch.zeros(1, 64, 6)
        return self.lstm(x, state)[0][:, -1]


def run(
    model: nn.Module, batches: Sequence[tuple[torch.Tensor, torch.Tensor]]
) -> shapetrace.Trace:
    with contextlib.suppress(RuntimeError, ValueError):
        with shapetrace.trace(model) as t:
            for x, y in batches:
                F.cross_entropy(model(x), y)
    return t


def images(count: int, labels: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.zeros(count if labels is None else labels, dtype=torch.int64)
    return torch.ones(count, 1, 8, 8), y


def words(count: int, labels: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(count, 5, 4), images(1, labels or count)[1]


def earlier(t: shapetrace.Trace) -> GoodBatch | None:
    failed: list[FunctionCall | ModuleCall] = [c for c in t.functions if c.error]
    failed += [call for call in reversed(t.calls) if call.error]
    return last_good(t._graph, failed[0])


# -- compare ------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [7, 32])
def test_a_hard_coded_batch_size_is_named_where_the_batch_changed(rows: int) -> None:
    model = Cnn()
    made = shapetrace.compare(run(model, [images(64)]), run(model, [images(rows)]))
    assert made.reason is not None and made.reason.culprit is not None
    assert made.reason.culprit.name == "view"
    place = made.reason.culprit.source
    said = f"batch 64 → {rows}; `view(64, -1)` at {place} hard-codes 64"
    assert str(made.reason) == said
    assert f"What came in changed: {said}" in " ".join(str(made).split())
    change = made.reason.changes[0]
    assert (change.dim, change.before, change.now) == (0, 64, rows)


def test_either_side_may_be_the_failed_one() -> None:
    model = Cnn()
    good, bad = run(model, [images(64)]), run(model, [images(7)])
    made = shapetrace.compare(bad, good)
    assert not made.failed_b
    assert made.reason is not None and made.reason.literal == "view(64, -1)"


def test_the_first_call_and_dimension_that_differ_are_told() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    traces = []
    for rows in (3, 5):
        x = torch.ones(rows, 4)
        with shapetrace.trace(model) as t:
            model(x)
        traces.append(t)
    first = shapetrace.compare(*traces).first
    assert first is not None
    assert (first.what, first.path, first.dim) == ("shape", "args[0]", 0)
    assert (first.a, first.b) == (3, 5)


def test_a_trace_does_not_differ_from_one_of_the_same_program() -> None:
    model = Cnn()
    made = shapetrace.compare(run(model, [images(64)]), run(model, [images(64)]))
    assert made.same and made.first is None and made.reason is None
    assert "No difference" in str(made)


def test_a_module_built_otherwise_is_told() -> None:
    made = shapetrace.compare(
        run(Cnn(72), [images(64)]), run(Cnn(30).eval(), [images(64)])
    )
    told = [str(change) for change in made.modules]
    assert "model.fc1.out_features: 72 → 30" in told
    assert "model.training: True → False" in told
    assert not any("conv.training" in line for line in told)  # the root tells it


def test_what_differs_is_called_as_the_script_calls_it() -> None:
    traces = []
    for width in (4, 3):
        with shapetrace.trace() as t:
            net = nn.Sequential(nn.Linear(width, 2))
            with contextlib.suppress(RuntimeError):
                net(torch.ones(1, 4))
        traces.append(t)
    text = " ".join(str(shapetrace.compare(*traces)).split())
    assert "Modules: net.0.in_features: 4 → 3" in text
    assert "First to differ: `empty in Linear(…)` at " in text


def test_calls_in_one_trace_alone_are_told() -> None:
    plain = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    longer = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout())
    traces = []
    for model in (plain, longer):
        with shapetrace.trace(model) as t:
            model(torch.ones(2, 4))
        traces.append(t)
    made = shapetrace.compare(*traces)
    assert [call.name for call in made.only_b] == ["2"] and made.only_a == ()
    assert [d.name for d in made.differences if d.what == "only in b"] == [
        "2",
        "dropout",
    ]


def test_types_differ_where_they_first_do() -> None:
    layer = nn.Linear(4, 3)
    traces = []
    for kind in (torch.float32, torch.float64):
        layer.to(kind)
        with shapetrace.trace(layer) as t:
            layer(torch.ones(2, 4, dtype=kind))
        traces.append(t)
    made = shapetrace.compare(*traces)
    assert made.first is not None
    assert (made.first.name, made.first.what) == ("ones", "dtype")
    assert ("weight dtype", torch.float64) in [(m.what, m.b) for m in made.modules]


def test_the_text_fits_80_columns_and_the_html_is_escaped() -> None:
    model = Cnn()
    made = shapetrace.compare(run(model, [images(64)]), run(model, [images(7)]))
    assert max(map(len, str(made).splitlines())) <= 80
    assert "<table>" in made._repr_html_() and "<Comparison" in repr(made)


def test_the_frame_has_a_row_for_each_call_of_either() -> None:
    model = Cnn()
    good, bad = run(model, [images(64)]), run(model, [images(7)])
    frame = shapetrace.compare(good, bad).to_dataframe()
    assert len(frame) == len(good.calls) + len(good.functions)
    view = frame[frame.name == "view"].iloc[0]
    assert view.outputs_a == ((64, 288),)
    assert view.error_b.startswith("RuntimeError")


def test_what_is_no_trace_is_refused() -> None:
    with pytest.raises(shapetrace.UsageError, match="shapetrace.compare"):
        shapetrace.compare(run(Cnn(), [images(64)]), "trace.json")  # type: ignore


# -- the last good batch --------------------------------------------------------------


def test_the_last_good_batch_of_a_loop_tells_what_changed() -> None:
    found = earlier(run(Cnn(), [images(64), images(64), images(7)]))
    assert found is not None and found.culprit is not None
    assert str(found).startswith("batch 64 → 7; `view(64, -1)` at test_compare.py:")
    assert isinstance(found.call, FunctionCall) and found.call.error is None


def test_a_hidden_state_of_fixed_size_is_named() -> None:
    found = earlier(run(Hidden(), [words(64), words(10)]))
    assert found is not None
    assert (found.literal, found.value) == ("zeros(1, 64, 6)", 64)


def test_a_fixed_size_that_fits_the_data_is_not_blamed_for_the_labels() -> None:
    found = earlier(run(Hidden(), [words(64), words(64, labels=10)]))
    assert found is not None and found.culprit is None
    assert (found.changes[0].before, found.changes[0].now) == (64, 10)


def test_a_number_that_came_from_a_variable_is_not_called_hard_coded() -> None:
    class Rows(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(rows, -1)

    rows = 64
    found = earlier(run(Rows(), [images(64), images(7)]))
    assert found is not None
    assert "still gets 64" in str(found)


def test_without_an_earlier_batch_there_is_nothing_to_tell() -> None:
    assert earlier(run(Cnn(), [images(7)])) is None


def test_calls_of_a_shared_layer_in_one_batch_are_no_earlier_batch() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for width in (4, 3):
                self.fc(x[:, :width])
            return x

    assert earlier(run(Shared(), [(torch.ones(2, 4), torch.ones(2, 4))])) is None


class Waiting(nn.Module):
    def __init__(self):
        super().__init__()
        self.seconds = 0.0

    def forward(self, x):
        time.sleep(self.seconds)
        return x + 1


def test_the_time_is_that_of_what_both_scripts_call_the_model():
    net = Waiting()
    with shapetrace.trace(net) as a:
        net(torch.ones(2))
    net.seconds = 0.1
    with shapetrace.trace(net) as b:
        net(torch.ones(3))
    text = str(shapetrace.compare(a, b))
    assert "\nTime: net " in text and "\nnet    " in text
    critic = net
    with shapetrace.trace(critic) as b:
        critic(torch.ones(3))
    assert "\nTime: Waiting " in str(shapetrace.compare(a, b))
