"""What one record says, and what the recorder must get right about torch."""

from __future__ import annotations

import contextlib
import gc
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from invariants import check_invariants
from models import Calls
from torch import nn

import shapetrace
from shapetrace import Trace
from shapetrace.trace import Trace as TraceOf

HERE = Path(__file__)


def line(mark: str) -> int:
    """The line of this file that ends in the comment `# <mark>`."""
    lines = HERE.read_text().splitlines()
    (found,) = [n for n, text in enumerate(lines, 1) if text.endswith(f"  # {mark}")]
    return found


def traced(model: nn.Module, *args: Any, **options: Any) -> Trace:
    with shapetrace.trace(model, **options) as t:
        model(*args)
    check_invariants(t.recording)
    return t


def names(t: Trace) -> list[str]:
    return [function.name for function in t.functions]


class Ticks:
    """A clock that moves on by ten nanoseconds whenever it is read."""

    def __init__(self) -> None:
        self.time = 0

    def now(self) -> int:
        self.time += 10
        return self.time

    def resolve(self, stamps: list[int]) -> list[int]:
        return stamps


# -- one record -----------------------------------------------------------------------


def test_a_call_has_shapes_types_and_place_of_what_went_in_and_out():
    model = nn.Sequential(nn.Linear(4, 3, dtype=torch.float64))
    t = traced(model, torch.ones(2, 4, dtype=torch.float64))
    call = t.calls[1]
    assert (call.name, call.type, call.depth, call.parent) == ("0", "Linear", 1, 0)
    (given,), (made,) = call.inputs, call.outputs
    assert (given.path, given.shape) == ("args[0]", (2, 4))
    assert (made.path, made.shape) == ("output", (2, 3))
    assert made.dtype is torch.float64
    assert made.device == torch.device("cpu")
    assert call.error is None


def test_times_come_from_the_clock_that_was_injected():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    t = TraceOf([model], Ticks(), functions=False)
    with t:
        model(torch.ones(2, 4))
    times = [(call.start_ns, call.duration_ns, call.self_ns) for call in t.calls]
    assert times == [(0, 50, 30), (10, 10, 10), (30, 10, 10)]


def test_functions_are_timed_by_the_same_clock():
    model = nn.Sequential(nn.Linear(4, 3))
    t = TraceOf([model], Ticks())
    with t:
        model(torch.ones(2, 4))
    linear = t.functions[-1]
    assert (linear.name, linear.duration_ns) == ("linear", 10)
    assert t.calls[1].start_ns < linear.start_ns
    # called for the function, the function's start and end, the module's end
    assert (t.calls[1].duration_ns, t.calls[1].tracer_ns) == (40, 10)


def test_without_timing_every_time_is_zero():
    t = traced(nn.Linear(4, 3), torch.ones(2, 4), timing=False)
    assert {call.duration_ns for call in t.calls} == {0}
    assert {function.duration_ns for function in t.functions} == {0}


def test_the_recording_ends_with_the_block_and_not_when_it_is_asked_for():
    layer = nn.Linear(4, 4)
    with shapetrace.trace(layer) as t:
        layer(torch.randn(2, 4))
    time.sleep(0.1)
    assert t.recording.duration_ns < 100e6


def test_the_source_is_the_line_of_the_users_code():
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        x = self.fc(x)  # layer
        return x.relu()  # method

    model = Calls(run, fc=nn.Linear(4, 4))
    with shapetrace.trace(model) as t:
        model(torch.ones(2, 4)).sum()  # outside
    assert [call.source.line for call in t.calls] == [line("outside"), line("layer")]
    assert t.calls[0].source.file == str(HERE)
    where = {function.name: function.source.line for function in t.functions}
    assert where["linear"] == line("layer")
    assert where["relu"] == line("method")
    assert where["sum"] == line("outside")
    direct = {function.name: function.direct for function in t.functions}
    assert direct == {"ones": True, "linear": False, "relu": True, "sum": True}


def test_layers_in_a_sequential_are_placed_where_the_sequential_was_called():
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)  # body

    model = Calls(run, body=nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU())))
    t = traced(model, torch.ones(2, 4))
    inside = [call for call in t.calls if call.name.startswith("body")]
    assert {call.source.line for call in inside} == {line("body")}
    assert {f.source.line for f in t.functions} == {line("body")}


def test_an_activation_of_the_user_inside_a_torch_layer_has_its_own_line():
    def activation(x: torch.Tensor) -> torch.Tensor:
        return x.sigmoid()  # activation

    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=activation)
    t = traced(layer, torch.ones(3, 2, 8))
    (function,) = [f for f in t.functions if f.name == "sigmoid"]
    assert (function.source.line, function.direct) == (line("activation"), True)


