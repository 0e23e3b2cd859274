"""Several ranks under torchrun: brought together, held against each other."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch.distributed
from invariants import check_invariants

import shapetrace
from shapetrace import ReportError, UsageError
from shapetrace.cli import main
from shapetrace.distributed import Rank, Ranks, load

PROGRAM = Path(__file__).with_name("rank_program.py")

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch without torch.distributed"
)


class Run(NamedTuple):
    status: list[int | None]
    folder: Path

    def text(self, kind: str) -> str:
        return (self.folder / f"{kind}.txt").read_text()

    def ranks(self, kind: str) -> Ranks:
        return load(self.folder / f"{kind}.json")


@pytest.fixture(scope="module")
def torchrun(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three ranks under torchrun that reach the end of every step."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "3", str(PROGRAM)]
    command += ["ddp", "shape", "calls", "slow", "memory", "ddp slow", "collectives"]
    command += ["handles"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "RANKS_FOLDER": str(folder)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return Run([0, 0, 0], folder)


def alone(kind: str, folder: Path) -> Run:
    """Two ranks without an agent, which would end one when the other fails."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "RANKS_FOLDER": str(folder)}
    env.update(MASTER_ADDR="localhost", MASTER_PORT=str(port), WORLD_SIZE="2")
    processes = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), kind],
            env={**env, "RANK": str(rank)},
            stderr=subprocess.DEVNULL,
        )
        for rank in range(2)
    ]
    try:
        return Run([process.wait(timeout=180) for process in processes], folder)
    finally:
        for process in processes:
            process.kill()


@pytest.mark.zoo
def test_ranks_that_do_the_same_are_one_table_without_differences(torchrun):
    ranks = torchrun.ranks("ddp")
    assert len(ranks) == 3
    assert ranks.differences == () and ranks.failures == {}
    for one in ranks.ranks:
        assert one.recording is not None
        check_invariants(one.recording)
    frame = ranks.to_dataframe()
    assert list(frame["module"]) == ["", "module", "module.first", "module.second"]
    assert (frame["min_ms"] <= frame["median_ms"]).all()
    assert (frame["median_ms"] <= frame["max_ms"]).all()
    flops = ranks.to_dataframe(by="rank")["flops"]
    assert list(flops) == [2 * 3 * (8 * 6 + 6 * 4)] * 3
    assert "all ranks make the same calls" in torchrun.text("ddp")
    assert shapetrace.compare(ranks[0], ranks[1]).same


@pytest.mark.zoo
def test_a_rank_with_another_batch_is_marked(torchrun):
    found = torchrun.ranks("shape").differences
    assert {difference.ranks for difference in found} == {(2,)}
    assert {difference.what for difference in found} == {"shape"}
    assert (found[0].usual, found[0].here) == ("3×8", "5×8")
    assert "rank 2: " in torchrun.text("shape")
    assert "5×8 instead of 3×8" in torchrun.text("shape")


@pytest.mark.zoo
def test_a_rank_that_makes_another_call_is_marked_as_what_others_wait_for(torchrun):
    one = torchrun.ranks("calls").differences[0]
    assert (one.what, one.module, one.ranks) == ("calls", "second", (2,))
    assert (one.usual, one.here) == ("1 call", "2 calls")
    assert "the others wait for it" in " ".join(torchrun.text("calls").split())


@pytest.mark.zoo
def test_a_slow_rank_is_the_slowest_where_it_is_slow(torchrun):
    rows = torchrun.ranks("slow").to_dataframe().set_index("module")
    assert rows.loc["second", "slowest"] == 2
    assert rows.loc["second", "max_ms"] > 300 > rows.loc["second", "median_ms"]


