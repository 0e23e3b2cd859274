"""In a real kernel: the magic, and classes that are defined in cells."""

from __future__ import annotations

import re

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("IPython")

pytestmark = [
    pytest.mark.zoo,
    # the kernel's own packages warn of their own future
    pytest.mark.filterwarnings("default"),
]

SETUP = """\
%load_ext shapetrace
import torch
from torch import nn
import torch.nn.functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(8, 16)
        self.fc2 = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))

net = Net()
x, y = torch.ones(4, 8), torch.ones(4, 5)"""


def run(*cells):
    """The outputs of each cell, of a fresh kernel that goes on after an error."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
    )
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", allow_errors=True
    )
    client.execute()
    return [cell.outputs for cell in notebook.cells]


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture(scope="module")
def outputs():
    return run(
        SETUP,
        "%%shapetrace net -o t\nout = net(x)\nout.shape",
        "len(t.calls), t.calls[1].name",
        "%%shapetrace net -o t\n# mine\nout = net(x)\nF.cross_entropy(out, y)",
        "t.failure.culprits[0].name, str(t.failure.culprits[0].source)",
        "%%shapetrace\nnet(x);",
        "%%shapetrace nett\nnet(x)",
        "import shapetrace\nwith shapetrace.trace(net):\n    net(torch.ones(4, 9))",
        "t.failure",
        "%%shapetrace net -o k\nout = net(x)",
        "k.expect(out, '4 7')",
        "def look(t):\n    t.table(columns='nothing')\nlook(k)",
        "%%shapetrace net -o k\nout = net(x)\nk.expect(out, '4 7')",
        "%%shapetrace net\nout = net(x)\nout = = x",
        "%%shapetrace net\nout = net(x)\nraise KeyboardInterrupt",
    )


def test_a_cell_shows_its_last_expression_and_its_table(outputs):
    shown, value = outputs[1]
    assert "Linear" in shown.data["text/html"]
    assert value.data["text/plain"] == "torch.Size([4, 3])"
    assert outputs[2][0].data["text/plain"] == "(3, 'fc1')"


def test_a_failing_cell_shows_its_own_lines_and_the_explanation(outputs):
    (error,) = outputs[3]
    assert error.output_type == "error" and error.ename == "RuntimeError"
    text = plain("\n".join(error.traceback))
    assert "cross_entropy(out, y)" in text and "shapetrace:" in text
    assert "Cell In[4], line 4" in text
    for frame in ("run_cell_magic", "shapetrace/", "__torch_function__", "overrides"):
        assert frame not in text.partition("shapetrace:")[0]


def test_what_a_cell_defined_is_found_by_the_cells_number(outputs):
    name, place = eval(outputs[4][0].data["text/plain"])
    assert name == "fc2" and place == "In [1]:13"


def test_a_diagnosis_is_its_text_where_no_page_is_shown(outputs):
    (shown,) = outputs[8]
    assert shown.data["text/plain"].startswith("`cross_entropy` failed: dim 1 of")
    assert "text/html" in shown.data


def test_without_a_model_every_module_is_traced_and_a_semicolon_is_quiet(outputs):
    (shown,) = outputs[5]
    assert "Linear" in shown.data["text/html"]


def test_a_name_that_is_none_is_told(outputs):
    (error,) = outputs[6]
    assert "nett" in plain(str(error))


def test_a_plain_trace_in_a_cell_shows_no_frame_of_ours_either(outputs):
    (error,) = outputs[7]
    text = plain("\n".join(error.traceback))
    assert "shapetrace:" in text and "In [1]" in text
    for frame in ("__torch_function__", "watched", "inner("):
        assert frame not in text.partition("shapetrace:")[0]


@pytest.mark.parametrize(
    ("cell", "kind", "line"),
    [
        (10, "ShapeError", "----> 1 k.expect(out, '4 7')"),
        (11, "UsageError", "----> 2     t.table(columns='nothing')"),
        (12, "ShapeError", "----> 3 k.expect(out, '4 7')"),
    ],
)
def test_an_error_of_ours_ends_at_the_users_line(outputs, cell, kind, line):
    (error,) = outputs[cell]
    head, _, said = plain("\n".join(error.traceback)).rpartition(f"\n{kind}: ")
    assert line in head and said
    assert "File " not in head and "hidden" not in head


@pytest.mark.parametrize(
    ("cell", "kind", "line"),
    [(13, "SyntaxError", "out = = x"), (14, "KeyboardInterrupt", "----> 3 raise")],
)
def test_what_ends_a_cell_before_its_end_is_shown_as_the_cells_own(
    outputs, cell, kind, line
):
    (error,) = outputs[cell]
    text = plain("\n".join(error.traceback))
    assert error.ename == kind and line in text and "Cell In[" in text
    assert "run_cell_magic" not in text and "shapetrace/" not in text


def test_a_warning_tells_what_can_be_typed_for_the_trace_of_a_cell():
    code = "F.mse_loss(nn.Linear(8, 1)(x), torch.ones(4)).backward()"
    _, kept, shown = run(SETUP, f"%%shapetrace -o k\n{code}", f"%%shapetrace\n{code}")
    said = [
        "".join(one.get("text", "") for one in outputs if one.get("name") == "stderr")
        for outputs in (kept, shown)
    ]
    assert "print(k.findings[0]) tells" in said[0]
    assert "With -o t, print(t.findings[0]) tells" in said[1]
