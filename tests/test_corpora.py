"""The judge of explanations judges rightly: of programs whose verdict is known."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from corpora import CORPORA  # noqa: E402
from corpora.case import Case, held_out  # noqa: E402
from corpora.files import constants, mended  # noqa: E402
from corpora.judging import judge  # noqa: E402

HEAD = "import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n\n\n"
WIDER = f"""{HEAD}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(8, 16)
        self.norm = nn.BatchNorm1d(16)
        self.fc2 = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc2(F.relu(self.norm(self.fc1(x))))


def build():
    return Net()


def step(model):
    return F.cross_entropy(model(torch.randn(4, 8)), torch.tensor([0, 1, 2, 0]))
"""
BROKEN = WIDER.replace("Linear(8, 16)", "Linear(8, 12)")


def case(text=BROKEN, category="layer", culprits=("fc1",), good=WIDER):
    named = frozenset(culprits)
    return Case("test", "net", "net", category, text, False, named, good)


def test_a_right_culprit_and_a_right_fix_are_seen_as_such(tmp_path):
    row = judge(case(), tmp_path)
    assert row["raises"] == "RuntimeError"
    assert row["first"] and row["any"] and row["runs"] and row["right"]


def test_a_fix_that_runs_and_trains_something_else_is_not_right(tmp_path):
    other = WIDER.replace("F.relu", "F.gelu")
    row = judge(case(good=other), tmp_path)
    assert row["runs"] and not row["right"]


def test_another_culprit_than_the_accepted_one_is_a_miss(tmp_path):
    row = judge(case(culprits=["function:relu"]), tmp_path)
    assert not row["first"] and not row["any"]


def test_a_correct_program_has_no_figures_but_its_alarms(tmp_path):
    row = judge(case(WIDER, "correct", ()), tmp_path)
    assert row["alarms"] == [] and "first" not in row
    doubtful = WIDER.replace("return self.fc2", "return F.softmax(self.fc2")
    doubtful = doubtful.replace("(x))))", "(x)))), 0)")
    assert judge(case(doubtful, "correct", ()), tmp_path)["alarms"]


def test_a_program_is_mended_by_pairs_and_a_pair_that_is_not_there_is_an_error():
    assert mended("a = 1\nMENDED = 0", [("1", "2")]) == "a = 2\n"
    with pytest.raises(ValueError, match="not in the program"):
        mended("a = 1\n", [("3", "4")])


def test_the_truth_of_a_file_is_read_without_running_it():
    text = "TRUTH = dict(culprits=['fc'], at=None)\nX = print(1)\nCATEGORY = 'loss'\n"
    assert constants(text) == {
        "TRUTH": {"culprits": ["fc"], "at": None},
        "CATEGORY": "loss",
    }


def test_families_are_split_whole_and_names_stand_for_themselves():
    cases = list(CORPORA["own"]())
    assert len({case.name for case in cases}) == len(cases) > 40
    assert held_out("resnet18") == held_out("resnet18")
    share = sum(held_out(f"family {n}") for n in range(300)) / 300
    assert 0.25 < share < 0.42