@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook"])
def test_functions_in_a_users_hook_have_their_own_line(kind):
    def hook(module: nn.Module, args: Any, *output: Any) -> None:
        args[0].tanh()  # hook

    layer = nn.Linear(4, 4)
    with getattr(layer, f"register_{kind}")(hook):
        t = traced(layer, torch.ones(2, 4))
    (function,) = [f for f in t.functions if f.name == "tanh"]
    assert (function.source.line, function.direct) == (line("hook"), True)


@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize("late", [True, False])
def test_the_inputs_of_a_call_are_those_that_pre_hooks_left_to_the_forward(
    functions, late
):
    def first_row(module: nn.Module, args: Any) -> Any:
        return (args[0][:1],)

    def as_keyword(module: nn.Module, args: Any, kwargs: Any) -> Any:
        return (), {"input": args[0].double()}

    layer = nn.Linear(2, 3).double()
    model = nn.Sequential(nn.Identity(), layer)
    with contextlib.ExitStack() as stack:
        hooked = contextlib.ExitStack()
        if late:
            t = stack.enter_context(shapetrace.trace(model, functions=functions))
        hooked.enter_context(layer.register_forward_pre_hook(first_row))
        hooked.enter_context(
            layer.register_forward_pre_hook(as_keyword, with_kwargs=True)
        )
        if not late:
            t = stack.enter_context(shapetrace.trace(model, functions=functions))
        model(torch.ones(4, 2))
        assert len(layer._forward_pre_hooks) == 2
        hooked.close()
    (given,) = t.calls[2].inputs
    assert (given.path, given.shape) == ("kwargs['input']", (1, 2))
    assert given.dtype is torch.float64


def test_a_pre_hook_that_fails_leaves_the_inputs_as_they_came():
    def fails(module: nn.Module, args: Any) -> None:
        raise ValueError("hook")

    layer = nn.Linear(2, 3)
    with layer.register_forward_pre_hook(fails), pytest.raises(ValueError):
        with shapetrace.trace(layer) as t:
            layer(torch.ones(4, 2))
    assert not layer._forward_pre_hooks and not layer._forward_pre_hooks_with_kwargs
    assert t.calls[0].inputs[0].shape == (4, 2) and t.calls[0].error is not None


def test_the_hooks_of_the_user_are_not_kept_alive():
    class Hook:
        """Does nothing."""

        def __call__(self, module: nn.Module, args: Any) -> None:
            pass

    layer, hook = nn.Linear(2, 3), Hook()
    alive = weakref.ref(hook)
    handle = layer.register_forward_pre_hook(hook)
    with shapetrace.trace(layer) as t:
        layer(torch.ones(4, 2))
    handle.remove()
    del layer, hook, handle
    gc.collect()
    assert alive() is None and repr(t)


def test_a_hook_added_inside_the_trace_has_its_own_line_too():
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        output.tanh()  # late hook

    layer = nn.Sequential(nn.Linear(4, 4))
    with shapetrace.trace(layer) as t, layer[0].register_forward_hook(hook):
        layer(torch.ones(2, 4))
    (function,) = [f for f in t.functions if f.name == "tanh"]
    assert function.source.line == line("late hook")


def test_arguments_that_are_no_tensors_are_kept_as_data():
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        x = x.view(2, -1)
        x = F.pad(x, (1, 1), mode="constant", value=2.5)
        return x[:, 1:3].to(torch.float64)

    t = traced(Calls(run), torch.ones(2, 2, 2))
    by_name = {function.name: function for function in t.functions}
    assert by_name["view"].args[1:] == (2, -1)
    assert by_name["pad"].args[1] == (1, 1)
    assert by_name["pad"].kwargs == {"mode": "constant", "value": 2.5}
    assert by_name["getitem"].args[1] == (slice(None), slice(1, 3))
    assert by_name["to"].args[1] is torch.float64


# -- identity of tensors --------------------------------------------------------------


def test_an_in_place_call_gives_its_tensor_a_fresh_id():
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        x = x * 2
        x.add_(1)
        x[0] = 0
        x += 1
        return x

    t = traced(Calls(run), torch.ones(2, 2))
    mul, add, setitem, iadd = t.functions
    assert [mul.outputs[0].id, add.outputs[0].id, setitem.outputs[0].id] == [
        add.inputs[0].id,
        setitem.inputs[0].id,
        iadd.inputs[0].id,
    ]
    assert len({f.outputs[0].id for f in (mul, add, setitem, iadd)}) == 4
    assert t.calls[0].outputs[0].id == iadd.outputs[0].id