@pytest.mark.zoo
def test_who_waits_for_a_slow_rank_is_told(torchrun):
    """The last sleeps for 300 ms in its forward, and the others in their backward."""
    waited = torchrun.ranks("ddp slow").waited[0]
    assert (waited.ranks, waited.behind) == ((0, 1), 2)
    assert waited.place == "module.second"
    assert waited.wait_ns > 200e6 and waited.more_ns > 200e6
    said = "ranks 0 and 1 waited for rank 2"
    assert said in torchrun.text("ddp slow") and said not in torchrun.text("slow")


@pytest.mark.zoo
def test_who_waits_in_a_collective_of_the_program_s_own_is_told_by_its_line(torchrun):
    waited = torchrun.ranks("collectives").waited[:2]
    assert [wait.call for wait in waited] == ["all_reduce", "barrier"]
    assert all((wait.ranks, wait.behind) == ((0, 1), 2) for wait in waited)
    assert all(wait.wait_ns > 150e6 and wait.place == "" for wait in waited)
    assert "in all_reduce at rank_program.py:" in torchrun.text("collectives")


@pytest.mark.zoo
def test_who_waits_for_handles_in_a_list_is_told_by_the_line(torchrun):
    (waited,) = torchrun.ranks("handles").waited
    assert (waited.ranks, waited.behind, waited.call) == ((0, 1), 2, "wait")
    assert waited.wait_ns > 200e6 and waited.place == ""
    assert "in wait at rank_program.py:" in torchrun.text("handles")


@pytest.mark.zoo
def test_memory_is_told_for_each_rank(torchrun):
    assert all(torchrun.ranks("memory").to_dataframe(by="rank")["peak_bytes"] > 0)


@pytest.mark.zoo
def test_a_rank_that_fails_delivers_its_explanation_and_holds_up_nobody(tmp_path):
    run = alone("fails", tmp_path)
    ranks = run.ranks("fails")
    assert run.status == [0, 1]  # the program's own failure is not hidden
    assert ranks.failures[1].where == "module:first"
    assert "rank 1 failed: module:model.first" in run.text("fails")
    assert "shapetrace on rank 1:" in (tmp_path / "fails.notes1").read_text()
    # the rank that waited says where, and for whom
    assert ranks[0].waits.startswith("all_reduce at rank_program.py:")
    notes = (tmp_path / "fails.notes0").read_text()
    assert "shapetrace on rank 0:" in notes and "rank 1 failed: " in notes


@pytest.mark.zoo
def test_a_rank_that_was_killed_is_told_as_missing_and_not_waited_for(tmp_path):
    run = alone("killed", tmp_path)
    assert run.ranks("killed").missing == (1,)
    assert "rank 1: sent nothing within 1 s: it was killed" in run.text("killed")


SCRIPT = """
import os, sys, torch, torch.distributed as dist
from torch import nn
if __name__ == "__main__":
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    os.makedirs(f"elsewhere{rank}")
    os.chdir(f"elsewhere{rank}")
    model(torch.ones(2 + rank, 4))
    dist.barrier()
    dist.destroy_process_group()
    if rank == 1 and "fail" in sys.argv:
        model(torch.ones(2, 5))
    if "fail" in sys.argv:
        import time
        time.sleep(60)
"""


