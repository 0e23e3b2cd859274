"""How cost grows with the number of calls: from 10,000 to 1,000,000 module calls.

    python benchmarks/scale.py                 10,000, 100,000; a million bounded
    python benchmarks/scale.py 20000 400000    so many

Processor seconds, and bytes of memory at the peak, each size in a process of its own.
What is linear takes the same microseconds a call in every line.
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


def run(calls: int, bounded: bool) -> dict[str, Any]:
    """One trace of so many module calls in one outermost call, and all that can be
    asked of it."""
    torch.set_num_threads(1)
    parts = [nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(33)]

    class Long(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*parts)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(calls // 100):
                x = self.body(x) + x * 0.1
            return x

    model, x = Long(), torch.ones(4, 8)
    before = memory()
    figures: dict[str, float] = {}

    def timed(name: str, act: Callable[[], Any]) -> Any:
        start = process_time()
        made = act()
        figures[name] = process_time() - start
        return made

    with torch.no_grad():
        timed("untraced", lambda: model(x))
        t = shapetrace.trace(model, max_calls=MOST_CALLS if bounded else None)

        def traced() -> None:
            with t:
                model(x)

        timed("traced", traced)
    rec = timed("records", lambda: t.recording)
    timed("findings", lambda: t.findings)
    timed("explain", lambda: str(t.explain(t.functions[-1])))
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
        "kept": len(rec.calls),
        "memory": memory() - before,
        **figures,
    }


def memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def table(rows: list[dict[str, Any]]) -> str:
    """Microseconds a module call that was made, or kept for what comes after."""
    shown = []
    for row in rows:
        line = [f"{row['calls']:,}", f"{row['kept']:,}", f"{row['memory'] / 1e6:,.0f}"]
        for name, seconds in list(row.items())[3:]:
            of = row["calls"] if name in ("untraced", "traced") else row["kept"]
            line.append(f"{seconds:.2f} s {seconds / of * 1e6:.1f}")
        shown.append(line)
    heads = ["calls", "kept", "MB", *list(rows[0])[3:]]
    return tabulate(zip(heads, *shown), tablefmt="plain", disable_numparse=True)


def main(sizes: list[int]) -> None:
    rows = []
    for size, bounded in [*((size, False) for size in sizes), (1_000_000, True)]:
        command = [sys.executable, __file__, "--one", str(size), str(int(bounded))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"torch {torch.__version__}; seconds, and microseconds a call")
    print(table(rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(run(int(sys.argv[2]), sys.argv[3] == "1")))
    else:
        main([int(size) for size in sys.argv[1:]] or [10_000, 100_000])
