"""Of a run longer than the bound the first calls and the newest are kept, and figures
of those between: as many and as long as the clock says, in memory that does not grow.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import shapetrace
from shapetrace.costs import statistics, steps
from shapetrace.trace import Trace


class Clock:
    """Stands still unless it is set forward."""

    def __init__(self):
        self.time = 0

    def now(self):
        return self.time

    def resolve(self, stamps):
        return list(stamps)


class Slow(nn.Module):
    """Takes 5 by itself and its layer 100; 1,000 in the tenth step."""

    def __init__(self, clock):
        super().__init__()
        self.layer = Layer(clock)
        self.clock = clock

    def forward(self, x):
        self.clock.time += 5
        return self.layer(x)


class Layer(nn.Linear):
    def __init__(self, clock):
        super().__init__(4, 3)
        self.clock = clock

    def forward(self, x):
        self.clock.time += 1_000 if len(x) == 10 else 100
        return super().forward(x)


def trained(steps=20, last=None):
    """Steps of growing batches, two module calls and 25 beside the model each. Of a
    bound of 32 the first calls take 8, which are 4 steps, and a part 4, two steps; the
    newest are one part or two."""
    clock = Clock()
    model = Slow(clock)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    t = Trace((model,), clock, max_calls=32, keep_first=True)
    with t:
        data = torch.zeros(steps, 4)
        for step in range(1, steps + 1):
            clock.time += 25
            model(data[:step]).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        if last is not None:
            last(model, data)
    return t


def batches(t):
    return [call.inputs[0].shape[0] for call in t.calls if call.parent is None]


def test_the_first_steps_and_the_newest_are_kept_and_the_others_counted():
    t = trained()
    assert batches(t) == [1, 2, 3, 4, 19, 20]
    left = t.recording.left_out
    assert (left.calls, left.following) == (28, 8)
    assert t.recording.dropped_calls == 28 and t.recording.has_first
    whole, layer = left.modules[""], left.modules["layer"]
    assert (whole.count, layer.count) == (14, 14)
    # thirteen steps of 105 and one of 1005
    assert (whole.total_ns, layer.total_ns) == (13 * 105 + 1005, 13 * 100 + 1000)
    assert whole.own_ns == 14 * 5
    assert (layer.min_ns, layer.max_ns) == (100, 1000)
    assert sum(layer.spread.values()) == 14
    assert sorted(layer.spread) == pytest.approx([100, 1000], rel=0.006)


def test_a_step_of_the_optimizer_comes_as_often_as_it_did():
    steps = trained().recording.left_out.steps
    # fourteen steps begin thirteen times anew: 25, 5 and 100, once 25, 5 and 1,000
    assert (steps.count, steps.total_ns) == (13, 12 * 130 + 1030)


def test_statistics_are_of_the_whole_run():
    found = statistics(trained().recording)
    assert (found["layer"].calls, found["layer"].total_ns) == (20, 19 * 100 + 1000)
    assert (found["layer"].min_ns, found["layer"].max_ns) == (100, 1000)
    assert found["layer"].median_ns == pytest.approx(100, rel=0.006)
    assert found[""].own_ns == 20 * 5
    assert found["layer"].first_ns == 100


def test_the_time_between_is_no_step():
    # by its own clock, which the tracer's cost knows nothing of
    found = steps(trained().recording)
    assert [step.duration_ns for step in found] == [130] * 6
    assert found.has_first and "13 more steps" in str(found)


def test_what_is_kept_does_not_grow_with_the_run():
    sizes = {}
    for count in (40, 80):
        t = trained(count)
        sizes[count] = (len(t.calls), len(t.functions), len(t.recording.origins))
    assert sizes[40] == sizes[80]


def test_a_tensor_of_the_first_steps_is_still_known_by_what_made_it():
    def fails(model, data):
        model(data[:, :3])

    with pytest.raises(RuntimeError) as caught:
        trained(last=fails)
    (note,) = caught.value.__notes__
    assert "zeros" in note and "An earlier batch went through" in note


def test_what_was_written_to_in_between_is_not_taken_for_what_it_was():
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters())
    with Trace((model,), Clock(), max_calls=16, keep_first=True) as t:
        kept, changed = torch.zeros(2, 4), torch.zeros(2, 4)
        for step in range(30):
            (model(kept) + model(changed)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            if step == 15:
                changed.add_(1)
    assert t.recording.left_out is not None
    assert [step.name for step in t.lineage(kept)] == ["zeros"]
    assert "zeros" not in [step.name for step in t.lineage(changed)]


def test_gradients_that_nobody_clears_are_found_in_the_first_steps_of_a_long_run():
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters())
    t = Trace((model,), Clock(), max_calls=16, keep_first=True)
    with pytest.warns(shapetrace.ShapeTraceWarning, match="nobody"):
        with t:
            for _ in range(40):
                model(torch.ones(2, 4)).sum().backward()
                optimizer.step()
    assert t.recording.left_out is not None
    assert [finding.code for finding in t.findings] == ["gradients-not-cleared"]


def test_two_optimizers_in_turn_are_no_finding_in_a_long_run():
    ahead, critic = nn.Linear(4, 3), nn.Linear(3, 1)
    optimizers = [torch.optim.Adam(one.parameters()) for one in (ahead, critic)]
    t = Trace((ahead, critic), Clock(), max_calls=30, keep_first=True)
    with t:
        for _ in range(40):
            for optimizer in optimizers:
                for one in optimizers:
                    one.zero_grad()
                critic(ahead(torch.ones(2, 4))).sum().backward()
                optimizer.step()
    assert t.recording.left_out is not None and t.findings == ()


@pytest.mark.parametrize("functions", [True, False])
def test_batches_without_an_optimizer_are_kept_whole(functions):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with Trace(
        (model,), Clock(), max_calls=36, keep_first=True, functions=functions
    ) as t:
        for step in range(1, 41):
            model(torch.zeros(step, 4))
    kept = batches(t)
    assert len(t.calls) == 3 * len(kept) <= 36
    assert kept[:3] == [1, 2, 3] and kept[-1] == 40
    assert t.recording.left_out.modules["1"].count == 40 - len(kept)


def test_of_one_endless_call_the_newest_are_kept():
    layer = nn.Linear(4, 4)

    class Loop(nn.Module):
        def forward(self, x):
            for _ in range(50):
                x = layer(x)
            return x

    with Trace((), Clock(), max_calls=16, keep_first=True) as t:
        Loop()(torch.zeros(2, 4))
    assert t.recording.left_out is None and not t.recording.has_first
    assert t.calls[0].type == "Loop" and t.calls[0].outputs[0].shape == (2, 4)
    assert any("were dropped" in note for note in t.recording.notes)


def test_a_run_of_half_the_bound_is_kept_whole():
    t = trained(steps=7)
    assert batches(t) == [1, 2, 3, 4, 5, 6, 7]
    assert t.recording.left_out is None and t.recording.notes == ()


def test_many_functions_beside_few_module_calls_are_bounded_too():
    """Twenty a batch, as a loader's transforms: of a bound of 32 calls 8 a call are
    kept, 64 with the first calls and at most 64 in each of two parts."""
    model = nn.Linear(4, 3)
    t = Trace((model,), Clock(), max_calls=32, keep_first=True)
    with t:
        for step in range(1, 31):
            x = torch.zeros(step, 4)
            for _ in range(20):
                x = x + 1
            model(x)
    assert t.recording.left_out is not None
    assert batches(t)[:2] == [1, 2] and batches(t)[-1] == 30
    assert 128 <= len(t.functions) <= 3 * 64 + 3 * 22


def test_the_whole_run_has_a_table_of_its_own(tmp_path):
    t = trained()
    text = str(t)
    assert "12 of 40 module calls" in text
    assert "The whole run, 40 module calls" in text
    below = text.partition("The whole run")[2].splitlines()
    row = next(line for line in below if "layer" in line)
    assert row.split()[1] == "20"
    t.to_html(tmp_path / "t.html")
    assert "The whole run, 40 module calls" in (tmp_path / "t.html").read_text()
    t.to_json(tmp_path / "t.json")
    assert shapetrace.load(tmp_path / "t.json") == t
    assert str(shapetrace.load(tmp_path / "t.json")) == text


def test_losses_made_anew_for_each_batch_are_one_row_of_the_whole_run():
    model = nn.Linear(4, 3)
    with Trace((), Clock(), max_calls=32, keep_first=True) as t:
        for _ in range(60):
            nn.MSELoss()(model(torch.zeros(2, 4)), torch.zeros(2, 3))
    below = str(t).partition("The whole run, 120 module calls")[2]
    rows = [line.split()[:2] for line in below.splitlines() if "MSELoss" in line]
    assert rows == [["MSELoss", "60"]]
