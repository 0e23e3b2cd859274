"""What the README shows is what the tool does. REGEN=1 rewrites what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from shapetrace.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def scrubbed(text: str) -> str:
    """Without what differs from run to run: times, shares, torch, and the padding."""
    text = re.sub(r"torch \d\S+", "torch #", text)
    text = re.sub(r"\d+\.\d+( ?[mµn]?s\b|%)?", "#", text)
    return re.sub(r"[\s─]+", " ", text).strip()


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The README's program, run as a script of its own."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "train.py").write_text("\n".join(blocks("python")[:2]))
    run = [sys.executable, "-W", "ignore", "train.py"]
    return subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)


def compare(at, said):
    """The `at`-th text block of the README with what the program really says."""
    if os.environ.get("REGEN"):
        page = (ROOT / "README.md").read_text(encoding="utf-8")
        (ROOT / "README.md").write_text(page.replace(blocks("text")[at], said))
    else:
        assert scrubbed(blocks("text")[at]) == scrubbed(said)


def test_the_table_is_the_one_that_the_program_prints(shown):
    compare(0, shown.stdout)


def test_the_explanation_is_the_one_that_hangs_on_the_exception(shown):
    _, start, rest = shown.stderr.partition("RuntimeError: ")
    compare(1, start + rest)


def test_the_first_command_traces_the_digits(tmp_path, monkeypatch, capsys):
    (line,) = (line for line in README.splitlines() if "digits.py" in line)
    words = shlex.split(line.rpartition("shapetrace ")[2])
    monkeypatch.chdir(tmp_path)
    assert main([*words[:-1], str(ROOT / words[-1])]) == 0
    out = capsys.readouterr().out
    assert "1797 images" in out and "64×1×8×8" in out and "Conv2d" in out
    assert (tmp_path / "report.csv").exists()


def test_the_broken_example_is_explained(capsys):
    with pytest.warns(UserWarning, match="target size"):
        assert main(["run", str(ROOT / "examples" / "broken_regression.py")]) == 1
    error = capsys.readouterr().err
    assert "RuntimeError: The size of tensor a (2) must match" in error
    assert "fc2" in error.partition("RuntimeError")[2]
