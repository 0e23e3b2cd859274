"""What cannot be traced, explained or written is refused in words that help."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from invariants import check_invariants
from torch import nn

import shapetrace
from shapetrace import ReportError, ShapeError, Trace, UsageError


@pytest.fixture
def batch() -> tuple[Trace, torch.Tensor]:
    """A finished trace, and the output of its batch."""
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with shapetrace.trace(model) as t:
        y = model(torch.ones(2, 4))
    return t, y


def usable(t: Trace) -> bool:
    """All that was recorded is there, and can still be looked at."""
    check_invariants(t.recording)
    return len(t.calls) == 3 and "Linear" in str(t) and len(t.to_dataframe()) == 3


# -- what to trace --------------------------------------------------------------------


@pytest.mark.parametrize("given", [3, None, "model", [nn.ReLU()], torch.ones(2), len])
def test_what_is_no_module_is_refused(given):
    with pytest.raises(UsageError, match=r"write trace\(model\)"):
        shapetrace.trace(given)


def test_a_class_instead_of_a_module_is_told_to_be_instantiated():
    with pytest.raises(UsageError, match=r"trace\(Linear\(\.\.\.\)\)"):
        shapetrace.trace(nn.Linear)


def test_one_bad_module_among_good_ones_installs_nothing():
    model = nn.Linear(4, 3)
    with pytest.raises(UsageError):
        shapetrace.trace(model, 3)
    assert not model._forward_hooks and not model._forward_pre_hooks


def test_the_errors_can_be_caught_as_those_of_python():
    assert issubclass(UsageError, TypeError)
    assert issubclass(ReportError, OSError)
    assert issubclass(ShapeError, AssertionError)
    assert issubclass(UsageError, shapetrace.ShapeTraceError)


# -- a trace is used once -------------------------------------------------------------


def test_entering_a_running_trace_again_is_refused_and_harms_it_not():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with shapetrace.trace(model) as t:
        model(torch.ones(2, 4))
        with pytest.raises(UsageError, match="is running.*trace\\(model\\) as t"):
            t.__enter__()
        model(torch.ones(2, 4))
    assert len(t.calls) == 6


def test_using_a_trace_twice_is_refused_and_keeps_what_it_recorded(batch):
    t, _ = batch
    with pytest.raises(UsageError, match="has recorded already"):
        with t:
            pass
    assert usable(t)


def test_a_trace_that_never_ran_is_empty_but_can_be_looked_at():
    t = shapetrace.trace(nn.ReLU())
    assert t.calls == () and t.functions == () and t.failure is None
    assert isinstance(str(t), str) and len(t.to_dataframe()) == 0


# -- overlapping traces ---------------------------------------------------------------


def told(t: Trace) -> list[Any]:
    check_invariants(t.recording)
    return [
        [(c.name, c.type, c.parent, [r.shape for r in c.outputs]) for c in t.calls],
        [(f.name, f.parent, str(f.source)) for f in t.functions],
    ]


@pytest.mark.parametrize("functions", [True, False])
def test_nested_traces_of_one_model_record_the_same(functions):
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2)))
    x = torch.ones(2, 4)
    with shapetrace.trace(model, functions=functions) as outer:
        with shapetrace.trace(model, functions=functions) as inner:
            model(x).sum().relu()
    assert told(outer) == told(inner)
    assert len(outer.calls) == 5 and len(outer.functions) == 5 * functions


def test_nested_traces_of_overlapping_modules_both_work():
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2)))
    with shapetrace.trace(model) as outer:
        with shapetrace.trace(model[1]) as inner:
            model(torch.ones(2, 4))
        model(torch.ones(2, 4))
    assert [call.name for call in inner.calls] == ["", "0", "1"]
    assert [call.name for call in outer.calls] == ["", "0", "1", "1.0", "1.1"] * 2
    assert {c.source.file for c in (*inner.calls, *outer.calls)} == {__file__}


@pytest.mark.parametrize("options", [{}, {"functions": False}, {"memory": True}])
@pytest.mark.parametrize("second", ["given", "every"])
@pytest.mark.parametrize("first", ["given", "every"])
def test_of_two_traces_the_first_may_end_first(first, second, options):
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.ones(2, 4)
    roots = {"given": [model], "every": []}
    a = shapetrace.trace(*roots[first], **options)
    b = shapetrace.trace(*roots[second], **options)
    a.__enter__()
    b.__enter__()
    model(x)
    a.__exit__(None, None, None)
    x.relu()
    model(x)
    b.__exit__(None, None, None)
    model(x)
    assert [len(t.calls) for t in (a, b)] == [3, 6]
    if a.functions:
        layers = ["linear", "relu"]
        assert [f.name for f in a.functions] == layers
        assert [f.name for f in b.functions] == [*layers, "relu", *layers]


def test_a_trace_in_a_generator_that_is_closed_leaves_the_one_around_it():
    model = nn.Sequential(nn.Linear(4, 3))

    def run() -> Iterator[Trace]:
        with shapetrace.trace(model) as t:
            yield t

    generator = run()
    inner = next(generator)
    with shapetrace.trace(model) as t:
        model(torch.ones(2, 4))
        generator.close()
        model(torch.ones(2, 4))
    assert (len(inner.calls), len(t.calls)) == (2, 4)


def test_a_compiled_call_is_put_back_by_whichever_trace_ends_last():
    model = nn.Sequential(nn.Linear(4, 3))
    model.compile(backend="eager")
    compiled = model._compiled_call_impl
    a, b = shapetrace.trace(model), shapetrace.trace(model)
    a.__enter__()
    b.__enter__()
    a.__exit__(None, None, None)
    model(torch.ones(2, 4))
    b.__exit__(None, None, None)
    assert model._compiled_call_impl is compiled
    assert (len(a.calls), len(b.calls)) == (0, 2)


def test_compiled_code_runs_compiled_again_whichever_trace_ends_last():
    model = torch.compile(nn.Linear(4, 3), backend="eager")
    a, b = shapetrace.trace(model), shapetrace.trace(model)
    a.__enter__()
    b.__enter__()
    a.__exit__(None, None, None)
    model(torch.ones(2, 4))
    assert torch._dynamo.eval_frame._stance.stance == "force_eager"
    b.__exit__(None, None, None)
    assert torch._dynamo.eval_frame._stance.stance == "default"
    assert (len(a.calls), len(b.calls)) == (0, 2)


@pytest.mark.parametrize("most", [0, -1, "many", 1.5, True])
def test_a_limit_that_is_no_number_of_calls_is_refused(most):
    with pytest.raises(UsageError, match="max_calls="):
        shapetrace.trace(nn.ReLU(), max_calls=most)


def test_roots_that_overlap_are_recorded_once():
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU()))
    with shapetrace.trace(model, model[1]) as t:
        model(torch.ones(2, 4))
        model[1](torch.ones(2, 4))
    check_invariants(t.recording)
    name = "Sequential"
    assert [(call.name, call.depth) for call in t.calls] == [
        (name, 0),
        (f"{name}.0", 1),
        (f"{name}.1", 1),
        (f"{name}.1.0", 2),
        (f"{name}.1", 0),
        (f"{name}.1.0", 1),
    ]


def test_one_module_given_twice_is_recorded_once():
    model = nn.Linear(4, 3)
    with shapetrace.trace(model, model) as t:
        model(torch.ones(2, 4))
    assert len(t.calls) == 1


# -- reports --------------------------------------------------------------------------

WRITERS = ["to_csv", "to_json", "to_html"]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("path", ["missing/folder/report", "."])
def test_a_report_that_cannot_be_written_is_refused_and_nothing_is_lost(
    batch, writer, path, tmp_path
):
    t, _ = batch
    with pytest.raises(ReportError, match=r"\S"):
        getattr(t, writer)(tmp_path / path)
    assert usable(t)
    getattr(t, writer)(tmp_path / "report")
    assert (tmp_path / "report").stat().st_size > 0


def test_an_unknown_kind_of_table_is_refused_by_naming_the_known(batch):
    t, _ = batch
    with pytest.raises(UsageError, match="'call'.*'module'"):
        t.to_dataframe(by="layer")
    assert usable(t)


DAMAGE: list[Callable[[str], str]] = [
    lambda text: "",
    lambda text: text[: len(text) // 2],
    lambda text: "[]",
    lambda text: "{}",
    lambda text: "3",
    lambda text: "no json",
    lambda text: json.dumps({"name": "something else", "version": 1}),
    lambda text: text.replace('"calls"', '"galls"'),
    lambda text: text.replace("float32", "float33"),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_report_is_refused(batch, damage, tmp_path):
    t, _ = batch
    path = tmp_path / "report.json"
    t.to_json(path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ReportError, match=r"\w"):
        shapetrace.load(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x80\x04N."])
def test_a_report_that_is_no_text_is_refused(content, tmp_path):
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(ReportError, match="to_json"):
        shapetrace.load(path)


def test_a_missing_report_is_refused_by_naming_what_writes_one(tmp_path: Path):
    with pytest.raises(ReportError, match=r"missing\.json.*t\.to_json\(path\)"):
        shapetrace.load(tmp_path / "missing.json")


# -- questions ------------------------------------------------------------------------


@pytest.mark.parametrize("ask", ["explain", "lineage"])
@pytest.mark.parametrize("given", [3, "logits", [torch.ones(2)], nn.ReLU()])
def test_questions_about_what_is_no_tensor_are_refused(batch, ask, given):
    t, _ = batch
    with pytest.raises(UsageError, match=rf"t\.{ask}\(logits\)"):
        getattr(t, ask)(given)
    assert usable(t)


@pytest.mark.parametrize("ask", ["explain", "lineage", "expect"])
def test_questions_about_a_tensor_from_elsewhere_are_refused(batch, ask):
    t, _ = batch
    more = ("2 3",) if ask == "expect" else ()
    with pytest.raises(UsageError, match="has not seen"):
        getattr(t, ask)(torch.ones(2, 3), *more)
    assert usable(t)


def test_a_tensor_of_another_trace_is_a_tensor_from_elsewhere(batch):
    t, y = batch
    with shapetrace.trace(nn.ReLU()) as other:
        pass
    with pytest.raises(UsageError, match="has not seen"):
        other.lineage(y)
    assert t.lineage(y)


@pytest.mark.parametrize("dim", [2, -3, 10])
def test_a_dimension_that_the_tensor_has_not_is_refused(batch, dim):
    t, y = batch
    with pytest.raises(UsageError, match="between -2 and 1"):
        t.lineage(y, dim=dim)


@pytest.mark.parametrize("shape", ["2 3 4", "3 3", "n n", "2"])
def test_a_shape_that_is_not_met_is_a_shape_error(batch, shape):
    t, y = batch
    t.expect(y, "batch 3")
    with pytest.raises(ShapeError, match=r"\w"):
        t.expect(y, shape)
    assert usable(t)


def test_a_loaded_trace_says_that_it_knows_no_tensors(batch, tmp_path):
    t, y = batch
    t.to_json(tmp_path / "t.json")
    loaded = shapetrace.load(tmp_path / "t.json")
    assert loaded == t
    with pytest.raises(UsageError, match=r"\w"):
        loaded.lineage(y)
