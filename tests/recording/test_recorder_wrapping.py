"""Modules that are not called plainly: compiled, checkpointed, wrapped, scripted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from invariants import check_invariants
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import shapetrace
from shapetrace import Trace


class Blocks(nn.Sequential):
    """Of one's own: torch 2.9 does not compile a forward of torch's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self:
            x = block(x)
        return x


class Block(nn.Module):
    """One layer and its activation, perhaps checkpointed."""

    def __init__(self, reentrant: bool | None = None) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.reentrant = reentrant

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x).relu()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.reentrant is None:
            return self.body(x)
        return checkpoint(self.body, x, use_reentrant=self.reentrant)


def tree(t: Trace) -> list[tuple[str, str | None]]:
    names = [call.name for call in t.calls]
    return [(c.name, None if c.parent is None else names[c.parent]) for c in t.calls]


# -- compiled -------------------------------------------------------------------------


@pytest.fixture
def compilations() -> Iterator[list[int]]:
    """A backend that counts how often it is asked to compile."""
    torch.compiler.reset()
    yield []
    torch.compiler.reset()


def compiled(way: str, model: nn.Module, count: list[int]) -> nn.Module:
    def backend(graph: torch.fx.GraphModule, example: Any) -> Any:
        count.append(1)
        return graph.forward

    if way == "torch.compile":
        return torch.compile(model, backend=backend)  # type: ignore[return-value]
    model.compile(backend=backend)
    return model


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attr")
@pytest.mark.parametrize("way", ["torch.compile", "Module.compile"])
@pytest.mark.parametrize("warm", [True, False])
def test_compiled_modules_run_eagerly_inside_and_compiled_afterwards(
    way, warm, compilations
):
    model = compiled(way, Blocks(Block(), Block()), compilations)
    x = torch.ones(2, 4)
    if warm:
        expected = model(x)
        assert len(compilations) == 1
    with shapetrace.trace(model) as t:
        y = model(x)
    assert len(compilations) == warm  # nothing was compiled inside
    assert [call.type for call in t.calls][-6:] == [
        *("Blocks", "Block", "Linear", "Block", "Linear")
    ][-6:] or [call.type for call in t.calls] == [
        *("OptimizedModule", "Blocks", "Block", "Linear", "Block", "Linear")
    ]
    assert any("eager" in note for note in t.recording.notes)
    model(x)
    assert len(compilations) == 1  # compiled code again: the old code, if there was
    if warm:
        assert torch.equal(y, expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attr")
def test_a_compiled_part_of_a_model_is_traced_and_stays_compiled(compilations):
    model = nn.Sequential(Block(), compiled("torch.compile", Block(), compilations))
    x = torch.ones(2, 4)
    model(x)
    with shapetrace.trace(model) as t:
        model(x)
    model(x)
    assert len(compilations) == 1
    assert [call.type for call in t.calls].count("Linear") == 2


def test_without_compiled_modules_nothing_is_said_about_compiling():
    with shapetrace.trace(Block()) as t:
        pass
    assert t.recording.notes == ()


# -- the fused fast path --------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
    ],
)
def test_leaving_the_fused_fast_path_is_said(layer):
    model, x = layer(), torch.ones(2, 3, 8)
    given = (x, x, x) if isinstance(model, nn.MultiheadAttention) else (x,)
    traces = []
    for run, roots in (("eval", [model]), ("eval", []), ("train", [model])):
        getattr(model, run)()
        with shapetrace.trace(*roots) as t, torch.no_grad():
            model(*given)
        traces.append(t)
    with shapetrace.trace(model.eval()) as unused:
        pass
    told = [any("fast path" in n for n in t.recording.notes) for t in traces]
    assert told == [True, True, False]
    assert unused.recording.notes == ()


@pytest.mark.parametrize(
    ("run", "grad", "told"),
    [("eval", False, True), ("train", False, False), ("eval", True, False)],
)
def test_leaving_the_fused_fast_path_is_said_of_what_is_not_traced(run, grad, told):
    other = getattr(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), run)()
    with shapetrace.trace(nn.Linear(2, 2)) as t, torch.set_grad_enabled(grad):
        other(torch.ones(2, 3, 8))
    assert any("fast path" in note for note in t.recording.notes) == told


