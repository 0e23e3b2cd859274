"""Functions of ours that give nonsense: the batch is as without a trace, and the views
work without what they gave."""

from __future__ import annotations

import pytest
import torch
from faulty_batches import batch, installed, look_at

import shapetrace
from shapetrace import ReportError, ShapeTraceWarning
from shapetrace.records import (
    ModuleInfo,
    Opaque,
    Recording,
    Source,
    TensorRef,
)
from shapetrace.records.soundness import Unsound, sound

NONSENSE = [None, "nonsense", -1, [], (object(),) * 4]


pytestmark = pytest.mark.usefixtures("cost_of_the_tracer")


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("nonsense", NONSENSE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "where",
    [
        "shapetrace.recording.build.locate",
        "shapetrace.source.place.cell",
        "shapetrace.recording.build.function_names",
        "shapetrace.recording.build.outline",
        "shapetrace.recording.build.Replay._error",
        "shapetrace.recording.events.error_tuple",
        "shapetrace.recording.versions.Versions.flat",
        "shapetrace.recording.build.module_infos",
        "shapetrace.recording.recorder.function_mode",
        "shapetrace.recording.readout.Live._build",
        "shapetrace.recording.session.Session.start",
        "shapetrace.recording.warned_from.Callers.standing_in",
    ],
)
@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
def test_the_views_work_without_the_nonsense(where, nonsense, fails, monkeypatch):
    untraced = batch({}, fails=fails, given=True)
    with monkeypatch.context() as broken:
        broken.setattr(where, lambda *args, **kwargs: nonsense)
        made = batch({}, fails=fails, given=True)
    assert made.error == untraced.error and installed() == []
    assert all(map(torch.equal, made.computed, untraced.computed))
    look_at(made.trace)
    made.trace.to_dataframe(by="line"), made.trace.summary()


def test_what_was_lost_is_warned_of_once_and_noted(tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr("shapetrace.source.place.cell", lambda *args: ["nonsense"])
        made = batch({}, fails=False, given=True)
        calls = made.trace.calls
    assert [call.source.cell for call in calls] == [["nonsense"]] * len(calls)
    with pytest.warns(ShapeTraceWarning, match="what a fault has left wrong") as warned:
        made.trace.to_json(tmp_path / "report.json")
        made.trace.to_json(tmp_path / "report.json")
    assert len(warned) == 1
    read = shapetrace.load(tmp_path / "report.json")
    as_ever = batch({}, fails=False, given=True).trace.calls
    assert [call.source for call in read.calls] == [call.source for call in as_ever]
    assert "what a fault has left wrong could not be" in read.recording.notes[-1]


def broken(*args, **kwargs):
    raise ZeroDivisionError("our own fault")


def test_a_view_that_fails_says_so_in_its_place_and_warns(monkeypatch):
    made = batch({}, fails=False, given=True)
    monkeypatch.setattr("shapetrace.views.text.table", broken)
    with pytest.warns(ShapeTraceWarning, match="our own fault") as warned:
        assert "shapetrace's own (ZeroDivisionError)" in str(made.trace)
        assert "ZeroDivisionError" in made.trace.table()
    assert len(warned) == 1


def test_rows_and_files_that_cannot_be_had_are_an_error_of_ours(monkeypatch):
    made = batch({}, fails=False, given=True)
    monkeypatch.setattr("shapetrace.views.frame.frame", broken)
    with pytest.raises(ReportError, match="our own fault") as caught:
        made.trace.to_dataframe()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def ref(**fields):
    plain = {"path": "output", "id": 1, "shape": (2, 3), "dtype": torch.float32}
    return TensorRef(**{**plain, "device": torch.device("cpu"), **fields})


def test_a_sound_record_is_itself():
    for record in (
        ref(),
        Source("a.py", 3),
        ModuleInfo("", "Net", "Net", (ref(),), (), {"any": [object()]}),
        batch({"memory": True}, fails=True, given=True).trace.recording,
    ):
        assert sound(record) is record


def test_a_field_gets_its_default_and_a_record_without_one_is_left_out():
    assert sound(Source("a.py", 3, function=7, end_line="x")) == Source("a.py", 3)
    info = ModuleInfo("", "Net", "Net", (ref(), ref(shape=(2, "3")), ref(id=True)))
    assert sound(info) == ModuleInfo("", "Net", "Net", (ref(),))
    rec = Recording((), (), {"": info, 3: info}, {}, value_ranges={1: (1, 2), 2: (1,)})
    mended = sound(rec)
    assert mended.modules == {"": sound(info)} and mended.value_ranges == {1: (1, 2)}


@pytest.mark.parametrize("record", [Source(None, 3), Opaque(5), ref(dtype="float32")])
def test_what_cannot_be_mended_is_none(record):
    with pytest.raises(Unsound):
        sound(record)
