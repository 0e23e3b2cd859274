"""Under torchrun the command writes a file for each rank."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
    done = run_as_rank(script(GONE))
    assert "the other rank is gone" in done.stderr and done.returncode == 1
    assert "wrote a.rank0.json" in done.stderr and Path("a.rank0.json").exists()


STUCK = """
import os, signal, sys, threading, time, torch
from contextlib import suppress
from datetime import timedelta
from torch import distributed as dist, nn
model = nn.Linear(4, 3)
model(torch.ones(2, 4))
threading.Timer(0.2, os.kill, [os.getpid(), getattr(signal, sys.argv[1])]).start()
try:
    with suppress(RuntimeError):
        dist.Work().wait(timedelta(seconds=5 if sys.argv[1] == "SIGINT" else 60))
    time.sleep(1)
except KeyboardInterrupt:
    print("went on")
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_rank_that_waits_in_cpp_tells_where_though_no_handler_runs(script, name):
    done = run_as_rank(script(STUCK), name)
    assert "rank 0 waits in wait at script.py:11: this is the report" in done.stderr
    assert ("went on" in done.stdout) == (name == "SIGINT")
    assert done.returncode == (0 if name == "SIGINT" else 128 + signal.SIGTERM)
    ranks = shapetrace.distributed.load("a.json")
    assert ranks[0].recording.calls and ranks.missing == (1,)
    if name == "SIGTERM":  # else the whole report has taken its place
        assert ranks[0].waits == "wait at script.py:11"
        assert list(ranks.to_dataframe(by="rank")["status"]) == ["waits", "missing"]
        assert "rank 0 waited in wait at script.py:11" in str(ranks)


BUSY = GOOD + """
import os, signal, time
child = os.fork()
if not child:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
    os._exit(0)
assert os.waitpid(child, 0)[1] == signal.SIGTERM
torch.distributed.Work()
until = time.monotonic() + 3.5
while time.monotonic() < until:
    pass
print("to the end")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_signal_to_a_forked_process_is_none_to_this_one(script):
    done = run_as_rank(script(BUSY))
    assert "to the end" in done.stdout and done.returncode == 0, done.stderr
    assert "so far" not in done.stderr


def test_who_is_ended_by_a_signal_is_told_to_be(script):
    done = run_as_rank(
        script(GOOD + "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)")
    )
    assert done.returncode == 128 + signal.SIGTERM
    ranks = shapetrace.distributed.load("a.json")
    assert "rank 0 ended by SIGTERM" in str(ranks)
    assert list(ranks.to_dataframe(by="rank")["status"]) == ["ended", "missing"]
    assert "rank 1: left no report: it was killed before its end" in str(ranks)


def test_the_report_of_the_run_before_is_none_of_a_rank_that_is_killed(script):
    Path("a.rank0.json").write_text("of the run before")
    run_as_rank(script("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"))
    assert not Path("a.rank0.json").exists()


def run_as_rank(path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As the first of two ranks, the other of which never comes."""
    command = [sys.executable, "-m", "shapetrace", "run", "--json", "a.json", path]
    env = {**os.environ, "WORLD_SIZE": "2", "RANK": "0"}
    return subprocess.run(
        [*command, *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        # who runs the tests in the background has told them to ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
