"""--try-fixes: the fix in a copy of the script, and what the step really does."""

from __future__ import annotations

from pathlib import Path

import pytest

from shapetrace.cli import fix_trials, main
from shapetrace.records import Fix, Source

SCRIPT = """
import torch
from torch import nn
from net import Net

model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for width in (5, 5, 5):
    prediction = model(torch.randn(8, 4))
    loss = nn.functional.mse_loss(prediction, torch.randn(8, width))
    loss.backward()
    optimizer.step()
    Path = __import__("pathlib").Path
    Path("steps.txt").write_text(str(width))
"""
NET = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    Path("train.py").write_text(SCRIPT)
    return tmp_path


@pytest.mark.zoo
def test_a_fix_in_an_imported_file_is_tried_for_real(folder, capsys):
    assert main(["run", "--try-fixes", "train.py"]) == 1
    out, err = capsys.readouterr()
    tried = out.partition("Tried on a copy of the script:")[2]
    assert "self.fc = nn.Linear(4, 5)\n    ran: step 1 was taken" in tried
    assert "Fix (verified)" in err and "(untried)" not in err
    assert Path("net.py").read_text() == NET
    assert not Path("steps.txt").exists()  # the step was the last thing that ran


@pytest.mark.zoo
def test_what_a_fix_does_not_mend_is_told(folder):
    where = Source(str(folder / "net.py"), 8)
    fixes = (
        Fix("self.fc = nn.Linear(4, 7)", where=where),
        Fix("self.fc = nn.Linear(4, 5)", where=where),
        Fix("model.fc = nn.Linear(4, 5)"),
    )
    from shapetrace.records import Diagnosis

    found = Diagnosis("failure", "error", "it", "loss:mse_loss", fixes=fixes)
    wrong, right, nowhere = fix_trials.try_fixes([found], ["train.py"], 1, 60)
    assert "failed at train.py:10: RuntimeError: The size of tensor a (7)" in wrong.said
    assert right.said == "ran: step 2 was taken"
    assert "no place" in nowhere.said
    now = [one.mended.status for one in (wrong, right, nowhere)]
    assert now == ["moved", "verified", "untried"]


def test_the_statement_around_a_place_is_replaced(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        "def f(x):\n    return g(\n        x,\n    )\n\nfor i in x:\n    f(i)\n"
    )

    def with_fix(line, new):
        return fix_trials.changed(Fix(new, where=Source(str(path), line)))

    assert with_fix(3, "return h(x)").startswith("def f(x):\n    return h(x)\n\nfor")
    assert with_fix(6, "for i in y:").endswith("for i in y:\n    f(i)\n")
    assert fix_trials.changed(Fix("x = 1")) is None
