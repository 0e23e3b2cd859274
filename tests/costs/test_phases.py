"""Where steps go, by sleeps of known length; lines of the same program."""

from __future__ import annotations

import sys
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

import shapetrace
from shapetrace.costs.lines import by_line
from shapetrace.costs.phases import steps
from shapetrace.records import (
    FunctionCall,
    ModuleCall,
    ModuleInfo,
    Range,
    Recording,
    Source,
    TensorRef,
)

MS = 1_000_000


class Slow(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        time.sleep(0.01)
        return torch.randn(4), torch.tensor(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        time.sleep(0.03)
        y = self.layer(x)
        y.register_hook(lambda gradient: time.sleep(0.04))
        return y


class Optimizer(torch.optim.SGD):
    def step(self, closure=None):
        time.sleep(0.015)
        return super().step(closure)


def criterion(output, target):
    loss = F.cross_entropy(output, target)
    time.sleep(0.025)
    return loss + 0 * output.sum()


@pytest.fixture(scope="module")
def trained():
    model = Net()
    optimizer = Optimizer(model.parameters(), lr=0.1)
    with shapetrace.trace(model) as t:
        for x, y in DataLoader(Slow(), batch_size=2):
            loss = criterion(model(x), y)
            loss.backward()
            time.sleep(0.005)
            optimizer.step()
            optimizer.zero_grad()
    return t.recording, t.costs


SLEPT = {
    "data": 20,
    "forward": 30,
    "loss": 25,
    "backward": 40,
    "optimizer": 15,
    "rest": 5,
}


def test_every_phase_has_the_time_that_it_slept(trained):
    found = steps(trained[0])
    assert len(found) == 3 and list(found[0].phases) == list(SLEPT)
    for step in found:
        assert sum(step.phases.values()) == step.duration_ns
    for phase, slept in SLEPT.items():
        fastest = min(step.phases[phase] for step in found)
        # what runs beside may take its share of a wait
        assert slept <= fastest / MS < slept + 400, phase


def test_lines_have_the_time_that_was_spent_on_them(trained):
    found = by_line(*trained)
    by_name = {name: line for line in reversed(found) for name in line.names}
    assert by_name["Optimizer.step#Optimizer.step"].time_ns >= 3 * 15 * MS
    assert by_name["backward"].time_ns >= 3 * 40 * MS
    assert by_name["Net"].time_ns >= 3 * 30 * MS
    assert by_name["stack"].time_ns >= 6 * 10 * MS
    assert by_name["linear"].flops == 3 * 2 * 2 * 4 * 3
    assert [line.time_ns for line in found] == sorted(
        (line.time_ns for line in found), reverse=True
    )


def span(phase, start, end, source=None):
    names = {"data": "enumerate(DataLoader)#X", "optimizer": "Optimizer.step#X.step"}
    return Range(names.get(phase, phase), start, end - start, source)


def forward(at, start, end):
    return ModuleCall(at, None, 0, "", "M", (), (), start, end - start)


def function(at, name, start, end, source=None, parent=None):
    return FunctionCall(
        at, parent, name, name, (), (), start, end - start, source=source
    )


LINE = Source("train.py", 10, "main")


def test_what_the_loop_does_before_torch_is_called_is_in_the_first_step(tmp_path):
    """It reads its data by itself: 20 ms in each of two steps."""
    model = nn.Linear(4, 3)
    with shapetrace.trace(model) as t:
        for _ in range(2):
            time.sleep(0.02)
            model(torch.randn(2, 4)).sum().backward()
    t.to_json(tmp_path / "t.json")
    for found in (t.steps(), shapetrace.load(tmp_path / "t.json").steps()):
        assert [one.phases["rest"] > 15 * MS for one in found] == [True, True]
    with shapetrace.trace() as t:  # which may have imported and built the model
        time.sleep(0.02)
        nn.Linear(4, 3)(torch.randn(2, 4))
    assert t.recording.before_ns == 0


def test_two_optimizers_make_one_step():
    other = Source("train.py", 20, "main")
    ranges = tuple(
        span("optimizer", begin, begin + 10, line)
        for begin, line in [(50, LINE), (90, other), (150, LINE), (190, other)]
    )
    rec = Recording((forward(0, 0, 40),), (), {}, {}, ranges=ranges, duration_ns=200)
    found = steps(rec)
    assert [(one.start_ns, one.duration_ns) for one in found] == [(0, 100), (100, 100)]
    assert found[0].phases == {"forward": 40, "loss": 0, "optimizer": 20, "rest": 40}


def test_a_closure_that_the_optimizer_calls_keeps_its_own_phases():
    backward = function(0, "backward", 40, 70, LINE)
    rec = Recording(
        (forward(0, 10, 40),), (backward,), {}, {},
        ranges=(span("optimizer", 0, 100, LINE),), duration_ns=100,
    )  # fmt: skip
    phases = steps(rec)[0].phases
    assert phases == {
        "forward": 30, "loss": 0, "backward": 30, "optimizer": 40, "rest": 0
    }  # fmt: skip


@pytest.mark.parametrize("place", ["main", "criterion"])
def test_the_loss_in_a_closure_is_not_the_optimizers(place):
    """Called by the closure it is 5, and of a function of its own from the forward's
    end on 12; what the optimizer computes after the backward is its own."""
    at = Source("train.py", 1, place)
    rec = Recording(
        (forward(0, 10, 40),),
        (
            function(0, "exp", 47, 52, at),
            function(1, "backward", 55, 70, LINE),
            function(2, "exp", 80, 90, at),
        ),
        {}, {}, ranges=(span("optimizer", 0, 100, LINE),), duration_ns=100,
    )  # fmt: skip
    loss = {"main": 5, "criterion": 12}[place]
    assert steps(rec)[0].phases == {
        "forward": 30, "loss": loss, "backward": 15, "optimizer": 55 - loss, "rest": 0
    }  # fmt: skip


def test_a_loss_that_calls_helpers_is_one_until_the_loop_goes_on():
    """From the forward's end to 70 it is `criterion`'s, whose helper is called in
    between; what the loop calls at 75 is counted by itself, and so is what comes of
    `criterion` from then on."""
    at = {name: Source("train.py", 1, name) for name in ("criterion", "helper", "main")}
    spans = [
        *(("criterion", 40, 45), ("helper", 50, 52), ("criterion", 60, 70)),
        *(("main", 75, 76), ("criterion", 80, 82)),
    ]
    functions = tuple(
        function(index, "exp", start, end, at[place])
        for index, (place, start, end) in enumerate(spans)
    )
    backward = function(len(spans), "backward", 90, 100, at["main"])
    rec = Recording(
        (forward(0, 0, 35),), (*functions, backward), {}, {}, duration_ns=100
    )
    assert steps(rec)[0].phases["loss"] == (70 - 35) + (82 - 75)


def test_without_a_loop_it_is_said_what_is_not_known():
    model = nn.Linear(4, 3)
    with shapetrace.trace(model) as t:
        for _ in range(3):
            model(torch.randn(2, 4)).sum().backward()
    found = steps(t.recording)
    assert len(found) == 3
    assert "data" not in found[0].phases and "optimizer" not in found[0].phases
    assert any("DataLoader" in note for note in found.notes)
    assert any("ends with its backward" in note for note in found.notes)
    assert "3 steps of" in str(found) and "the first took" in str(found)


def test_forwards_alone_are_steps_too():
    model = nn.Linear(4, 3)
    with torch.no_grad(), shapetrace.trace(model) as t:
        for _ in range(4):
            model(torch.randn(2, 4))
    assert len(steps(t.recording)) == 4


def test_a_model_that_gives_its_loss_is_the_forward_of_every_step():
    class Model(nn.Linear):
        def forward(self, x):
            end = time.thread_time_ns() + 10 * MS  # what waits may be taken off
            while time.thread_time_ns() < end:
                pass
            return super().forward(x).square().mean()

    model = Model(4, 2)
    with shapetrace.trace(model) as t:
        for _ in range(3):
            model(torch.ones(3, 4)).backward()
    for step in t.steps():
        assert step.phases["forward"] >= 10 * MS and step.phases["loss"] < 5 * MS


def test_a_fault_in_the_steps_costs_the_summary_nothing_else(monkeypatch):
    def broken(*args):
        raise ZeroDivisionError

    model = nn.Linear(4, 2)
    with shapetrace.trace(model) as t:
        model(torch.ones(3, 4))
    monkeypatch.setattr("shapetrace.costs.phases._exclusive", broken)
    with pytest.warns(shapetrace.ShapeTraceWarning, match="the steps"):
        assert len(t.steps()) == 0
    assert "48 FLOPs forward" in str(t.summary())


def long_run(count):
    """Steps of a forward of 4 ns, a loss of 2 and a backward of 3, in this order."""
    scalar = TensorRef("self", 1, (), torch.float32, torch.device("cpu"))
    calls, functions, parts = [], [], [("sum", 4, 2), ("backward", 6, 3)]
    for step in range(count):
        now, order = 10 * step, 10 * step
        calls.append(
            ModuleCall(
                step,
                None,
                0,
                "",
                "Net",
                (),
                (),
                start_ns=now,
                duration_ns=4,
                order=order,
                end_order=order + 1,
            )
        )
        for at, (name, start, took) in enumerate(parts):
            functions.append(
                FunctionCall(2 * step + at, None, name, f"torch.Tensor.{name}",
                             (scalar,), (), start_ns=now + start, duration_ns=took,
                             source=Source("train.py", at), order=order + 2 + at)
            )  # fmt: skip
    infos = {"": ModuleInfo("", "Net", "train.Net")}
    duration = 10 * count
    return Recording(tuple(calls), tuple(functions), infos, {}, duration_ns=duration)


def lines_run(work):
    """What a function gives, and how many lines of Python it takes."""
    count, before = 0, sys.gettrace()

    def seen(frame, event, arg):
        nonlocal count
        count += event == "line"
        return seen

    sys.settrace(seen)
    try:
        return work(), count
    finally:
        sys.settrace(before)


def test_the_steps_of_a_long_run_are_not_searched_for():
    taken = []
    for size in (100, 800):
        rec = long_run(size)
        found, lines = lines_run(lambda: steps(rec).steps)
        taken.append(lines)
        wanted = {"forward": 4, "loss": 2, "backward": 3}
        assert len(found) == size
        assert all(one.phases.items() >= wanted.items() for one in found)
    # 8 times as many steps; when each looked at all of them, it was 59 times as much
    assert taken[1] < 10 * taken[0]


def bounded(count):
    """The newest calls of a model, of 1 ms in each 2, before which 100 ms were."""
    calls = tuple(
        ModuleCall(at, None, 0, "", "Net", (), (), start_ns=2 * at * MS,
                   duration_ns=MS, self_ns=MS)
        for at in range(count)
    )  # fmt: skip
    return steps(
        Recording(
            calls, (), {}, {}, dropped_calls=50, before_ns=100 * MS,
            duration_ns=2 * count * MS,
        )
    )  # fmt: skip


def test_a_step_of_which_a_bound_dropped_a_part_is_none():
    found = bounded(3)
    assert [one.duration_ns for one in found] == [2 * MS] * 2
    assert not found.has_first and "beginning" not in str(found)


def test_of_one_step_only_what_was_kept_is_told():
    found = bounded(1)
    assert [one.duration_ns for one in found] == [MS]
    assert "max_calls dropped the beginning of this one step" in str(found)


@pytest.mark.filterwarnings("error:a fault of shapetrace")
@pytest.mark.parametrize("most", [2, 3])
def test_a_bound_that_keeps_no_end_of_a_step_costs_no_step_and_no_fault(most):
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 5))
    optimizer = torch.optim.Adam(net.parameters())
    target = torch.zeros(4, dtype=torch.long)
    with shapetrace.trace(net, max_calls=most, checks=False) as t:
        for _ in range(6):
            F.cross_entropy(net(torch.randn(4, 8)), target).backward()
            optimizer.step()
    assert len(list(t.steps())) == 0 and str(t.summary())
