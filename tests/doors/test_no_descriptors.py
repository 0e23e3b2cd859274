"""Where no file can be opened, not even one of our own code: the batch is as without a
trace, a view says what the matter is, and all is there once files can be opened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource")
PROGRAM = Path(__file__).with_name("no_descriptors.py")


@pytest.fixture(scope="module", params=["before the block", "in the block", "later"])
def ran(request):
    done = subprocess.run(
        [sys.executable, PROGRAM, request.param], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return request.param, *json.loads(done.stdout.splitlines()[-1])


def test_the_user_s_exception_leaves_and_nothing_of_ours_in_its_place(ran):
    _, left, _, without, _ = ran
    assert left.startswith("The size of tensor a (3) must match")
    raised = {
        text.split(":")[0] for text in without.values() if text.startswith("raised ")
    }
    assert raised == {"raised ReportError"}


def test_what_is_missing_is_warned_of_and_said_in_place_of_a_view(ran):
    moment, _, said, without, _ = ran
    assert all("a fault of shapetrace's own cost" in one for one in said)
    assert any("Too many open files" in one for one in said)
    assert "keeps it from view" in without["str"]
    assert "Ask again when there is room" in without["csv"]
    assert ("cannot be explained" in without["explain"]) is (moment != "later")


def test_all_is_there_once_files_can_be_opened(ran):
    moment, _, _, _, again = ran
    assert not [text for text in again.values() if text.startswith("raised ")]
    if moment == "before the block":  # nothing was recorded
        assert "the whole recording could not be recorded" in again["str"]
        return
    assert again["calls"] == "3" and again["frame"] == "3" and again["losses"] == "1"
    assert "`l1_loss` failed" in again["explain"] and "out_features" in again["failure"]
    assert "0 differences" in again["compare"] or again["compare"]
