"""DataFrames and CSV files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas
import pytest
import samples

from shapetrace.errors import ReportError, UsageError
from shapetrace.records import Broadcast
from shapetrace.views.csv import csv
from shapetrace.views.frame import frame


def test_one_row_per_module_call_with_typed_columns() -> None:
    rec = samples.small_cnn()
    made = frame(rec)
    assert list(made["name"]) == [call.name for call in rec.calls]
    assert made["input_shapes"][5] == ((2, 4096),)
    assert made["total_ms"][0] == pytest.approx(1.85)
    assert made["share"][0] == 1.0
    assert made["parent"].dtype == "Int64"
    assert made["parent"].isna()[0]
    assert list(made["parameters"]) == [0, 0, 448, 0, 0, 299081]


def test_failed_batch_has_the_same_columns_and_carries_the_diagnosis() -> None:
    rec, failure = samples.failed_loss()
    made = frame(rec, [failure])
    assert list(made) == list(frame(samples.small_cnn()))
    assert len(made) == len(rec.calls)
    assert made["finding"][3] == "culprit: dim 1 is 73 instead of 33 (loss:mse_loss)"
    assert made.attrs["failure"] == failure.text


def test_failed_layer_has_no_outputs_and_an_error() -> None:
    rec, failure = samples.failed_layer()
    made = frame(rec, [failure])
    last = made.iloc[-1]
    assert last["status"] == "failed"
    assert last["output_shapes"] is None
    assert last["error"].startswith("RuntimeError: mat1 and mat2")
    assert "in_features=2048" in last["finding"]


def test_by_module_adds_the_calls_up() -> None:
    made = frame(samples.many_calls(21), by="module").set_index("name")
    assert made.loc["cell", "calls"] == 10
    assert made.loc["cell", "total_ms"] == pytest.approx(0.2)
    assert made.loc["cell", "mean_ms"] == pytest.approx(0.02)
    assert made.loc["cell", "input_shapes"] == ((4, 8),)
    assert made.loc["", "total_ms"] == pytest.approx(0.4)
    assert made.loc["", "self_ms"] == pytest.approx(0.1)


def test_by_function_lists_the_failed_one() -> None:
    rec, failure = samples.failed_loss()
    made = frame(rec, [failure], by="function")
    assert list(made["name"]) == ["mse_loss", "broadcast_tensors"]
    assert made["input_shapes"][0] == ((2, 73), (2, 33))
    assert made["finding"][0].startswith("failure: mse_loss got")


def test_by_broadcast_lists_the_ledger() -> None:
    found = Broadcast(0, "mse_loss", "args[0]", "args[1]", 1, 2, ((64, 1), (64, 2)))
    made = frame(samples.empty(), by="broadcast", broadcasts=[found])
    assert made["shapes"][0] == ((64, 1), (64, 2))
    assert made["size"][0] == 2


@pytest.mark.parametrize("by", ["call", "module", "function", "broadcast"])
def test_empty_recording_has_the_columns_and_no_rows(by: str) -> None:
    made = frame(samples.empty(), by=by)
    assert len(made) == 0
    assert len(made.columns) >= 10


def test_wrong_by_names_the_choices() -> None:
    with pytest.raises(UsageError, match="'call', 'module', 'function', 'broadcast'"):
        frame(samples.empty(), by="layer")


def test_without_timing_there_are_no_time_columns() -> None:
    rec = replace(samples.small_cnn(), has_timing=False)
    for by in ("call", "module", "function"):
        assert not [name for name in frame(rec, by=by) if str(name).endswith("_ms")]


def test_csv_reads_back_whole(tmp_path: Path) -> None:
    rec = samples.nested_outputs()
    csv(rec, [], tmp_path / "report.csv")
    back = pandas.read_csv(tmp_path / "report.csv")
    assert list(back) == list(frame(rec))
    assert back["output_shapes"][1] == "3x5x10;1x3x10;1x3x10;scalar;0x4"
    assert back["total_ms"].dtype == "float64"
    assert list(back["call"]) == [0, 1, 2]


def test_csv_of_a_failed_loss_ends_with_the_loss(tmp_path: Path) -> None:
    rec, failure = samples.failed_loss()
    csv(rec, [failure], tmp_path / "report.csv")
    last = pandas.read_csv(tmp_path / "report.csv").iloc[-1]
    assert (last["name"], last["type"]) == ("mse_loss", "function")
    assert last["input_shapes"] == "2x73;2x33"
    assert last["finding"].endswith("targets of (2, 33).")


def test_csv_into_a_missing_folder_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="os.makedirs"):
        csv(samples.small_cnn(), [], tmp_path / "none" / "report.csv")


def test_csv_onto_a_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="is a folder: name a file in it"):
        csv(samples.small_cnn(), [], tmp_path)
