"""Raw events to records: names of functions, and reading a trace while it runs."""

from __future__ import annotations

import operator

import pytest
import torch
import torch.nn.functional as F
from invariants import check_invariants
from torch import nn

import shapetrace

NAMES = [
    (lambda x: x + 1, "add", None),
    (lambda x: 1 + x, "add", None),
    (lambda x: x @ x, "matmul", None),
    (lambda x: 1 / x, "div", None),
    (lambda x: 2**x, "pow", "torch.Tensor.__rpow__"),
    (lambda x: x // 2, "floor_divide", None),
    (lambda x: x % 2, "remainder", None),
    (lambda x: ~(x > 0), "bitwise_not", None),
    (lambda x: x[0], "getitem", "torch.Tensor.__getitem__"),
    (lambda x: x.view(-1), "view", "torch.Tensor.view"),
    (lambda x: torch.cat([x, x]), "cat", "torch.cat"),
    (lambda x: F.relu(x), "relu", "torch.nn.functional.relu"),
    (lambda x: F.mse_loss(x, x), "mse_loss", "torch.nn.functional.mse_loss"),
    (lambda x: torch.fft.fft(x), "fft_fft", None),
    (lambda x: torch.linalg.norm(x), "linalg_norm", None),
    (lambda x: operator.iadd(x.clone(), 1), "add_", None),
]


@pytest.mark.parametrize(("run", "name", "qualname"), NAMES)
def test_functions_are_named_as_they_are_written(run, name, qualname):
    x = torch.ones(2, 2)
    with shapetrace.trace(nn.ReLU()) as t:
        run(x)
    last = t.functions[-1]
    assert last.name == name
    assert last.qualname.startswith("torch")
    assert qualname in (None, last.qualname)


def test_a_function_that_a_library_has_wrapped_keeps_its_name(monkeypatch):
    """torchlens leaves wrappers in torch's namespaces for the rest of the process."""
    conv2d = F.conv2d

    def wrapped(*args, **kwargs):
        return conv2d(*args, **kwargs)

    monkeypatch.setattr(torch, "conv2d", wrapped)
    monkeypatch.setattr(F, "conv2d", wrapped)
    layer, x = nn.Conv2d(3, 4, 3, bias=False), torch.ones(2, 3, 8, 8)
    with shapetrace.trace(layer) as t:
        layer(x)
    assert [call.qualname for call in t.functions] == ["torch.conv2d"]
    assert t.costs.flops == 2 * (2 * 4 * 6 * 6) * (3 * 3 * 3)
    assert t.costs.uncounted == ()


def test_a_trace_can_be_read_while_it_runs():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    seen = []

    def look(module: nn.Module, args: tuple[torch.Tensor]) -> None:
        seen.append([(c.name, c.outputs is None, c.error) for c in t.calls])

    with model[1].register_forward_pre_hook(look):
        with shapetrace.trace(model) as t:
            model(torch.ones(2, 4))
            inside = [call.name for call in t.calls]
    assert seen == [[("", True, None), ("0", False, None), ("1", True, None)]]
    assert inside == [call.name for call in t.calls] == ["", "0", "1"]
    check_invariants(t.recording)


def test_what_was_recorded_does_not_change_when_read_again():
    model = nn.Linear(4, 3)
    with shapetrace.trace(model) as t:
        model(torch.ones(2, 4))
    first = t.recording
    model(torch.ones(5, 4))
    assert t.recording is first


def test_modules_are_known_by_their_parameters_and_plain_attributes():
    model = nn.Sequential(nn.Conv2d(3, 8, (3, 5)), nn.BatchNorm2d(8)).eval()
    with shapetrace.trace(model) as t:
        model(torch.ones(1, 3, 8, 8))
    conv, norm = t.recording.modules["0"], t.recording.modules["1"]
    assert (conv.type, conv.qualname) == ("Conv2d", "torch.nn.modules.conv.Conv2d")
    assert [(p.path, p.shape) for p in conv.parameters] == [
        ("weight", (8, 3, 3, 5)),
        ("bias", (8,)),
    ]
    assert conv.attributes["out_channels"] == 8
    assert conv.attributes["kernel_size"] == (3, 5)
    assert [b.path for b in norm.buffers][:2] == ["running_mean", "running_var"]
    assert conv.training is False


def test_without_functions_the_lineage_goes_from_module_to_module():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, 2))
    with shapetrace.trace(model, functions=False) as t:
        y = model(torch.ones(2, 4))
    assert t.functions == ()
    assert [step.name for step in t.lineage(y)] == ["2", "1", "0"]


def test_a_model_that_is_gone_when_the_block_ends_keeps_what_it_was():
    def train():
        model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).eval()
        model(torch.ones(2, 4))

    with shapetrace.trace() as t:
        train()
    modules = t.recording.modules
    linear, norm = modules["Sequential.0"], modules["Sequential.1"]
    assert [p.shape for p in linear.parameters] == [(3, 4), (3,)]
    assert linear.attributes["out_features"] == 3
    assert not norm.training and [b.path for b in norm.buffers][0] == "running_mean"
    assert "21 parameters" in str(t)
