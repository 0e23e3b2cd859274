"""The judge of explanations judges rightly: of programs whose verdict is known."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from corpora import CORPORA  # noqa: E402
from corpora.case import Case, held_out, place  # noqa: E402
from corpora.files import constants, mended  # noqa: E402
from corpora.injection import Slip  # noqa: E402
from corpora.injection import slips as injected  # noqa: E402
from corpora.judging import judge  # noqa: E402
from corpora.slips import SCRIPTS, broken, sized, table  # noqa: E402
from corpora.truth import examined, outcome  # noqa: E402

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


SCRIPT = """import torch
import torch.nn as nn
import torch.nn.functional as F


BATCH, WIDTH = 6, 10


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, 16)
        self.norm = nn.BatchNorm1d(16)
        self.out = nn.Linear(16, 1)

    def forward(self, x):
        return self.out(self.norm(self.fc1(x))).squeeze(1)


def build():
    return Net()


def step(model):
    x, y = torch.randn(BATCH, WIDTH), torch.randn(BATCH)
    return F.mse_loss(model(x), y)


EQUAL = dict(BATCH=8, WIDTH=8)
"""


def slip(kind, new):
    found = [one for one in injected(SCRIPT) if (one.kind, one.new) == (kind, new)]
    return examined("net", SCRIPT, found[0])


def test_the_sizes_of_a_script_are_named_or_plain_or_all_equal():
    assert "BATCH, WIDTH = 6, 10" in sized(SCRIPT, "distinct")
    assert "nn.Linear(10, 16)" in sized(SCRIPT, "literal")
    assert "WIDTH" not in sized(SCRIPT, "literal")
    assert "BATCH, WIDTH = 8, 8" in sized(SCRIPT, "equal")
    assert "BATCH, WIDTH = 1, 10" in sized(SCRIPT, "single")


def test_a_width_that_two_layers_speak_against_is_that_layers_fault():
    numbers = [s for s in injected(SCRIPT) if s.kind == "wrong number in a layer"]
    first = next(s for s in numbers if SCRIPT[s.start - 7 : s.start] == "WIDTH, ")
    row = examined("net", SCRIPT, first)
    assert row["culprits"] == ["fc1"] and row["sizes"]["distinct"] == "layer"


def test_who_should_have_squeezed_is_to_blame_for_a_squeeze_that_is_missing():
    row = slip("forgotten squeeze", "self.out(self.norm(self.fc1(x)))")
    assert row["sizes"] == {"distinct": "silent", "equal": "silent"}
    assert row["culprits"] == ["", "out", "target"]


def test_a_slip_that_changes_nothing_is_none():
    assert slip("last short batch", "BATCH - 1") is not None
    trivial = Slip("forgotten view", SCRIPT.index("x, y"), SCRIPT.index("x, y"), "", "")
    assert examined("net", SCRIPT, trivial) is None


@pytest.mark.parametrize("script", sorted({row["script"] for row in table()}))
def test_the_table_of_slips_is_that_of_the_scripts(script, tmp_path):
    text = (SCRIPTS / f"{script}.py").read_text("utf-8")
    rows = [row for row in table() if row["script"] == script]
    assert all(row["culprits"] and broken(row, text) != text for row in rows)
    row = min(rows, key=lambda row: place(row["kind"], row["new"]))
    for sizes, category in row["sizes"].items():
        end, _ = outcome(sized(broken(row, text), sizes), tmp_path / "bad.py")
        assert end == ("ran" if category == "silent" else "raised")
