"""Classes and functions that a notebook's cells define, in a real kernel."""

from __future__ import annotations

import nbformat
import pytest

CELLS = [
    "import torch\nimport torch.nn as nn\nimport shapetrace",
    """
class Net(nn.Module):
    def __init__(self, hidden=8):
        super().__init__()
        self.fc1 = nn.Linear(4, hidden)  # the first
        self.act = block(hidden)
        self.fc2 = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))
""",
    """
def block(width):
    return nn.Sequential(nn.Linear(width, width), nn.ReLU())
model = Net()
%matplotlib --list
!true
""",
    """
t = shapetrace.trace(model)
try:
    with t:
        model(torch.ones(2, 4))
except RuntimeError as error:
    print(t.failure)
""",
    """
from shapetrace.source.finder import Constructions
made = Constructions(t.recording)
for name in ("", "fc1", "act.0", "fc2"):
    one = made.of(name)
    print(one.source, one.made.code)
fix = next(fix for fix in t.failure.fixes if fix.where is not None)
print(fix.where, fix.line)
""",
]


@pytest.fixture(scope="module")
def outputs():
    """What each cell of the notebook printed."""
    client = pytest.importorskip("nbclient")
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(code.strip("\n")) for code in CELLS]
    client.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    return [
        "".join(out.get("text", "") for out in cell.outputs) for cell in notebook.cells
    ]


def test_a_cell_is_named_as_the_notebook_shows_it(outputs):
    assert "--> In [2]:9 in Net.forward" in outputs[3]
    assert "ipykernel" not in outputs[3]


def test_modules_are_found_where_a_cell_builds_them(outputs):
    lines = outputs[4].splitlines()
    assert lines[:4] == [
        "In [3]:3 Net()",
        "In [2]:4 nn.Linear(4, hidden)",
        "In [3]:2 nn.Linear(width, width)",
        "In [2]:6 nn.Linear(6, 3)",
    ]


def test_a_fix_is_the_line_of_the_cell(outputs):
    assert outputs[4].splitlines()[4].startswith("In [2]:6 self.fc2 = nn.Linear(8, 3)")
