"""How cost grows with the number of calls: from 10,000 to 1,000,000 module calls.

    python benchmarks/scale.py                 10,000, 100,000; a million bounded
    python benchmarks/scale.py 20000 400000    so many

Processor seconds, and bytes of memory at the peak, each size in a process of its own:
at the end of the block (recorded), once there are records, after everything. What is
linear takes the same microseconds and bytes a module call in every line.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from time import process_time
from typing import Any

import torch
from tabulate import tabulate
from torch import nn

import shapetrace

#: kept of the longest run
MOST_CALLS = 8_000


def run(calls: int, steps: int, bounded: int) -> dict[str, Any]:
    """One trace of so many module calls in so many outermost calls, and all that can
    be asked of it."""
    torch.set_num_threads(1)
    parts = [nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(33)]

    class Long(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*parts)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(calls // steps // 100):
                x = self.body(x) + x * 0.1
            return x

    model, x = Long(), torch.ones(4, 8)
    figures: dict[str, float] = {}

    def timed(name: str, act: Callable[[], Any]) -> Any:
        start = process_time()
        made = act()
        figures[name] = process_time() - start
        return made

    with torch.no_grad():

        def batch() -> None:
            for _ in range(steps):
                model(x)

        timed("untraced", batch)
        with shapetrace.trace(parts[0]) as t:  # loads what is loaded once
            parts[0](x)
        len(t.recording.calls)
        before = memory()
        t = shapetrace.trace(model, max_calls=MOST_CALLS if bounded else None)

        def traced() -> None:
            with t:
                batch()

        timed("traced", traced)
    held = {"recorded": memory() - before}
    rec = timed("records", lambda: t.recording)
    held["records"] = memory() - before
    timed("findings", lambda: t.findings)
    timed("explain", lambda: str(t.explain(t.functions[-1])))
    timed("summary", lambda: str(t.summary()))
    if rec.has_first and steps > 1:
        timed("warm", lambda: str(t.warm().summary()))
    timed("frame", t.to_dataframe)
    timed("text", lambda: str(t))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "report")
        timed("csv", lambda: t.to_csv(path))
        timed("html", lambda: t.to_html(path))
        timed("chrome", lambda: t.to_chrome_trace(path))
        timed("json", lambda: t.to_json(path))
        timed("read json", lambda: shapetrace.load(path))
    return {
        "calls": calls,
        "steps": steps,
        "kept": len(rec.calls),
        "held": held | {"all": memory() - before},
        "seconds": figures,
    }


def memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def table(rows: list[dict[str, Any]]) -> str:
    """Microseconds, and bytes, a module call that was made, or kept for what comes
    after."""
    acts = dict.fromkeys(name for row in rows for name in row["seconds"])
    heads = ["calls", "steps", "kept", *rows[0]["held"], *acts]
    shown = []
    for row in rows:
        line = [f"{row[name]:,}" for name in ("calls", "steps", "kept")]
        for held in row["held"].values():
            line.append(f"{held / 1e6:,.0f} MB {held / row['kept']:,.0f}")
        for name in acts:
            seconds = row["seconds"].get(name)
            of = row["calls"] if name in ("untraced", "traced") else row["kept"]
            line.append(f"{seconds:.2f} s {seconds / of * 1e6:.1f}" if seconds else "")
        shown.append(line)
    return tabulate(zip(heads, *shown), tablefmt="plain", disable_numparse=True)


def main(sizes: list[int]) -> None:
    rows = []
    million = [(1_000_000, 1, 1), (1_000_000, 1_000, 1)]
    for size in [*((size, 10, 0) for size in sizes), *million]:
        command = [sys.executable, __file__, "--one", *map(str, size)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"torch {torch.__version__}; seconds and microseconds, or bytes, a call")
    print(table(rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(run(*map(int, sys.argv[2:]))))
    else:
        main([int(size) for size in sys.argv[1:]] or [10_000, 100_000])