def test_python_ids_that_are_used_again_are_not_mistaken_for_old_tensors():
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        for size in range(1, 60):
            torch.ones(size) * 2  # both die at once; their ids are free again
        return x

    t = traced(Calls(run), torch.ones(3))
    products = [f for f in t.functions if f.name == "mul"]
    assert [f.inputs[0].shape[0] for f in products] == list(range(1, 60))
    assert len({f.inputs[0].id for f in products}) == 59


def test_without_functions_a_dead_tensors_id_is_not_used_again():
    model = Calls(lambda self, x: self.fc(x) + self.fc(x + 1), fc=nn.Linear(2, 2))
    t = traced(model, torch.ones(3, 2), functions=False)
    first, second = t.calls[1:]
    assert first.inputs[0].id != second.inputs[0].id
    assert first.outputs[0].id != second.outputs[0].id


@pytest.mark.parametrize("functions", [True, False])
def test_a_shape_changed_in_place_between_two_calls_is_seen(functions):
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x).detach()
        self.same(y)
        y.unsqueeze_(0)
        self.same(y)
        self.same({"y": [y.squeeze_().t_()]})
        return y

    model = Calls(run, fc=nn.Linear(3, 2), same=nn.Identity())
    t = traced(model, torch.ones(4, 3), functions=functions)
    wanted = [(4, 2), (1, 4, 2), (2, 4)]
    calls = t.calls[2:]
    assert [call.inputs[0].shape for call in calls] == wanted
    assert [call.outputs[0].shape for call in calls] == wanted
    assert t.calls[0].outputs[0].shape == (2, 4)


@pytest.mark.parametrize("functions", [True, False])
def test_a_module_that_changes_its_input_in_place_hands_on_another_shape(functions):
    model = nn.Sequential(Calls(lambda self, x: x.unsqueeze_(0)), nn.Identity())
    t = traced(model, torch.ones(4, 2), functions=functions)
    changed, after = t.calls[1:]
    assert (changed.inputs[0].shape, changed.outputs[0].shape) == ((4, 2), (1, 4, 2))
    assert after.inputs[0].shape == (1, 4, 2)
    assert after.inputs[0].id == changed.outputs[0].id


def test_shapes_that_are_read_are_no_functions():
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        assert x.shape == (2, 3) and x.dtype and x.device and x.ndim and x.is_leaf
        assert x.requires_grad is False and x.grad is None
        return x

    t = traced(Calls(run), torch.ones(2, 3))
    assert names(t) == []


def test_attributes_that_are_tensors_are_functions():
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return x.T + x.data.mT + x.H

    t = traced(Calls(run), torch.ones(2, 3))
    assert names(t) == ["T", "data", "mT", "add", "H", "add"]
    assert t.functions[0].outputs[0].shape == (3, 2)


def test_another_shape_set_through_data_is_seen_and_keeps_its_lineage():
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        y.data = torch.zeros(5, 7)
        return y + 1

    t = traced(Calls(run), torch.ones(2, 3))
    add = t.functions[-1]
    assert add.inputs[0].shape == (5, 7)
    (maker,) = [f for f in t.functions if add.inputs[0].id in ids(f.outputs)]
    assert maker.name == "data"
    assert [ref.shape for ref in maker.inputs] == [(2, 3), (5, 7)]


def ids(refs: Any) -> list[int]:
    return [ref.id for ref in refs or ()]


def test_parameters_stay_parameters_when_their_gradients_are_cleared():
    model = nn.Linear(2, 2)
    with shapetrace.trace(model) as t:
        for _ in range(2):
            model(torch.ones(1, 2)).sum().backward()
            model.zero_grad()
            model.weight.data = model.weight.data * 0.5
            model.bias.requires_grad = True
    _, second = [f for f in t.functions if f.name == "linear"]
    assert [t.recording.origins[ref.id].name for ref in second.inputs[1:]] == [
        "weight",
        "bias",
    ]


def test_a_lineage_ends_at_parameters_factories_and_data_from_outside():
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) + torch.zeros(3) + self.scale

    model = Calls(run, fc=nn.Linear(4, 3))
    model.register_buffer("scale", torch.ones(3))
    x = torch.ones(2, 4)
    t = traced(model, x)
    linear, zeros, first, second = t.functions
    origins = t.recording.origins
    assert [origins[ref.id].kind for ref in linear.inputs] == [
        "outside",
        "parameter",
        "parameter",
    ]
    assert origins[linear.inputs[1].id].name == "fc.weight"
    assert first.inputs[1].id == zeros.outputs[0].id
    assert (zeros.name, zeros.source.file) == ("zeros", str(HERE))
    assert origins[second.inputs[1].id].kind == "buffer"
    assert origins[second.inputs[1].id].name == "scale"
