"""Times without what the tracer took: of calls, of functions, and how sure that is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from stepping import Steps
from torch import nn

import shapetrace
from shapetrace.costs import costs
from shapetrace.recording.overhead import calibrate
from shapetrace.records import (
    FunctionCall,
    ModuleCall,
    ModuleInfo,
    Overhead,
    Recording,
    TensorRef,
)
from shapetrace.trace import Trace


def call(index, parent, start, duration, own, **more):
    return ModuleCall(
        index, parent, int(parent is not None), f"m{index}", "M", (), (),
        start_ns=start, duration_ns=duration, self_ns=own, **more,
    )  # fmt: skip


def test_the_tracers_own_cost_is_taken_off_the_parents():
    children = [layer(at, 0, 100 * at, 60, 60, "M") for at in range(1, 11)]
    cost = Overhead(module=50, module_inside=10, function=0, function_inside=0)
    rec = Recording((call(0, None, 0, 1200, 600), *children), (), {}, {}, overhead=cost)
    found = costs(rec)
    assert found.calls[1].corrected_ns == 50
    assert found.calls[0].corrected_ns == 1200 - 10 - 10 * 50
    assert found.calls[0].corrected_self_ns == 600 - 10 - 10 * 40
    assert found.distortion == pytest.approx(510 / 1200)


def layer(index, parent, start, duration, own, type_):
    made = call(index, parent, start, duration, own)
    return replace(made, name=f"{type_}{index}", type=type_)


def test_torchs_own_layers_tell_how_dear_the_tracer_was_in_this_batch():
    """In a warm cache it takes 100 of each layer; here it took 150 (or 300) of each."""
    cost = Overhead(
        module=100, module_inside=100, function=0, function_inside=0, layer_bare=20
    )
    for cold in (1.5, 3.0):
        took = round(120 * cold)
        layers = [layer(at, 0, 1000 * at, took, took, "ReLU") for at in range(1, 9)]
        top = layer(0, None, 0, 9000, 1000, "Net")
        infos = {
            one.name: ModuleInfo(one.name, "ReLU", "torch.nn.ReLU") for one in layers
        }
        found = costs(Recording((top, *layers), (), infos, {}, overhead=cost))
        assert {one.corrected_ns for one in found.calls[1:]} == {20 * cold}
        assert found.calls[0].corrected_self_ns == 1000 - 100 * cold


@pytest.mark.parametrize(
    ("kind", "own"),
    # of 3330, where the tracer takes 910 and the calls 200 in a warm cache: the part
    # that is the calls'; all but what the tracer takes
    [("torch.nn.modules.container.Sequential", 600), ("nets.Net", 3330 - 910)],
)
def test_a_loop_over_layers_has_no_python_of_its_own(kind, own):
    cost = Overhead(
        module=100, module_inside=10, function=0, function_inside=0, module_bare=20
    )
    layers = [layer(at, 0, 1000 * at, 10, 10, "ReLU") for at in range(1, 11)]
    infos = {one.name: ModuleInfo(one.name, "ReLU", "torch.nn.ReLU") for one in layers}
    infos["Net0"] = ModuleInfo("Net0", "Net", kind)
    top = layer(0, None, 0, 10_000, 3330, "Net")
    found = costs(Recording((top, *layers), (), infos, {}, overhead=cost))
    assert found.calls[0].corrected_self_ns == own


def test_an_interruption_of_one_layer_is_not_that_of_the_others():
    cost = Overhead(
        module=100, module_inside=100, function=0, function_inside=0, layer_bare=20
    )
    times = [120] * 8 + [90_000]
    layers = [layer(at, None, 0, time, time, "ReLU") for at, time in enumerate(times)]
    infos = {one.name: ModuleInfo(one.name, "ReLU", "torch.nn.ReLU") for one in layers}
    found = costs(Recording(tuple(layers), (), infos, {}, overhead=cost))
    assert [one.corrected_ns for one in found.calls[:8]] == [20] * 8


class ReadsTwice(nn.Module):
    """Reads its bias twice and its weight once."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(2)), nn.Parameter(
            torch.ones(2)
        )

    def forward(self, x):
        return x if self.bias is None else x * self.weight + self.bias


