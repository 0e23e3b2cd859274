"""A script of many steps: which are traced, what is kept, and what Ctrl-C leaves."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time

import pytest

import shapetrace
from shapetrace.cli import console, main, output, run, script_trace

LOOP = """
import torch
from torch import nn
model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def step(batch):
    model(torch.ones(batch, 4)).sum().backward()
    optimizer.step()
for i in range(1, 7):
    step(i)
"""


def batches(path="a.json"):
    """The batch sizes that the outermost module was called with."""
    calls = shapetrace.load(path).calls
    return [call.inputs[0].shape[0] for call in calls if call.parent is None]


@pytest.mark.parametrize(
    ("asked", "traced"),
    [
        ([], [1, 2, 3, 4, 5, 6]),
        (["--steps", "2"], [1, 2]),
        (["--from", "3"], [3, 4, 5, 6]),
        (["--from", "3", "--steps", "2"], [3, 4]),
    ],
)
def test_the_steps_that_were_asked_for_are_traced(script, asked, traced):
    assert main(["run", *asked, "--json", "a.json", script(LOOP)]) == 0
    assert batches() == traced


def test_the_script_goes_on_to_its_end_after_the_traced_steps(script, capsys):
    main(["run", "--steps", "1", script(LOOP + "print('last', i)")])
    assert "last 6" in capsys.readouterr().out


def test_steps_that_the_script_does_not_take_are_said_to_be_missing(script, capsys):
    assert main(["run", "--from", "9", script(LOOP)]) == 0
    assert "the script took 6 steps, so nothing was traced" in capsys.readouterr().err


def test_no_garbage_is_looked_for_while_a_report_is_made(script, monkeypatch):
    looked_for = []

    def report(*_):
        looked_for.append(gc.isenabled())
        return 0

    monkeypatch.setattr(run, "_report", report)
    assert main(["run", script(LOOP)]) == 0
    assert looked_for == [False] and gc.isenabled()


def test_a_failure_after_the_traced_steps_tells_how_to_see_it(script, capsys):
    broken = script(LOOP + "model(torch.ones(2, 5))")
    assert main(["run", "--steps", "2", broken]) == 1
    err = capsys.readouterr().err
    assert "mat1 and mat2" in err and "--from 7" in err
    assert main(["run", "--from", "7", broken]) == 1
    assert "shapetrace:" in capsys.readouterr().err


def test_the_first_steps_of_a_long_script_are_kept_and_the_newest(
    script, capsys, monkeypatch
):
    monkeypatch.setattr(script_trace, "MOST_CALLS", 24)
    long = script(LOOP.replace("range(1, 7)", "range(1, 31)"))
    assert main(["run", "--json", "a.json", long]) == 0
    # a quarter of 24 calls, at three a step, and from then on an eighth
    assert batches() == [1, 2, 30]
    out = capsys.readouterr().out
    assert "9 of 90 module calls" in out and "The whole run, 90 module calls" in out
    assert "first 6 module calls and its newest are here in full; of the 81" in out


def test_a_failure_late_in_a_long_script_is_explained(script, capsys, monkeypatch):
    monkeypatch.setattr(script_trace, "MOST_CALLS", 24)
    long = LOOP.replace("range(1, 7)", "range(1, 31)")
    assert main(["run", script(long + "model(torch.ones(2, 5))")]) == 1
    out, err = capsys.readouterr()
    assert "of 92 module calls" in out
    assert "shapetrace:" in err and "in_features is 4" in err


def test_memory_and_backward_end_after_few_steps_and_say_so(
    script, capsys, monkeypatch
):
    monkeypatch.setattr(run, "FEW_STEPS", 2)
    main(["run", "--memory", "--backward", "--json", "a.json", script(LOOP)])
    first = shapetrace.load("a.json").calls[0]
    assert first.saved_bytes is not None and first.backward_ns is not None
    assert batches() == [1, 2]
    assert "trace 2 steps of 6" in capsys.readouterr().err


def test_a_process_that_the_script_starts_is_said_to_be_untraced(script, capsys):
    text = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''])"
    main(["run", script(text)])
    assert "the script started other processes" in capsys.readouterr().err
    main(["run", script("import os\nos.system('true')")])
    assert "the script started other processes" in capsys.readouterr().err
    main(["run", script("pass")])
    assert "started" not in capsys.readouterr().err


def test_a_process_that_the_script_forks_ends_without_a_report(script):
    name = script(
        "import os, sys, torch\n"
        "model = torch.nn.Linear(3, 2)\nmodel(torch.ones(1, 3))\n"
        "if os.fork() == 0:\n    sys.exit('the child')\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    command = [sys.executable, "-m", "shapetrace", "run", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.startswith("the child\n") and done.stdout.startswith("1\n")
    assert done.stdout.count("Total: 1 module call") == 1


def test_processes_that_multiprocessing_spawns_are_said_to_be_untraced(script):
    name = script(
        "import multiprocessing\nif __name__ == '__main__':\n"
        "    one = multiprocessing.get_context('spawn').Process(target=print)\n"
        "    one.start()\n    one.join()\n"
    )
    command = [sys.executable, "-m", "shapetrace", "run", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the script started other processes" in done.stderr


def test_who_waits_long_is_told_for_what(capsys, monkeypatch):
    monkeypatch.setattr(console, "PATIENCE", 0.01)
    with console.waiting("reading"):
        time.sleep(0.2)
    monkeypatch.setattr(console, "PATIENCE", 60)
    with console.waiting("writing"):
        pass
    assert capsys.readouterr().err == "shapetrace: reading …\n"


def test_ctrl_c_while_the_report_is_made_keeps_what_was_recorded(
    script, capsys, monkeypatch
):
    def interrupted(t):
        raise KeyboardInterrupt

    monkeypatch.setattr(script_trace.ScriptTrace, "findings", property(interrupted))
    assert main(["run", "--json", "a.json", script(LOOP)]) == 0
    out, err = capsys.readouterr()
    assert "Linear" in out and "interrupted" in err
    assert batches() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("stage", ["to_html", "to_csv"])
def test_ctrl_c_while_a_file_is_written_costs_that_file(
    script, capsys, monkeypatch, stage
):
    def interrupted(t, path):
        raise KeyboardInterrupt

    monkeypatch.setattr(script_trace.ScriptTrace, stage, interrupted)
    command = ["run", "--json", "a.json", "--html", "a.html", "--csv", "a.csv"]
    assert main([*command, script(LOOP)]) == run.INTERRUPTED
    out, err = capsys.readouterr()
    assert "Linear" in out and "not written" in err and err.count("wrote") == 2
    assert batches() == [1, 2, 3, 4, 5, 6]


def test_ctrl_c_while_the_table_is_printed_leaves_the_scripts_own_exception(
    script, capsys, monkeypatch
):
    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(output, "table", interrupted)
    assert main(["run", script(LOOP + "raise OSError('its own')")]) == 1
    assert "OSError: its own" in capsys.readouterr().err


@pytest.mark.zoo
def test_ctrl_c_in_a_running_script_keeps_its_report(script):
    name = script("import time" + LOOP + "print('ready', flush=True)\ntime.sleep(300)")
    command = [sys.executable, "-m", "shapetrace", "run", "--json", "a.json", name]
    # a suite that runs in a shell's background hands on that interrupts are ignored
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        running = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, usual)
    assert running.stdout.readline() == "ready\n"
    os.kill(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=200)
    assert running.returncode == 130
    assert "Linear" in out and err.rstrip().endswith("KeyboardInterrupt")
    assert batches() == [1, 2, 3, 4, 5, 6]