def test_without_functions_the_fused_fast_path_is_taken_as_ever():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        expected = model(x)
        with shapetrace.trace(model, functions=False) as t:
            assert torch.equal(model(x), expected)
    assert t.recording.notes == ()
    assert len(t.calls) == 1  # it calls none of its parts


# -- activation checkpointing ---------------------------------------------------------


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_forwards_are_marked_when_backward_runs_them_again(reentrant):
    model = nn.Sequential(Block(reentrant), Block())
    x = torch.ones(2, 4, requires_grad=True)
    with shapetrace.trace(model) as t:
        model(x).sum().backward()
        model(x)
    check_invariants(t.recording)
    marked = [(call.name, call.recomputed) for call in t.calls]
    forward = [(name, False) for name in ("", "0", "0.fc", "1", "1.fc")]
    assert marked == [*forward, ("0.fc", True), *forward]
    (again,) = [call for call in t.calls if call.recomputed]
    assert again.parent is None


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputation_is_marked_when_a_module_calls_backward_itself(reentrant):
    class Step(nn.Module):
        """A module whose forward is the training step."""

        def __init__(self) -> None:
            super().__init__()
            self.net = Block(reentrant)

        def forward(self, x: torch.Tensor) -> None:
            self.net(x).sum().backward()

    model = Step()
    with shapetrace.trace(model) as t:
        model(torch.ones(2, 4, requires_grad=True))
    marked = [(call.name, call.recomputed) for call in t.calls]
    assert marked == [
        ("", False),
        ("net", False),
        ("net.fc", False),
        ("net.fc", True),
    ]


# -- modules of special kinds ---------------------------------------------------------


def test_a_frozen_module_is_traced_and_stays_frozen():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).requires_grad_(False)
    model[1].eval()
    with shapetrace.trace(model) as t:
        y = model(torch.ones(2, 4))
    assert len(t.calls) == 3
    assert not y.requires_grad and not model[1].training and model.training


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_scripted_part_is_one_call_whose_output_it_made():
    scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 3), nn.ReLU()))
    model = nn.Sequential(nn.Linear(4, 4), scripted, nn.Linear(3, 2))
    with shapetrace.trace(model) as t, torch.no_grad():
        y = model(torch.ones(2, 4))
    names = [call.name for call in t.calls]
    assert [names[0], names[1], names[2], names[-1]] == ["", "0", "1", "2"]
    last = t.calls[-1]
    assert last.inputs[0].id == t.calls[2].outputs[0].id
    assert last.inputs[0].id not in t.recording.origins
    assert "1" in [step.name for step in t.lineage(y)]


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_scripted_part_that_fails_is_the_call_that_failed():
    scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 3), nn.ReLU()))
    model = nn.Sequential(nn.Linear(5, 5), scripted)
    with pytest.raises(RuntimeError):
        with shapetrace.trace() as t:
            model(torch.ones(2, 5))
    failed = {call.name: call.error is not None for call in t.calls}
    assert failed == {"Sequential": True, "Sequential.0": False, "Sequential.1": True}


@pytest.mark.parametrize("way", ["weight_norm", "spectral_norm", "orthogonal"])
def test_a_parametrised_weight_descends_from_its_parameters(way):
    model = nn.Sequential(getattr(parametrizations, way)(nn.Linear(4, 3)))
    with shapetrace.trace(model) as t:
        model(torch.ones(2, 4))
    check_invariants(t.recording)
    calls = {call.name: call for call in t.calls}
    inner = calls["0.parametrizations.weight.0"]
    assert t.calls[inner.parent].name == "0.parametrizations.weight"
    (linear,) = [f for f in t.functions if f.name == "linear"]
    assert linear.inputs[1].id == inner.outputs[0].id
    assert t.calls[linear.parent].name == "0"


