"""A class index that breaks a kernel on a GPU, told from a recording of the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
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


@pytest.mark.parametrize("said", [ASSERT.message, "CUDA error: CUBLAS_STATUS_ALLOC"])
def test_the_lookup_is_blamed_whose_index_broke_the_device_later(said):
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2))
    words = torch.tensor([1, 9, 3])
    with shapetrace.trace(model) as t:
        model(words).sum()
    rec = t.recording
    index = rec.functions[0].inputs[0].id
    error = replace(ASSERT, message=said)
    last = replace(rec.functions[-1], error=error, outputs=None)
    on_gpu = replace(
        rec,
        value_ranges={index: (1, 10)},
        functions=(*rec.functions[:-1], last),
        error=error,
    )
    failure = diagnose_failure(Graph(on_gpu))
    assert failure.where == "module:0" and "index 10 is out of range" in str(failure)
    assert {one.kind for one in failure.culprits} == {"input", "module"}
    good = diagnose_failure(Graph(replace(on_gpu, value_ranges={index: (1, 9)})))
    assert good.where == "function:sum"


def test_data_left_on_the_processor_before_a_convolution():
    model = nn.Conv2d(3, 4, 3)
    images = torch.randn(2, 3, 8, 8)
    with shapetrace.trace(model) as t:
        model(images)
    rec = t.recording
    message = (
        "Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) "
        "should be the same or input should be a MKLDNN tensor and weight is a dense "
        "tensor"
    )
    cuda = torch.device("cuda:0")
    (call,), (info,) = rec.functions, rec.modules.values()
    data, *weights = call.inputs
    on_gpu = tuple(replace(one, device=cuda) for one in weights)
    error = CallError("RuntimeError", message, 7)
    failed = replace(call, inputs=(data, *on_gpu), outputs=None, error=error)
    parameters = tuple(replace(one, device=cuda) for one in info.parameters)
    modules = {"": replace(info, parameters=parameters)}
    rec = replace(rec, functions=(failed,), modules=modules, error=error)
    failure = diagnose_failure(Graph(rec))
    assert failure.message == "`model` (Conv2d) failed: devices differ, cpu and cuda:0."
    assert failure.culprits[0].kind == "input"