@pytest.mark.parametrize(
    ("module", "reads"),
    [
        # running_mean, running_var twice each, num_batches_tracked three times
        (nn.BatchNorm1d(3), 9),
        (nn.Linear(3, 3), 2),
        (ReadsTwice(), 3),
        (nn.LSTM(3, 3), 4),  # it keeps them in a list
        (nn.ReLU(), 0),
    ],
)
def test_what_a_forward_reads_of_its_module_is_no_cost_of_the_tracer(module, reads):
    """20 for a layer and 10 for each read are the program's; the tracer took 100."""
    with shapetrace.trace(module) as t:
        pass
    info = t.recording.modules[""]
    took = 120 + 10 * reads
    cost = Overhead(
        module=100, module_inside=100, function=0, function_inside=0,
        layer_bare=20, parameter_bare=10,
    )  # fmt: skip
    alone = replace(call(0, None, 0, took, took), name="")
    found = costs(Recording((alone,), (), {"": info}, {}, overhead=cost))
    expected = 20 + 10 * reads
    assert found.calls[0].corrected_ns == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    ("kind", "sure"), [(nn.Linear, True), (nn.MultiheadAttention, False)]
)
def test_a_forward_with_much_python_is_less_sure(kind, sure):
    """Of 120 the tracer took 100, give or take a quarter of the 20 that are left; of
    these half may be the tracer's where they are not a layer's few steps."""
    info = ModuleInfo("", kind.__name__, f"{kind.__module__}.{kind.__name__}")
    cost = Overhead(
        module=100, module_inside=100, function=0, function_inside=0, layer_bare=20
    )
    alone = replace(call(0, None, 0, 120, 120), name="")
    found = costs(Recording((alone,), (), {"": info}, {}, overhead=cost)).calls[0]
    assert found.corrected_ns == 20
    assert found.uncertain_ns == (5 if sure else 5 + 10)


def test_calibration_leaves_no_hook_and_touches_no_random_state():
    before = torch.get_rng_state()
    found = calibrate()
    assert found is not None and found.module >= found.module_inside > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_calibration_does_not_run_under_the_users_global_hooks():
    seen = []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, output: seen.append(module)
    )
    try:
        assert calibrate() is None and not seen
    finally:
        handle.remove()


def test_parts_never_exceed_the_whole_and_never_fall_below_their_functions():
    x = (TensorRef("", 1, (1,), torch.float32, torch.device("cpu")),)
    kernel = FunctionCall(0, 1, "abs", "torch.abs", x, x, args=x, duration_ns=300)
    cost = Overhead(module=5000, module_inside=2000, function=4000, function_inside=10)
    calls = (call(0, None, 0, 1000, 500), call(1, 0, 100, 500, 500))
    found = costs(Recording(calls, (kernel,), {}, {}, overhead=cost))
    assert found.calls[1].corrected_ns == found.calls[1].corrected_self_ns == 290
    assert found.calls[0].corrected_ns == 290  # its own is all the tracer's


def test_a_correction_that_is_not_sure_is_said_not_to_be():
    """Of 2 ms the tracer took 0.6, which may be off by 60 % and 15 more; of the rest
    0.04 may be the tracer's all the same."""
    cost = Overhead(
        module=600_000,
        module_inside=600_000,
        function=0,
        function_inside=0,
        uncertainty=0.6,
    )
    rec = Recording((call(0, None, 0, 2_000_000, 2_000_000),), (), {}, {})
    found = costs(replace(rec, overhead=cost))
    assert found.corrected_ns == 1_400_000
    assert found.uncertain_ns == 450_000 + 40_000
    assert not found.settled
    sure = replace(cost, uncertainty=0.05)
    found = costs(replace(rec, overhead=sure))
    assert found.uncertain_ns == 120_000 + 40_000
    assert found.settled


def test_the_swing_of_the_machine_is_in_the_range_but_unsettles_nothing():
    """Of 2 ms nothing was the tracer's, and the same work takes up to 0.4 more: each
    part swings as the whole does, so that their order is as sure as without that."""
    cost = Overhead(0, 0, 0, 0, swing=0.4)
    calls = (call(0, None, 0, 2_000_000, 500_000), call(1, 0, 0, 1_500_000, 1_500_000))
    found = costs(Recording(calls, (), {}, {}, overhead=cost))
    still = costs(Recording(calls, (), {}, {}, overhead=replace(cost, swing=0.0)))
    assert found.corrected_ns == still.corrected_ns == pytest.approx(2_000_000, abs=5)
    more = [found.uncertain_ns - still.uncertain_ns, found.swing_ns]
    assert more == pytest.approx([800_000] * 2, abs=5)
    inside = found.calls[1].uncertain_ns - still.calls[1].uncertain_ns
    assert inside == pytest.approx(600_000, abs=5)
    assert found.settled and still.settled


