"""Under torchrun the command writes a file for each rank."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import shapetrace
from shapetrace.cli import main

GOOD = """
import torch
from torch import nn
model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
model(torch.ones(2, 4))
"""


def test_each_rank_has_its_file_and_its_label(script, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert main(["run", "--json", "a.json", script(GOOD)]) == 0
    assert "[rank 1]" in capsys.readouterr().out
    assert Path("a.rank1.json").exists()
    assert shapetrace.distributed.load("a.json").missing == (0,)


GONE = GOOD + """
import os, signal
class Gone(RuntimeError):
    def __str__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        return "the other rank is gone"
raise Gone
"""


def test_a_rank_that_another_one_ends_finishes_its_report_first(script):
    """Its own collective raises first, and torchrun's SIGTERM comes while it writes."""
    command = [sys.executable, "-m", "shapetrace", "run", "--json", "a.json"]
    env = {**os.environ, "WORLD_SIZE": "2", "RANK": "0"}
    done = subprocess.run(
        [*command, script(GONE)], env=env, capture_output=True, text=True, check=False
    )
    assert "the other rank is gone" in done.stderr and done.returncode == 1
    assert "wrote a.rank0.json" in done.stderr and Path("a.rank0.json").exists()
