"""Reports from somebody else, loaded and looked at: nothing that they name is read but
code, nothing that they say is obeyed, and no number is too large."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import shapetrace
from shapetrace.views.pages import page

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\x1b]8;;http://x\x1b\\\x00\x08\r\u202e\ud800"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]")


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.fixture(autouse=True)
def soon():
    """What reads a device without an end would not come back."""

    def late(*args: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a step with memory, backward, an optimizer and a failing loss."""
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(model.parameters())
    path = tmp_path_factory.mktemp("report") / "report.json"
    try:
        with shapetrace.trace(model, memory=True, backward=True) as t:
            model(torch.ones(2, 4)).relu().max().item()
            model(torch.ones(2, 4)).sum().backward()
            optimizer.step()
            nn.functional.cross_entropy(model(torch.ones(2, 4)), torch.ones(2, 5))
    except RuntimeError:
        pass
    t.to_json(path)
    return path.read_text()


def look_at(text: str, folder: Path) -> list[str]:
    """All that a terminal would show of it; every other view is made too."""
    path = folder / "foreign.json"
    path.write_text(text)
    t = shapetrace.load(path)
    for by in ("call", "module", "function", "broadcast", "type", "block", "line"):
        t.to_dataframe(by=by, costs=True)
    for write in (t.to_html, t.to_chrome_trace, t.to_json):
        write(os.devnull)
    t.to_csv(folder / "foreign.csv", costs=True)
    shapetrace.read_csv(folder / "foreign.csv")
    for kind in ("time", "memory", "roofline"):
        t.plot(kind).get_figure().canvas.draw()
    asked = [
        *t.findings,
        t.explain(),
        *map(t.explain, (*t.calls, *t.functions)),
        *t.checkpoint_candidates(),
        t.memory(),
        t.steps(),
    ]
    waits = t.synchronizations()
    places = [call.source for call in t.calls]
    errors = [f.error for f in t.functions if f.error is not None]
    texts = [t, t.summary(), repr(t), repr(t.findings), shapetrace.compare(t, t)]
    return [str(one) for one in (*asked, *waits, *places, *errors, *texts)]


def test_nothing_that_a_terminal_obeys_is_shown(document, tmp_path):
    poison = json.dumps(ESCAPES)[1:-1]
    words = ("BatchNorm1d", "Linear", "cross_entropy", "item", "RuntimeError")
    for word in (*words, os.path.basename(__file__)):
        assert word in document
        document = document.replace(word, word + poison)
    for text in look_at(document, tmp_path):
        assert not OBEYED.search(text)


def test_names_are_no_formulas_of_a_plot(document, tmp_path):
    look_at(document.replace("BatchNorm1d", "_$\\\\frac{$"), tmp_path)


@pytest.mark.parametrize("file", ["/dev/zero", "a\\u0000b.py", "PIPE"])
def test_no_file_is_read_that_is_no_code(file, document, tmp_path):
    if file == "PIPE":
        file = str(tmp_path / "pipe.py")
        os.mkfifo(file)
    quoted = json.dumps(__file__)[1:-1]
    assert quoted in document
    look_at(document.replace(quoted, file), tmp_path)


def test_no_place_in_the_code_is_too_long(document, tmp_path):
    parts = json.loads(document)
    columns = parts["tables"]["Source"]["columns"]
    for column, value in {"line": -5, "end_line": 2**60, "end_column": 2**60}.items():
        columns[column] = {"all": value}
    look_at(json.dumps(parts), tmp_path)


def test_no_number_and_no_name_is_too_large(document, tmp_path):
    parts = json.loads(document)
    tables = parts["tables"]
    for column in ("start_ns", "duration_ns", "self_ns", "backward_ns", "saved_bytes"):
        tables["ModuleCall"]["columns"][column] = {"all": 2**63 - 1}
    refs = tables["TensorRef"]["columns"]
    refs["shape"] = {"all": [2**31, 2**31]}
    look_at(json.dumps(parts).replace("BatchNorm1d", "B" * 1_000_000), tmp_path)


@pytest.mark.parametrize("code", ["a" * 100_000, "../checks/batch-dim", "a\0b", ""])
def test_a_check_s_code_from_anywhere_finds_no_file(code):
    assert page(code) is None


def test_numbers_without_bounds_are_refused(document, tmp_path):
    parts = json.loads(document)
    parts["tables"]["Overhead"]["columns"]["module_bare"] = {"all": 1e308}
    with pytest.raises(shapetrace.ReportError, match="a number without an end"):
        look_at(json.dumps(parts), tmp_path)


def test_a_summary_without_modules_has_nothing_that_a_terminal_obeys(tmp_path):
    layer, path = nn.Linear(4, 3), tmp_path / "empty.json"
    with shapetrace.trace(layer) as t:
        torch.ones(2).relu()
    t.to_json(path)
    path.write_text(path.read_text().replace("Linear", json.dumps(ESCAPES)[1:-1]))
    assert "no module was called" in (said := str(shapetrace.load(path).summary()))
    assert not OBEYED.search(said)


@pytest.mark.filterwarnings("error::shapetrace.ShapeTraceWarning")
def test_arguments_that_are_no_inputs_are_no_fault_of_ours(document, tmp_path):
    parts = json.loads(document)
    columns = parts["tables"]["FunctionCall"]["columns"]
    for name in ("args", "kwargs"):
        columns[name] = [type(value)() for value in columns[name]]
    look_at(json.dumps(parts), tmp_path)
    parts["tables"]["TensorRef"]["columns"]["path"] = {"all": "elsewhere"}
    look_at(json.dumps(parts), tmp_path)
