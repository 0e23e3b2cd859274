"""Bytes and statistics follow the records; long traces are bounded."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace
from shapetrace.costs import batches, costs, statistics, steps
from shapetrace.records import (
    ModuleCall,
    Overhead,
    Recording,
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


def timed(times, **more):
    return Recording(
        tuple(
            ModuleCall(
                at, None, 0, "", "M", (), (), start_ns=0, duration_ns=time, self_ns=time
            )
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
    summary = by_module(rec, costs(rec), steps(rec), 160).splitlines()
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


def test_what_a_dropped_call_made_is_not_told_to_be_made_unseen():
    model, x = nn.Linear(8, 8), torch.randn(4, 8)
    with shapetrace.trace(model, max_calls=6, checks=False) as t:
        first = model(x)
        for _ in range(20):
            model(x)
        (first + model(x)).sum().backward()
    assert t.recording.dropped_calls and t.costs.uncounted == ("dropped calls",)


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


def test_calls_that_wait_for_one_backward_are_one_batch():
    """Of a siamese net: what both calls save is held at once, 2 x 4 numbers each of
    the sigmoid; without autograd each call is a batch."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid())
    with shapetrace.trace(model, memory=True) as t:
        for _ in range(3):
            (model(torch.ones(2, 4)) - model(torch.zeros(2, 4))).sum().backward()
        with torch.no_grad():
            for _ in range(2):
                model(torch.ones(2, 4))
    turns = [at for call, at in zip(t.calls, batches(t.recording)) if not call.name]
    assert turns == [0, 0, 1, 1, 2, 2, 3, 4]
    frame = t.to_dataframe(by="type").set_index("name")
    assert frame.loc["Sigmoid", "saved_bytes"] == 2 * 2 * 4 * 4


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
        return by_module(rec, costs(rec), steps(rec), 160)

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
FEW = torch.arange(100) < 10
ONE, LINE = torch.ones(()), torch.zeros(1000)
CLASSES = torch.zeros(100, dtype=torch.long)
MAP, GRID = torch.zeros(1, 2, 64, 64), torch.zeros(1, 3, 2, 2)
SORTED = torch.arange(4096.0)


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
        (lambda: X.int(), 2 * 20_000),
        (lambda: X.float(), 0),
        (lambda: int(ONE), 0),
        (lambda: F.dropout(X, 0.5, training=False), 0),
        (lambda: X + X, 2 * 20_000),
        (lambda: X.clone().mul_(2), 4 * 20_000),
        # 4 indices of 8 bytes; 4 rows of 8 numbers are read and written
        (lambda: F.embedding(ROWS, TABLE), 32 + 2 * 128),
        (lambda: TABLE[ROWS], 32 + 2 * 128),
        # 4 rows are read, one bag of 8 numbers and its offset, read again, are written
        (lambda: F.embedding_bag(ROWS[None], TABLE), 32 + 128 + 32 + 2 * 8),
        # and read before to hold them against the longest that they may be
        (lambda: F.embedding(ROWS, TABLE, max_norm=1), 2 * (32 + 128) + 128),
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
        # 10 of 100 rows of 50: the mask is read, the rows are read and written
        (lambda: X[FEW], 100 + 2 * 2000),
        (lambda: torch.masked_select(X, FEW[:, None]), 100 + 2 * 2000),
        # the rows that are given are read, and written; of one number for all of them
        # it is not known how many rows it is written to
        (lambda: X.clone().__setitem__(FEW, X[:10]), 2 * 20_000 + 100 + 2 * 2000),
        (lambda: X.clone().__setitem__(FEW, ONE), 2 * 20_000 + 100 + 2 * 4),
        # 4 indices and 4 numbers are read; 4 numbers are written, or added to
        (lambda: LINE.scatter_(0, ROWS, X[0, :4]), 32 + 16 + 16),
        (lambda: LINE.scatter_add_(0, ROWS, X[0, :4]), 32 + 16 + 2 * 16),
        (lambda: LINE.scatter_(0, ROWS, 2.0, reduce="multiply"), 32 + 2 * 16),
        (lambda: LINE.index_copy_(0, ROWS, X[0, :4]), 32 + 16 + 16),
        (lambda: LINE.put_(ROWS, X[0, :4], accumulate=True), 32 + 16 + 2 * 16),
        (lambda: torch.cat([X, X[:50]]), 2 * 30_000),
        # scores of 64 x 64 in 2 heads: written, read, written, read
        (
            lambda: (Q @ Q.transpose(-1, -2)).softmax(-1) @ Q,
            4 * 32_768 + (4096 + 4096) + (4096 + 4096),
        ),
        # the fused kernel reads the three, writes the result and a sum for each row
        (lambda: F.scaled_dot_product_attention(Q, Q, Q), 2 * 4096 + 512),
        # four elements are read for each of 2 x 6 that are made, at 6 places
        (lambda: F.grid_sample(MAP, GRID, align_corners=False), 5 * 48 + 48),
        (lambda: F.interpolate(MAP, (8, 8), mode="bilinear"), 5 * 512),
        # one is read for each, and 8 places along each side are worked out
        (lambda: F.interpolate(MAP, (8, 8)), 2 * 512 + 2 * 64 + 2 * 256),
        # four times as large, and 128 places along each side are worked out
        (lambda: F.interpolate(MAP, scale_factor=2), 5 * 32_768 + 32 * 64 + 32 * 256),
        # one of ten rows is read 4 times, from a cache
        (lambda: TABLE[:1].clone()[ROWS], 2 * 32 + 32 + 32 + 128),
        # what is given to be written to is not read
        (lambda: torch.add(X, 1, out=torch.empty(100, 50)), 2 * 20_000),
        # larger than it was, every element is read once
        (lambda: F.interpolate(X[None], 100, mode="linear"), 20_000 + 40_000),
        # 4,096 are halved 13 times for each of 4 numbers, whose places are written
        (lambda: torch.bucketize(LINE[:4], SORTED), 13 * 16 + 16 + 32),
        (lambda: torch.searchsorted(SORTED[:3], LINE), 12 + 4000 + 8000),
        (lambda: torch.searchsorted(SORTED, 3.0), 13 * 4 + 8),
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