@pytest.mark.zoo
@pytest.mark.parametrize("fails", [False, True])
def test_the_command_under_torchrun_writes_a_report_a_rank_and_one_of_all(
    tmp_path, fails
):
    (tmp_path / "train.py").write_text(SCRIPT)
    stale = reported(2)
    stale.to_json(tmp_path / "report.json")
    (tmp_path / "report.rank0.json").write_text("stale")
    os.utime(tmp_path / "report.rank0.json", (1, 1))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "shapetrace"]
    command += ["run", "--json", "report.json", "train.py", *["fail"] * fails]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=180
    )
    assert (done.returncode != 0) == fails, done.stderr
    made = load(tmp_path / "report.json")
    assert made.missing == () and len(made) == 2
    assert [d.what for d in made.differences][0] == ("calls" if fails else "shape")
    assert list(made.failures) == [1] * fails
    for rank in range(2):
        one = shapetrace.load(tmp_path / f"report.rank{rank}.json")
        assert one.recording == made[rank].recording
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]
    shown = subprocess.run(
        [sys.executable, "-m", "shapetrace", "show", "report.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "2 ranks" in shown.stdout, shown.stderr


def reported(ranks: int) -> Ranks:
    layer = torch.nn.Linear(4, 3)
    with shapetrace.trace(layer) as t:
        layer(torch.ones(2, 4))
    return Ranks(tuple(Rank(n, t.recording, t.findings) for n in range(ranks)))


def test_a_missing_rank_is_in_every_view():
    made = reported(2)
    made = Ranks((*made.ranks, Rank(2, lost="sent nothing within 1 s")))
    assert made.missing == (2,)
    assert "rank 2: sent nothing within 1 s" in str(made)
    assert "sent nothing" in made._repr_html_()
    assert list(made.to_dataframe(by="rank")["status"]) == ["ok", "ok", "missing"]


def test_of_three_ranks_the_odd_one_is_the_one_that_is_named():
    made = reported(3)
    odd = made[0].recording
    assert odd is not None
    call = odd.calls[0]
    wide = replace(call.inputs[0], shape=(9, 4), dtype=torch.float64)
    odd = replace(odd, calls=(replace(call, inputs=(wide,)),))
    made = Ranks((replace(made[0], recording=odd), *made.ranks[1:]))
    assert [(d.ranks, d.what, d.here) for d in made.differences] == [
        ((0,), "shape", "9×4")
    ]
    assert "rank 0: `layer` at " in str(made) and "9×4 instead of 2×4" in str(made)
    assert "\nlayer " in str(made) and "<td>layer</td>" in made._repr_html_()
    assert list(made.to_dataframe()["module"]) == [""]


def test_the_command_reads_the_file_of_all_ranks(tmp_path, capsys):
    path = str(tmp_path / "report.json")
    made = reported(2)
    Ranks((*made.ranks, Rank(2, lost="was killed"))).to_json(path)
    assert main(["explain", path]) == 0
    said = capsys.readouterr().out
    assert "rank 0: nothing found" in said and "rank 2: was killed" in said
    with pytest.raises(SystemExit):
        main(["compare", path, path])
    said = capsys.readouterr().err
    assert "holds several ranks: name the report of one, such as " in said
    assert str(tmp_path / "report.rank0.json") in said


def test_ranks_that_call_in_another_order_are_told_where():
    net = torch.nn.ModuleDict({"a": torch.nn.ReLU(), "b": torch.nn.Tanh()})
    traces = []
    for order in ("ab", "ba"):
        with shapetrace.trace(net) as t:
            for name in order:
                net[name](torch.ones(2))
        traces.append(t)
    made = Ranks(tuple(Rank(n, t.recording) for n, t in enumerate(traces)))
    assert [(d.what, d.ranks, d.usual, d.here) for d in made.differences] == [
        ("order", (1,), "a", "b")
    ]


def test_the_file_of_ranks_reads_back_equal_and_others_are_refused(tmp_path):
    made = Ranks((*reported(2).ranks, Rank(2, lost="gone")))
    path = tmp_path / "ranks.json"
    made.to_json(path)
    assert load(path) == made
    with pytest.raises(
        ReportError, match=r"ranks\.json.*shapetrace\.distributed\.load"
    ):
        shapetrace.load(path)
    text = path.read_text()
    for damaged in (text[:-9], "[]", "{}", text.replace('"rank": 1', '"rank": "x"')):
        path.write_text(damaged)
        with pytest.raises(ReportError, match=r"ranks\.json"):
            load(path)


def test_one_process_gathers_itself_and_a_launcher_without_group_is_told(monkeypatch):
    layer = torch.nn.Linear(4, 3)
    with shapetrace.trace(layer) as t:
        layer(torch.ones(2, 4))
    made = t.gather()
    assert made is not None and made[0].recording == t.recording
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="init_process_group"):
        t.gather()
