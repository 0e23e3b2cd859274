"""What is typed to ask a trace: by the name that the script gives it."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from threading import Lock

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace
from shapetrace import ShapeTraceWarning, Trace, trace

model = nn.Linear(4, 1)

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")


def step() -> None:
    F.mse_loss(model(torch.ones(8, 4)), torch.ones(8)).backward()


def as_kept() -> Trace:
    with shapetrace.trace(model) as kept:
        step()
    return kept


def as_one_of_several() -> Trace:
    with nullcontext(3) as other, trace(model) as kept, Lock():
        step()
    assert other == 3
    return kept


def entered_later() -> Trace:
    kept = trace(model)
    with kept:
        step()
    return kept


@pytest.mark.parametrize("run", [as_kept, as_one_of_several, entered_later])
def test_a_hint_names_the_script_s_own_variable(run):
    with pytest.warns(ShapeTraceWarning, match=r"print\(kept\.findings\[0\]\) tells"):
        t = run()
    text = " ".join(t.table(width=50).split())
    assert "print(kept.findings[0])" in text
    assert "kept.to_dataframe() has all" in text


def test_where_no_line_names_it_a_hint_says_t():
    with pytest.warns(ShapeTraceWarning, match=r"print\(t\.findings\[0\]\) tells"):
        with ExitStack() as stack:
            stack.enter_context(trace(model))
            step()


def test_a_trace_that_was_read_back_has_no_name_of_its_own(tmp_path):
    with pytest.warns(ShapeTraceWarning):
        t = as_kept()
    t.to_json(tmp_path / "report.json")
    again = shapetrace.load(tmp_path / "report.json")
    assert again == t and "print(t.findings[0])" in again.table()
