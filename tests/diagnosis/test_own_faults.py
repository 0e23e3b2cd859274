"""A fault in an analysis of ours costs that analysis, and nothing else."""

from __future__ import annotations

import importlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace
from shapetrace.checks import CHECKS


def broken(*_):
    raise ZeroDivisionError("our own fault")


@pytest.fixture
def failed(monkeypatch, tmp_path):
    monkeypatch.setattr("shapetrace.diagnosis.explain.find_mismatch", broken)
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(5, 2))
    with pytest.raises(RuntimeError) as caught:
        with shapetrace.trace(model) as t:
            model(torch.ones(2, 4))
    return t, caught.value


def test_a_failure_that_cannot_be_explained_is_still_told(failed):
    t, error = failed
    (note,) = error.__notes__
    for said in (t.failure.message, note, str(t.explain())):
        assert "`linear` failed on (2, 3)" in said
        assert "ZeroDivisionError: our own fault" in said
    assert (t.failure.where, t.failure.module) == ("module:1", "1")
    assert t.failure.culprits == () and t.failure.fixes == ()


def test_every_view_of_such_a_trace_works(failed, tmp_path):
    t, _ = failed
    assert "failed" in str(t) and "module:1" in repr(t)
    assert "failed" in t._repr_html_() and len(t.to_dataframe()) == 3
    t.to_json(tmp_path / "t.json")
    assert shapetrace.load(tmp_path / "t.json") == t


def test_a_check_that_fails_is_a_note_beside_the_others(monkeypatch, recwarn):
    rule = CHECKS["class-dim"]
    monkeypatch.setitem(CHECKS, "class-dim", rule._replace(run=broken))
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
    with shapetrace.trace(model) as t:
        F.cross_entropy(model(torch.ones(2, 4)), torch.tensor([0, 1])).backward()
    found = {finding.code: finding for finding in t.findings}
    assert set(found) == {"softmax-before-cross-entropy", "class-dim"}
    assert found["class-dim"].severity == "note"
    assert "our own fault" in found["class-dim"].message
    assert len(recwarn) == 1 and "class-dim" not in str(recwarn[0].message)


PARTS = {
    "the evidence `broken`": ("shapetrace.diagnosis.evidence.FAMILIES", True),
    "the hypotheses `broken`": ("shapetrace.diagnosis.generate.GENERATORS", True),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_fails_is_left_out_of_the_explanation_and_told(part, monkeypatch):
    place, added = PARTS[part]
    module, _, name = place.rpartition(".")
    with monkeypatch.context() as changed:
        own = getattr(importlib.import_module(module), name)
        changed.setattr(place, (broken, *own) if added else broken)
        model = nn.Sequential(nn.Linear(4, 3), nn.Linear(5, 2))
        with pytest.raises(RuntimeError), shapetrace.trace(model) as t:
            model(torch.ones(2, 4))
    found = t.failure
    assert {culprit.name for culprit in found.culprits} == {"0", "1"} and found.fixes
    (told,) = (one for one in found.remarks if "fault of shapetrace's own" in one)
    assert part in told and "ZeroDivisionError: our own fault" in told


def test_nothing_of_an_explanation_that_is_whole_is_said_to_be_left_out():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(5, 2))
    with pytest.raises(RuntimeError), shapetrace.trace(model) as t:
        model(torch.ones(2, 4))
    assert "shapetrace's own" not in str(t.failure)
