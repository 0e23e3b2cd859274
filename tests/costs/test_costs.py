"""Bytes, corrected times and statistics follow the records; long traces are bounded."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace
from shapetrace.costs import costs, statistics
from shapetrace.recording.overhead import calibrate
from shapetrace.records import (
    FunctionCall,
    ModuleCall,
    ModuleInfo,
    Overhead,
    Recording,
    TensorRef,
)
from shapetrace.views.frame import frame as to_frame
from shapetrace.views.summary import by_module


def test_bytes_of_inputs_outputs_parameters_and_buffers():
    model = nn.BatchNorm1d(3)
    with shapetrace.trace(model) as t:
        model(torch.randn(5, 3))
    cost = t.costs.calls[0]
    assert (cost.input_bytes, cost.output_bytes) == (60, 60)
    assert (cost.parameter_bytes, cost.buffer_bytes) == (24, 32)


def test_views_move_no_bytes():
    model = nn.Flatten()
    with shapetrace.trace(model) as t:
        model(torch.randn(5, 3, 2))
    assert t.costs.calls[0].moved_bytes == 0


def call(index, parent, start, duration, own, **more):
    return ModuleCall(
        index,
        parent,
        0 if parent is None else 1,
        f"m{index}",
        "M",
        (),
        (),
        start_ns=start,
        duration_ns=duration,
        self_ns=own,
        **more,
    )


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


def test_an_interruption_of_one_layer_is_not_that_of_the_others():
    cost = Overhead(
        module=100, module_inside=100, function=0, function_inside=0, layer_bare=20
    )
    times = [120] * 8 + [90_000]
    layers = [layer(at, None, 0, time, time, "ReLU") for at, time in enumerate(times)]
    infos = {one.name: ModuleInfo(one.name, "ReLU", "torch.nn.ReLU") for one in layers}
    found = costs(Recording(tuple(layers), (), infos, {}, overhead=cost))
    assert [one.corrected_ns for one in found.calls[:8]] == [20] * 8


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


def timed(times, **more):
    return Recording(
        tuple(
            replace(call(at, None, 0, time, time), name="")
            for at, time in enumerate(times)
        ),
        (), {}, {}, **more,
    )  # fmt: skip


def test_statistics_put_the_first_batch_apart():
    found = statistics(timed([900, 30, 10, 20]))[""]
    assert (found.calls, found.first_ns, found.min_ns) == (4, 900, 10)
    assert (found.median_ns, found.p95_ns, found.max_ns) == (20, 29, 30)


def test_the_first_of_those_that_were_kept_is_not_the_first():
    found = statistics(timed([900, 30, 10], dropped_calls=5))[""]
    assert found.first_ns is None and found.max_ns == 900


def test_statistics_may_be_of_corrected_times():
    found = statistics(timed([900, 30, 10, 20]), [800, 29, 9, 19])[""]
    assert (found.first_ns, found.median_ns) == (800, 19)


def test_medians_are_corrected_where_the_totals_beside_them_are():
    cost = Overhead(module=10e6, module_inside=10e6, function=0, function_inside=0)
    rec = timed([time * 1_000_000 for time in (90, 50, 50)], overhead=cost)
    summary = by_module(rec, costs(rec), 160).splitlines()
    at = next(at for at, line in enumerate(summary) if line.startswith("module"))
    row = dict(zip(re.split("  +", summary[at]), re.split("  +", summary[at + 2])))
    assert [float(row[f"{key} ms"]) for key in ("total", "first", "median")] == [
        160,
        80,
        40,
    ]
    frame = to_frame(rec, by="module", costs=costs(rec)).iloc[0]
    assert (frame.total_ms, frame.first_ms, frame.median_ms) == (190, 90, 50)
    assert frame.corrected_ms == 160


def test_a_trace_that_dropped_its_first_batches_has_no_first_and_is_not_complete():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with shapetrace.trace(model, max_calls=12) as t:
        for _ in range(10):
            model(torch.randn(2, 4))
    found = t.steps()
    assert len(found.warm) == len(found) > 1 and "first" not in str(found)
    assert t.costs.uncounted == ("dropped calls",)


def test_a_module_that_one_batch_uses_twice_makes_no_batches():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, layer)
    with shapetrace.trace(model, memory=True) as t:
        model(torch.randn(2, 4))
    assert "first_ms" not in t.to_dataframe(by="module")
    assert "median ms" not in t.summary(160)
    with shapetrace.trace(model, memory=True) as t:
        model(torch.randn(2, 4))
        model(torch.randn(2, 4))
    assert "first_ms" in t.to_dataframe(by="module")


def test_saved_bytes_are_those_of_one_batch():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid())

    def saved(batches):
        with shapetrace.trace(model, memory=True) as t:
            for _ in range(batches):
                model(torch.randn(8, 4)).sum().backward()
        frame = t.to_dataframe(by="module").set_index("name")
        return frame["saved_bytes"].tolist()

    assert saved(3) == saved(1) == [256, 128, 128]


def test_a_cold_first_batch_is_marked():
    def summary(times):
        rec = timed([time * 1_000_000 for time in times])
        return by_module(rec, costs(rec), 160)

    assert "The first batch was cold: 80.00 ms against 50.00 ms" in summary(
        [80, 51, 49, 50]
    )
    assert "cold" not in summary([52, 51, 49, 50])
    assert "cold" not in summary([80])


def test_dimensions_that_vary_between_batches_are_listed():
    model = nn.Linear(4, 3)
    with shapetrace.trace(model) as t:
        for batch in (32, 32, 7):
            model(torch.randn(batch, 4))
    assert statistics(t.recording)[""].varying == {"args[0] dim 0": (32, 7)}
    frame = t.to_dataframe(by="module")
    assert frame["varying"].tolist() == ["args[0] dim 0: 32, 7"]


def test_max_calls_keeps_the_newest_and_says_what_was_dropped():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with shapetrace.trace(model, max_calls=12) as t:
        for batch in range(1, 41):
            last = model(torch.randn(batch, 4))
    assert 6 <= len(t.calls) <= 18
    assert len(t.calls) + t.recording.dropped_calls == 120
    assert t.calls[-3].inputs[0].shape == (40, 4)
    assert any("dropped" in note for note in t.recording.notes)
    assert t.lineage(last)[0].name == "1"


def test_after_a_drop_parameters_are_still_known_as_such():
    model = nn.Linear(2, 2)
    with shapetrace.trace(model, max_calls=2) as t:
        for _ in range(9):
            model(torch.randn(1, 2))
    names = {origin.name for origin in t.recording.origins.values()}
    assert {"weight", "bias"} <= names


def test_the_summary_fits_the_width_and_sorts_by_own_time():
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    with shapetrace.trace(model, memory=True, backward=True) as t:
        for _ in range(3):
            model(torch.randn(16, 64)).sum().backward()
    text = t.summary(80)
    assert max(map(len, text.splitlines())) <= 80
    assert "without the tracer's own cost" in text and "FLOPs" in text


def test_costs_survive_json(tmp_path):
    model = nn.Linear(4, 3)
    with shapetrace.trace(model, memory=True, backward=True) as t:
        model(torch.randn(2, 4)).sum().backward()
    t.to_json(tmp_path / "t.json")
    again = shapetrace.load(tmp_path / "t.json")
    assert again == t
    assert again.costs == t.costs


def moved(run):
    with shapetrace.trace(nn.Identity(), checks=False) as t:
        run()
    return sum(t.costs.function_moved_bytes)


X = torch.zeros(100, 50)
Q = torch.zeros(1, 2, 64, 8)
TABLE, ROWS = torch.zeros(10_000, 8), torch.zeros(4, dtype=torch.long)
CLASSES = torch.zeros(100, dtype=torch.long)


@pytest.mark.parametrize(
    ("run", "wanted"),
    [
        (lambda: X.view(50, 100), 0),
        (lambda: X.contiguous(), 0),
        (lambda: X.t().contiguous(), 2 * 20_000),
        (lambda: X.reshape(-1), 0),
        (lambda: X.t().reshape(-1), 2 * 20_000),
        (lambda: X.t().flatten(), 2 * 20_000),
        (lambda: X.to(torch.float32), 0),
        (lambda: X.cpu(), 0),
        (lambda: X.to("cpu"), 0),
        (lambda: X.to("cpu", torch.float64), 20_000 + 40_000),
        (lambda: X.to(torch.float64), 20_000 + 40_000),
        (lambda: F.dropout(X, 0.5, training=False), 0),
        (lambda: X + X, 2 * 20_000),
        (lambda: X.clone().mul_(2), 4 * 20_000),
        # 4 indices of 8 bytes; 4 rows of 8 numbers are read and written
        (lambda: F.embedding(ROWS, TABLE), 32 + 2 * 128),
        (lambda: TABLE[ROWS], 32 + 2 * 128),
        # 4 rows are read, one bag of 8 numbers and its offset, read again, are written
        (lambda: F.embedding_bag(ROWS[None], TABLE), 32 + 128 + 32 + 2 * 8),
        # of each row of 50 the logarithm of one class is read; the mean and the weight
        (lambda: F.nll_loss(X, CLASSES), 800 + 400 + 8),
        (lambda: torch.zeros_like(X, device="cpu"), 20_000),
        (lambda: X.new_full((3,), 1.0), 12),
        (lambda: TABLE[3], 0),
        # one row is written, from one number of 4 bytes
        (lambda: X.__setitem__(0, torch.tensor(0.0)), 4 + 200 + 4),
        (lambda: TABLE.__setitem__(ROWS, torch.tensor(0.0)), 4 + 32 + 128 + 4),
        # what `TABLE[ROWS] = 0` is from torch 2.15 on
        (lambda: TABLE.index_fill_(0, ROWS, 0), 32 + 128),
        (lambda: X[:, :1].expand(100, 50) + 1, 400 + 20_000),
        (lambda: torch.cat([X, X[:50]]), 2 * 30_000),
        # scores of 64 x 64 in 2 heads: written, read, written, read
        (
            lambda: (Q @ Q.transpose(-1, -2)).softmax(-1) @ Q,
            4 * 32_768 + (4096 + 4096) + (4096 + 4096),
        ),
        # the fused kernel reads the three, writes the result and a sum for each row
        (lambda: F.scaled_dot_product_attention(Q, Q, Q), 2 * 4096 + 512),
        (lambda: torch.empty(100), 0),
        (lambda: torch.zeros(100), 400),
    ],
)
def test_bytes_moved_are_what_must_be_read_and_written(run, wanted):
    assert moved(run) == wanted


def test_a_module_holds_the_parameters_of_all_modules_in_it_once():
    shared = nn.Linear(4, 4, bias=False)
    model = nn.Sequential(shared, nn.BatchNorm1d(4), shared)
    with shapetrace.trace(model) as t:
        model(torch.randn(3, 4))
    assert t.costs.calls[0].parameter_bytes == 64 + 32
    assert t.costs.calls[0].buffer_bytes == 2 * 16 + 8
    assert [cost.parameter_bytes for cost in t.costs.calls[1:]] == [64, 32, 64]


def test_parts_never_exceed_the_whole_and_never_fall_below_their_functions():
    x = (TensorRef("", 1, (1,), torch.float32, torch.device("cpu")),)
    kernel = FunctionCall(0, 1, "abs", "torch.abs", x, x, args=x, duration_ns=300)
    cost = Overhead(module=5000, module_inside=2000, function=4000, function_inside=10)
    calls = (call(0, None, 0, 1000, 500), call(1, 0, 100, 500, 500))
    found = costs(Recording(calls, (kernel,), {}, {}, overhead=cost))
    assert found.calls[1].corrected_ns == found.calls[1].corrected_self_ns == 290
    assert found.calls[0].corrected_ns == 290  # its own is all the tracer's


def test_a_correction_that_is_not_sure_is_said_not_to_be():
    cost = Overhead(
        module=600, module_inside=600, function=0, function_inside=0, uncertainty=0.5
    )
    found = costs(Recording((call(0, None, 0, 1000, 1000),), (), {}, {}, overhead=cost))
    assert (found.corrected_ns, found.uncertain_ns) == (400, 348)
    assert not found.settled
    sure = replace(cost, uncertainty=0.05)
    found = costs(Recording((call(0, None, 0, 1000, 1000),), (), {}, {}, overhead=sure))
    assert found.settled


def test_a_function_in_python_costs_more_and_more_so_with_many_arguments():
    x = (TensorRef("", 1, (1,), torch.float32, torch.device("cpu")),)

    def corrected(qualname, **kwargs):
        kernel = FunctionCall(
            0, 0, "f", qualname, x, x, duration_ns=100, args=x, kwargs=kwargs
        )
        cost = Overhead(
            module=0, module_inside=0, function=40, function_inside=0,
            python_function=70, argument=10,
        )  # fmt: skip
        calls = (call(0, None, 0, 1000, 1000),)
        return costs(Recording(calls, (kernel,), {}, {}, overhead=cost)).corrected_ns

    assert corrected("torch.Tensor.abs") == 1000 - 40
    assert corrected("torch.nn.functional.relu", inplace=False) == 1000 - 70
    four = {"p": 0.5, "training": True, "inplace": False}
    assert corrected("torch.nn.functional.dropout", **four) == 1000 - 90


@pytest.mark.parametrize("options", [{}, {"memory": True}, {"backward": True}])
def test_no_layer_is_corrected_to_nothing(options):
    layers = [nn.Linear(32, 32), nn.LayerNorm(32), nn.GELU(), nn.Dropout(0.1)] * 5
    model = nn.Sequential(*layers)
    with shapetrace.trace(model, **options) as t:
        model(torch.randn(4, 32)).sum().backward()
    for cost, traced in zip(t.costs.calls[1:], t.calls[1:], strict=True):
        assert 0 < cost.corrected_ns <= traced.duration_ns
    own = sum(cost.corrected_self_ns for cost in t.costs.calls)
    assert own == t.costs.corrected_ns <= t.costs.measured_ns