def test_a_row_of_softmaxes_is_without_the_stand_ins_that_it_is_called_through():
    """Each takes 2000, and was called through three stand-ins, two more than others;
    all that is between them is the tracer's."""
    x, model = torch.ones(2, 3), nn.Sequential(
        nn.Softmax(-1), nn.Softmax(-1), nn.ReLU()
    )
    with shapetrace.trace(model) as t:
        model(x)
    took = tuple(
        replace(one, duration_ns=time)
        for one, time in zip(t.functions, (2900, 2900, 2100), strict=True)
    )
    calls = tuple(
        replace(one, duration_ns=time, self_ns=time, tracer_ns=9000)
        for one, time in zip(t.calls, (0, 2900, 2900, 2100), strict=True)
    )
    cost = Overhead(0, 0, 0, function_inside=100, stand_in=400)
    rec = replace(t.recording, calls=calls, functions=took, waiting=(), overhead=cost)
    found = costs(rec)
    assert [one.corrected_ns for one in found.calls] == [6000, 2000, 2000, 2000]
    # what was taken off may be as much more in a cold cache
    assert [one.uncertain_ns for one in found.calls] == [1600, 800, 800, 0]


def test_the_calibration_measures_stand_ins_and_swing():
    found = calibrate()
    assert found.stand_in > 0 and found.swing >= 0


def test_what_the_recorder_was_seen_to_take_is_taken_off_whole():
    """Of 1000, 700 were seen, and 100 are taken off for each function unseen."""
    x = (TensorRef("output", 1, (1,), torch.float32, torch.device("cpu")),)
    cost = Overhead(module=0, module_inside=0, function=100, function_inside=0)
    kernel = FunctionCall(0, 0, "abs", "torch.Tensor.abs", x, x, args=x)
    top = replace(call(0, None, 0, 1000, 1000), tracer_ns=700)
    found = costs(Recording((top,), (kernel,), {}, {}, overhead=cost))
    assert found.corrected_ns == 200
    found = costs(Recording((replace(top, tracer_ns=1200),), (), {}, {}, overhead=cost))
    assert found.corrected_ns == 0


class Sees(nn.Module):
    def __init__(self, does):
        super().__init__()
        self.does, self.below = does, nn.Identity()

    def forward(self, x):
        return self.does(self, x)


@pytest.mark.parametrize(
    ("does", "seen"),
    [
        (lambda self, x: x, 0),
        (lambda self, x: x + x, 1),  # until the function is called
        (lambda self, x: x.unbind(), 2),  # and after it, where there are several
        (lambda self, x: x.size() and x, 2),
        (lambda self, x: torch.cat([x, x]), 1),
        (lambda self, x: self.below(x), 1),  # not called by the forward itself
        (lambda self, x: self.below(input=x), 2),  # with arguments to look through
        (None, 0),  # nothing out of the usual
    ],
)
def test_the_recorder_sees_its_own_time_where_it_is_spent(does, seen):
    model = Sees(does) if does else nn.Sequential(nn.Identity())
    with Trace((model,), Steps()) as t:
        model(torch.ones(2, 3))
    assert [call.tracer_ns for call in t.calls] == [seen, 0][: len(t.calls)]


def test_a_function_in_python_costs_more_and_a_measured_end_nothing():
    x = (TensorRef("output", 1, (1,), torch.float32, torch.device("cpu")),)
    several = tuple(replace(x[0], path=f"output[{at}]") for at in range(2))
    cost = Overhead(
        module=0, module_inside=0, function=40, function_inside=0,
        python_function=70, ending=15,
    )  # fmt: skip

    def taken(qualname, made):
        kernel = FunctionCall(0, 0, "f", qualname, x, made, duration_ns=100, args=x)
        calls = (call(0, None, 0, 1000, 1000),)
        found = costs(Recording(calls, (kernel,), {}, {}, overhead=cost))
        return 1000 - found.corrected_ns

    assert taken("torch.Tensor.abs", x) == 40
    assert taken("torch.nn.functional.relu", x) == 70
    assert taken("torch.Tensor.unbind", several) == 40 - 15
    assert taken("torch.Tensor.size", ()) == 40 - 15


