"""A class index that breaks a kernel on a GPU, told from a recording of the CPU."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

import shapetrace
from shapetrace.diagnosis import diagnose_failure
from shapetrace.lineage import Graph
from shapetrace.records import CallError

ASSERT = CallError("AcceleratorError", "CUDA error: device-side assert triggered", 7)


def test_the_loss_is_blamed_not_the_call_in_which_the_assert_came_up():
    model = nn.Linear(8, 5)
    with shapetrace.trace(model) as t:
        loss = F.cross_entropy(model(torch.randn(4, 8)), torch.tensor([0, 1, 2, 4]))
        loss.backward()
    rec = t.recording
    (target,) = rec.value_ranges
    last = replace(rec.functions[-1], error=ASSERT, outputs=None)
    on_gpu = replace(
        rec,
        value_ranges={target: (0, 5)},
        functions=(*rec.functions[:-1], last),
        error=ASSERT,
    )
    failure = diagnose_failure(Graph(on_gpu))
    assert failure.where == "loss:cross_entropy"
    # one class too few, or a label too many: as `class beyond the classes` has it
    either = {culprit.kind: culprit for culprit in failure.culprits[:2]}
    assert either["target"].size == 5 and either["module"].expected == 6
