"""The text table, as a person reads it."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import samples
import torch
from torch import nn

import shapetrace
from shapetrace.records import CallError, Diagnosis, Recording
from shapetrace.views.csv import csv
from shapetrace.views.html import fragment
from shapetrace.views.text import summary_line, table

GOLDEN = Path(__file__).parent / "golden"
SAMPLES: dict[str, tuple[Recording, tuple[Diagnosis, ...]]] = {
    "empty": (samples.empty(), ()),
    "small_cnn": (samples.small_cnn(), ()),
    "blocks": (samples.blocks(), ()),
    "odd_block": (samples.blocks(12, odd=5), ()),
    "nested_outputs": (samples.nested_outputs(), ()),
    "failed_loss": (samples.failed_loss()[0], (samples.failed_loss()[1],)),
    "failed_layer": (samples.failed_layer()[0], (samples.failed_layer()[1],)),
    "warned": (samples.warned()[0], (samples.warned()[1],)),
}


def check(name: str, text: str) -> None:
    """Equal to the golden file; with REGEN=1 in the environment, write it."""
    path = GOLDEN / name
    if os.environ.get("REGEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def row(text: str, name: str) -> str:
    """The one line of the table that shows this module."""
    (line,) = [line for line in text.splitlines() if name in line.split("  ")[0]]
    return line


def changed(rec: Recording, at: int, **fields: Any) -> Recording:
    calls = list(rec.calls)
    calls[at] = replace(calls[at], **fields)
    return replace(rec, calls=tuple(calls))


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("name", SAMPLES)
def test_text_is_as_recorded_in_the_golden_file(name: str, width: int) -> None:
    rec, findings = SAMPLES[name]
    check(f"{name}_{width}.txt", table(rec, findings, width=width) + "\n")


@pytest.mark.parametrize("name", ["blocks", "failed_loss", "nested_outputs"])
def test_html_is_as_recorded_in_the_golden_file(name: str) -> None:
    check(f"{name}.html", fragment(*SAMPLES[name]) + "\n")


@pytest.mark.parametrize("name", ["small_cnn", "failed_loss", "nested_outputs"])
def test_csv_is_as_recorded_in_the_golden_file(name: str, tmp_path: Path) -> None:
    csv(*SAMPLES[name], tmp_path / "report.csv")
    check(f"{name}.csv", (tmp_path / "report.csv").read_text(encoding="utf-8"))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
@pytest.mark.parametrize("name", SAMPLES)
def test_no_line_is_wider_than_asked(name: str, width: int) -> None:
    lines = table(*SAMPLES[name], width=width).splitlines()
    assert max(map(len, lines)) <= width


def test_terminal_gives_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, table(samples.blocks()).splitlines())) <= 60


def test_alike_blocks_are_one_row_that_says_so() -> None:
    text = table(samples.blocks(), width=140)
    assert "layers.0 … layers.11 ×12" in text
    assert "20.40" in row(text, "layers.0")  # 12 × (0.7 + 0.5 + 0.4 + 0.1) ms
    assert "44 calls without a row" in text


def test_a_block_that_differs_has_its_own_row() -> None:
    text = table(samples.blocks(12, odd=5), width=140)
    assert "layers.0 … layers.4 ×5" in text
    assert "layers.6 … layers.11 ×6" in text
    assert "1×10×128" in text


def test_a_call_with_a_finding_is_not_folded() -> None:
    rec = samples.blocks()
    call = next(call for call in rec.calls if call.name == "layers.3")
    odd = Diagnosis("odd", "warning", "Odd.", "module:layers.3", call=call.index)
    text = table(rec, [odd], width=140)
    assert row(text, "─layers.3").endswith("odd")
    assert "layers.0 … layers.2 ×3" in text


def test_failed_calls_are_not_folded() -> None:
    rec = samples.blocks(4)
    for call in rec.calls:
        if call.name in ("layers.2", "layers.3"):
            rec = changed(rec, call.index, error=CallError("E", "m"), outputs=None)
    text = table(rec, width=100)
    assert "failed" in row(text, "─layers.2")
    assert "failed" in row(text, "─layers.3")


def test_calls_that_alternate_fold_to_one_pattern() -> None:
    text = table(samples.many_calls(2001), width=100)
    assert "(cell, act) ×1,000" in text
    assert len(text.splitlines()) < 15


def test_what_is_left_out_is_counted() -> None:
    text = table(samples.many_calls(2001, alike=False), width=100)
    shown = sum("Linear" in line or "ReLU" in line for line in text.splitlines())
    assert f"… {2000 - shown:,} more calls" in text
    assert f"{2000 - shown:,} calls left out" in text
    assert len(text.splitlines()) < 420


def test_who_has_no_trace_to_ask_is_told_of_no_method() -> None:
    rec, failure = samples.failed_layer()
    for width in (60, 100):
        plain = table(rec, [failure], width=width)
        report = table(rec, [failure], width=width, in_report=True)
        assert "t.explain()" in plain and "t." not in report.replace("torch.", "")
    assert "t.to_dataframe() has all" in " ".join(
        table(rec, [failure], width=60).split()
    )
    assert "a CSV report has all" in " ".join(
        table(rec, [failure], width=60, in_report=True).split()
    )


def test_the_failure_is_shown_however_many_calls_are_left_out() -> None:
    rec, failure = samples.failed_loss()
    many = samples.many_calls(2001, alike=False)
    function = replace(rec.functions[0], order=10**9)
    text = table(replace(many, functions=(function,)), [failure], width=100)
    assert "failed" in row(text, "mse_loss()")


def test_failed_loss_is_a_row_and_its_culprit_is_marked() -> None:
    rec, failure = samples.failed_loss()
    text = table(rec, [failure], width=100)
    assert row(text, "fc2").endswith("culprit")
    assert "2×73, 2×33" in row(text, "mse_loss()")
    assert row(text, "mse_loss()").endswith("failed")
    assert "broadcast_tensors" not in text


def test_a_function_row_keeps_all_operands_in_a_narrow_table() -> None:
    rec, finding = samples.warned()
    assert "64×1, 64×2" in row(table(rec, [finding], width=80), "mse_loss()")


def test_a_function_that_fails_in_a_forward_is_a_row_below_its_module() -> None:
    b = samples.Builder()
    b.module("", "Net")
    b.enter("", (1, 3, 8, 8))
    error = CallError("RuntimeError", "Sizes of tensors must match", 5)
    b.function("cat", [(1, 3, 8, 8), (1, 3, 9, 9)], None, error)
    b.fail(error)
    text = table(b.recording())
    assert row(text, "└─cat()").endswith("failed")
    assert row(text, "(root)").endswith("failed ↓")


def test_an_error_that_was_caught_does_not_mark_the_module_above() -> None:
    rec = samples.small_cnn()
    at = next(call.index for call in rec.calls if call.name == "fc")
    text = table(changed(rec, at, error=CallError("E", "m"), outputs=None))
    assert row(text, "─fc").endswith("failed")
    assert row(text, "(root)").endswith("ok")


def test_recomputed_calls_say_so() -> None:
    text = table(changed(samples.small_cnn(), 5, recomputed=True))
    assert row(text, "─fc").endswith("recomputed")


def test_failed_layer_has_no_second_row_for_its_function() -> None:
    rec, failure = samples.failed_layer()
    text = table(rec, [failure], width=100)
    assert "linear()" not in text
    (line,) = [line for line in text.splitlines() if "Linear" in line]
    assert line.endswith("failed, culprit")


def test_failure_may_be_passed_on_its_own() -> None:
    rec, failure = samples.failed_loss()
    assert table(rec, failure=failure, width=90) == table(rec, [failure], width=90)


def test_shared_parameters_count_once() -> None:
    rec = samples.small_cnn()
    weights = tuple(replace(p, path="tied") for p in rec.modules["fc"].parameters)
    tied = replace(rec.modules["fc"], name="tied", parameters=weights)
    modules = {**rec.modules, "tied": tied}
    assert "299,529 parameters" in table(replace(rec, modules=modules))


def test_without_timing_there_are_no_times() -> None:
    text = table(replace(samples.small_cnn(), has_timing=False))
    assert " ms" not in text
    assert "share" not in text


def test_deep_models_keep_their_table() -> None:
    lines = table(samples.deep(3000), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert any("└11─inner" in line for line in lines)


def test_module_from_elsewhere_is_shown_by_its_full_name() -> None:
    rec = samples.small_cnn()
    at = next(call.index for call in rec.calls if call.name == "features.relu")
    text = table(changed(rec, at, name="fc"))
    assert "↗fc" in text
    assert "↗ a module from elsewhere" in text


def test_repr_is_one_line_that_names_the_failure() -> None:
    rec, failure = samples.failed_loss()
    assert summary_line(rec, [failure]) == (
        "<Trace of MLP: 4 module calls, 2 functions, 0.4 ms, failed at loss:mse_loss>"
    )


def test_notes_stand_below_the_table() -> None:
    rec = replace(samples.small_cnn(), notes=("Attention left its fast path.",))
    assert "\nAttention left its fast path." in table(rec)


def test_what_was_asked_for_has_its_columns_in_both_tables():
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
    tables = []
    for asked in ({}, {"memory": True, "backward": True}):
        with shapetrace.trace(model, **asked) as t:
            model(torch.ones(2, 8)).sum().backward()
        tables += [str(t), t._repr_html_()]
    plain, plain_html, text, html = tables
    # the line above the table is two where the batch was slow
    header = next(line for line in text.splitlines() if line.startswith("module "))
    for label in ("saved", "bwd ms"):
        assert label not in plain and f">{label}<" not in plain_html
        assert label in header and f">{label}<" in html
    relu = next(line for line in text.splitlines() if "ReLU" in line)
    assert "  32 B  " in relu, relu  # its output of 2x4 float32 is what it saves


def test_a_copy_that_was_called_in_place_of_the_model_is_thought_of() -> None:
    model = torch.nn.Linear(2, 2)
    with shapetrace.trace(model) as t:
        copy.deepcopy(model)(torch.ones(1, 2))
    assert "Linear was not called in the block. A copy of it" in str(t)
    with shapetrace.trace(model) as t:
        model(torch.ones(1, 2))
    assert "was not called" not in str(t)


def test_what_would_act_on_a_terminal_is_written_as_its_number():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module("a\x1b[2Jb", nn.Linear(4, 3))

        def forward(self, x):
            return self.get_submodule("a\x1b[2Jb")(x)

    named = type("Net\x1b]0;owned\x07", (Net,), {})
    model, well = named(), nn.Linear(4, 3)
    with pytest.raises(RuntimeError), shapetrace.trace(model) as t:
        model(torch.ones(2, 5))
    with shapetrace.trace(well) as other:
        well(torch.ones(2, 4))
    for text in (str(t), str(t.failure), str(t.summary()), str(t.table())):
        assert "\x1b" not in text and "a\\x1b[2Jb" in text
    for text in (str(t), str(t.table()), repr(t), str(shapetrace.compare(other, t))):
        assert "\x1b" not in text and "\x07" not in text
    assert "Net\\x1b]0;owned\\x07" in str(t)
