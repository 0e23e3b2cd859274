"""A trace without its first step: times, work and memory are those of the others."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import shapetrace

MS = 1_000_000


class Lazy(nn.Module):
    """Sleeps 60 ms in its first call and 10 ms in each other."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 4)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        time.sleep(0.06 if self.calls == 1 else 0.01)
        return self.layer(x)


def train(model, **options):
    optimizer = torch.optim.AdamW(model.parameters())
    with shapetrace.trace(model, **options) as t:
        for x in DataLoader(torch.randn(12, 8), batch_size=4):
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    return t


def test_times_work_and_calls_are_those_of_the_other_steps():
    t = train(Lazy())
    warm = t.warm()
    assert (len(t.steps()), len(warm.steps()), len(warm.calls)) == (3, 2, 4)
    assert 20 * MS <= warm.costs.measured_ns < 50 * MS <= t.costs.measured_ns
    whole, steps = t.steps(), warm.steps()
    assert [one.phases for one in steps] == [one.phases for one in whole.warm]
    assert steps.median_ns() == whole.median_ns() and not steps.has_first
    # a step: 2 * 4 * 8 * 4 forward, and as much backward, since data need no gradient
    assert (t.costs.flops, t.costs.backward_flops) == (3 * 256, 3 * 256)
    assert (warm.costs.flops, warm.costs.backward_flops) == (2 * 256, 2 * 256)
    assert warm.costs.complete


def test_every_call_kept_is_the_same_call():
    t = train(Lazy())
    warm = t.warm()
    start = t.steps()[1].start_ns
    for old, new in zip(t.calls[2:], warm.calls, strict=True):
        assert (old.name, old.outputs, old.duration_ns, old.source) == (
            new.name, new.outputs, new.duration_ns, new.source
        )  # fmt: skip
        assert new.start_ns == old.start_ns - start
    assert [call.parent for call in warm.calls] == [None, 0, None, 2]
    count = len(warm.functions)
    for old, new in zip(t.functions[-count:], warm.functions, strict=True):
        assert (old.name, old.outputs) == (new.name, new.outputs)
    assert sum(one.name == "backward" for one in warm.functions) == 2


def test_the_first_is_marked_and_the_others_are_not():
    t = train(Lazy())
    (said,) = [line for line in str(t.summary(200)).splitlines() if "cold" in line]
    assert "t.warm() leaves it out" in said
    text = str(t.warm().summary(200))
    assert "cold" not in text and "the first step, which warms up, is left out" in text
    frame = t.warm().to_dataframe(by="module").set_index("name")
    assert frame.loc["", "calls"] == 2 and 10 <= frame.loc["", "max_ms"] < 40
    assert frame["first_ms"].isna().all()


def test_memory_is_that_of_the_other_steps():
    warm = train(Lazy(), memory=True).warm()
    memory = warm.memory()
    # 36 parameters of 4 bytes; a state of two for each, and a step of 4 bytes by tensor
    assert (memory.parameters, memory.gradients) == (144, 144)
    assert memory.optimizer >= 2 * 144 + 2 * 4
    assert warm.recording.live[0].time_ns == 0


def test_a_state_of_the_first_step_is_not_missing():
    cell, state = nn.GRUCell(4, 3), torch.zeros(2, 3)
    with shapetrace.trace(cell) as t:
        for _ in range(3):
            state = cell(torch.randn(2, 4), state)
    warm = t.warm()
    assert len(warm.calls) == 2 and warm.costs.complete
    assert warm.costs.flops == t.costs.flops * 2 // 3


def test_files_keep_it(tmp_path):
    warm = train(Lazy(), memory=True).warm()
    warm.to_json(tmp_path / "t.json")
    loaded = shapetrace.load(tmp_path / "t.json")
    assert loaded == warm and loaded.costs == warm.costs
    assert not loaded.steps().has_first and loaded.warm() == loaded


def test_what_has_no_warm_part_says_so():
    model = nn.Linear(8, 4)
    with shapetrace.trace(model) as once:
        model(torch.zeros(2, 8))
    with pytest.raises(shapetrace.UsageError, match="no second one"):
        once.warm()
    with pytest.raises(shapetrace.UsageError, match="timing=False"):
        train(model, timing=False).warm()


def test_steps_inside_one_call_cannot_be_told_apart():
    class Trainer(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 4)

        def forward(self, x):
            optimizer = torch.optim.SGD(self.parameters())
            for _ in range(3):
                self.layer(x).sum().backward()
                optimizer.step()
                optimizer.zero_grad()
            return x

    trainer = Trainer()
    with shapetrace.trace(trainer) as t:
        trainer(torch.zeros(2, 8))
    with pytest.raises(shapetrace.UsageError, match="one call of Trainer"):
        t.warm()


def test_what_dropped_its_first_steps_is_warm_already():
    model = nn.Linear(8, 4)
    with shapetrace.trace(model, max_calls=4) as t:
        for _ in range(10):
            model(torch.zeros(2, 8))
    assert t.warm().calls == t.calls