def test_functions_are_slower_beside_the_tracer_but_not_what_has_just_run():
    """A fifth slower here, and 100 at most; of 1000 that is 100."""
    x = (TensorRef("", 1, (1,), torch.float32, torch.device("cpu")),)
    cost = Overhead(
        module=0, module_inside=0, function=0, function_inside=0,
        slower=0.2, slower_most=100, slower_most_in_python=300,
    )  # fmt: skip

    def corrected(*names):
        kernels = [
            FunctionCall(at, 0, name, f"torch.{name}", x, x, args=x, duration_ns=time)
            for at, (name, time) in enumerate(names)
        ]
        whole = sum(kernel.duration_ns for kernel in kernels)
        calls = (call(0, None, 0, whole, whole),)
        found = costs(Recording(calls, tuple(kernels), {}, {}, overhead=cost))
        return whole - found.corrected_ns, found.uncertain_ns

    # half of what was taken off may be wrong, and 15 % of the function, 200 at most
    assert corrected(("abs", 200)) == (40, 20 + 30)
    assert corrected(("exp", 1000)) == (100, 50 + 150)
    assert corrected(("abs", 200), ("exp", 4000)) == (140, 20 + 30 + 50 + 200)
    # what has just run is in the caches, or is slower too
    assert corrected(("abs", 200), ("abs", 200)) == (40, 20 + 30 + 40)
    # of what is written in Python it is 600 at most
    assert corrected(("nn.functional.relu", 9000)) == (300, 150 + 600)


@pytest.mark.parametrize("options", [{}, {"memory": True}, {"backward": True}])
def test_no_layer_is_corrected_to_nothing(options):
    blocks = [
        nn.Sequential(nn.Linear(32, 32), nn.LayerNorm(32), nn.GELU(), nn.Dropout(0.1))
        for _ in range(5)
    ]
    model = nn.Sequential(*(layer for block in blocks for layer in block))
    with shapetrace.trace(model, **options) as t:
        model(torch.randn(4, 32)).sum().backward()
    for cost, traced in zip(t.costs.calls[1:], t.calls[1:], strict=True):
        assert 0 < cost.corrected_ns <= traced.duration_ns
    own = sum(cost.corrected_self_ns for cost in t.costs.calls)
    assert own == t.costs.corrected_ns <= t.costs.measured_ns


@pytest.mark.parametrize("option", ["memory", "backward"])
def test_what_extensions_leave_of_the_caches_is_measured_with_them(option, monkeypatch):
    """Their clock stands still while they work, but the functions after it are slower:
    the calibration lets them work: 8 nodes or more, 5 rounds of 3 passes, twice."""
    model = nn.Linear(4, 3)
    with shapetrace.trace(model, **{option: True}) as t:
        model(torch.randn(2, 4)).sum().backward()
    from shapetrace.recording.extensions.backward import BackwardTimer
    from shapetrace.recording.extensions.memory import MemoryWatch

    kind = MemoryWatch if option == "memory" else BackwardTimer
    looked, grown = [], kind.grown

    def counted(self, cell, nodes):
        looked.extend(nodes)
        grown(self, cell, nodes)

    monkeypatch.setattr(kind, "grown", counted)
    assert t.costs.corrected_ns is not None
    passes = 5 * 3 * 2
    assert len(looked) >= 8 * passes and len(looked) % passes == 0


class Asks(nn.Module):
    """Asks twice for a shape by itself and once in the layer below it."""

    def __init__(self):
        super().__init__()
        self.below = Below()

    def forward(self, x):
        return self.below(x) * len(x.shape) / x.ndim


class Below(nn.Module):
    def forward(self, x):
        return x.view(x.shape)


def test_reading_attributes_of_tensors_is_the_tracers_cost_where_they_are_read():
    with shapetrace.trace(model := Asks()) as t:
        x = torch.ones(2, 3)
        assert x.shape == (2, 3)
        model(x)
    assert [call.attribute_reads for call in t.calls] == [2, 1]
    top = replace(call(0, None, 0, 900, 900), attribute_reads=3)
    cost = Overhead(
        module=0, module_inside=0, function=0, function_inside=0, attribute=50
    )
    found = costs(Recording((top,), (), {}, {}, overhead=cost))
    assert found.calls[0].corrected_ns == 900 - 3 * 50
