"""What a person at a terminal sees: its width, and colours where they are wanted."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from shapetrace.cli import main

FAILS = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.fc = nn.Linear(100, 10)
    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).flatten(1))
try:
    Net()(torch.randn(4, 1, 8, 8))
except RuntimeError:
    pass
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(FAILS)
    return "script.py"


def seen(command, columns, errors=False, status=0, **environment):
    """What a command writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    known = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    known |= {"TERM": "xterm", **environment}
    process = subprocess.Popen(
        command,
        stdout=theirs,
        stderr=theirs if errors else subprocess.DEVNULL,
        env=known,
        stdin=theirs,
    )
    os.close(theirs)
    found = b""
    try:
        while chunk := os.read(ours, 65536):
            found += chunk
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait() == status
    return found.decode().replace("\r\n", "\n")


def plain(text):
    return re.sub(r"\x1b\[[\d;]*m", "", text)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_gets_its_width_and_colours(script):
    command = [sys.executable, "-m", "shapetrace", "run", script]
    text = seen(command, 160)
    assert "\x1b[1;31m└─fc\x1b[0m" in text  # the culprit's row
    assert "4×8×\x1b[1m6\x1b[0m×\x1b[1m6\x1b[0m" in text  # changed by the convolution
    assert "\x1b[32m  + self.fc = nn.Linear(288, 10)" in text
    assert 100 < max(map(len, plain(text).splitlines())) <= 160
    for setting in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        bare = seen(command, 80, **setting)
        assert "\x1b" not in bare
        assert max(map(len, bare.splitlines())) <= 80


def test_a_pipe_gets_no_colours_and_the_usual_width(script, capsys):
    assert main(["run", script]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text and max(map(len, text.splitlines())) <= 100


def test_columns_and_depth_of_the_table(script, capsys):
    assert main(["run", "--depth", "0", "--columns", "output,params", script]) == 0
    text = capsys.readouterr().out
    assert "params" in text and "total ms" not in text and "─conv" not in text


def test_an_unknown_column_is_refused_before_the_script_runs(script, capsys):
    with pytest.raises(SystemExit) as raised:
        main(["run", "--columns", "output,parms", script])
    assert raised.value.code == 2
    said = capsys.readouterr()
    assert "--columns= was given 'parms'" in said.err and not said.out


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_the_explanation_under_a_traceback_fits_the_terminal_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fails = FAILS.replace("try:\n    Net()", "Net()").partition("except")[0]
    (tmp_path / "script.py").write_text(fails)
    command = [sys.executable, "-m", "shapetrace", "run", "script.py"]
    text = seen(command, 60, errors=True, status=1)
    told = text.partition("shapetrace:")[2]
    assert "\x1b[32m  + self.fc = nn.Linear(288, 10)" in told
    assert max(map(len, plain(told).splitlines())) <= 60
    assert "\x1b" not in seen(command, 60, errors=True, status=1, NO_COLOR="1")