def test_a_lazy_module_has_its_parameters_after_its_first_call():
    model = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d())
    with shapetrace.trace(model) as t:
        model(torch.ones(2, 4))
    assert [call.name for call in t.calls] == ["", "0", "1"]
    weight = t.recording.modules["0"].parameters[0]
    assert (weight.path, weight.shape) == ("weight", (3, 4))
    assert t.recording.modules["0"].type == "Linear"
    origins = {(one.kind, one.name) for one in t.recording.origins.values()}
    assert {("parameter", "0.weight"), ("buffer", "1.running_mean")} <= origins


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_nested_tensor_without_one_shape_is_recorded():
    ragged = torch.nested.nested_tensor([torch.ones(2, 4), torch.ones(3, 4)])
    model = nn.Sequential(nn.Linear(4, 3))
    with shapetrace.trace(model) as t:
        y = model(ragged)
        y.to_padded_tensor(0.0) + 1
    check_invariants(t.recording)
    assert [call.outputs[0].shape for call in t.calls] == [(), ()]
    assert t.functions[-1].outputs[0].shape == (2, 3, 3)


def test_the_sizes_of_a_jagged_tensor_are_no_shape_and_every_report_is_made(tmp_path):
    parts = [torch.ones(2, 4), torch.ones(3, 4)]
    jagged = torch.nested.nested_tensor(parts, layout=torch.jagged)
    model = nn.Sequential(nn.Linear(4, 3))
    with shapetrace.trace(model) as t:
        model(jagged).values() + 1
    check_invariants(t.recording)
    assert [call.outputs[0].shape for call in t.calls] == [(), ()]
    assert len(t.to_dataframe(costs=True)) == 2
    t.to_json(tmp_path / "report.json")
    assert shapetrace.load(tmp_path / "report.json") == t


# -- wrappers -------------------------------------------------------------------------


def test_data_parallel_without_accelerators_calls_its_module():
    model = nn.DataParallel(Block(), device_ids=[])
    with shapetrace.trace(model) as t:
        model(torch.ones(2, 4))
    assert tree(t) == [("", None), ("module", ""), ("module.fc", "module")]


def test_the_copies_that_data_parallel_makes_are_called_themselves(monkeypatch):
    # nn.DataParallel copies a module's __dict__, where there is more than one device
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    model = Block()
    with shapetrace.trace(model) as t:
        copies = [part._replicate_for_data_parallel() for part in (model.fc, model)]
        copies[1]._modules["fc"] = copies[0]
        copies[0].weight = torch.zeros(4, 4)
        copies[0].bias = torch.full((4,), 7.0)
        found = copies[1](torch.ones(2, 4))
        model(torch.ones(2, 4))
    assert torch.equal(found, torch.full((2, 4), 7.0))
    assert tree(t) == [("", None), ("fc", "")] * 2


@pytest.fixture
def process_group(tmp_path, monkeypatch) -> Iterator[None]:
    # a group's hook, which prefixes tracebacks with the rank, outlives the group
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="needs gloo",
)
def test_distributed_data_parallel_trains_under_a_trace(process_group):
    plain = Block()
    model = nn.parallel.DistributedDataParallel(Block())
    model.module.load_state_dict(plain.state_dict())
    x = torch.ones(2, 4)
    plain(x).sum().backward()
    with shapetrace.trace(model) as t:
        model(x).sum().backward()
    check_invariants(t.recording)
    assert tree(t) == [("", None), ("module", ""), ("module.fc", "module")]
    assert torch.equal(model.module.fc.weight.grad, plain.fc.weight.grad)


def test_transforms_of_torch_func_run_inside_a_trace():
    model = Block()
    weights = dict(model.named_parameters())

    def loss(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, weights, (x,)).sum()

    x = torch.ones(5, 4)
    expected = torch.vmap(torch.func.grad(loss), (None, 0))(weights, x)
    with shapetrace.trace(model) as t:
        found = torch.vmap(torch.func.grad(loss), (None, 0))(weights, x)
    check_invariants(t.recording)
    assert tree(t) == [("", None), ("fc", "")]
    assert t.calls[0].inputs[0].shape == (4,)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
