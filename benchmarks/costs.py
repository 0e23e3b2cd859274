"""What a trace costs beside the forward: import and memory."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tracemalloc

import torch
from nets import Residual

Figures = dict[str, float]


def import_time(runs: int) -> Figures:
    """Milliseconds of processor time of `import shapetrace` after torch, each in a new
    process; the first, which may have to compile it, is not counted."""
    code = (
        "import torch; from time import process_time; start = process_time();"
        "import shapetrace; print(process_time() - start)"
    )
    compiled = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    times = []
    for _ in range(runs + 1):
        run = [sys.executable, "-c", code]
        done = subprocess.run(
            run, capture_output=True, text=True, check=True, env=compiled
        )
        times.append(float(done.stdout) * 1e3)
    return {"import beyond torch, ms": statistics.median(times[1:])}


def memory(calls: int) -> Figures:
    """Bytes that stay for each recorded call: as recorded, and once looked at.

    Python's own allocations are counted. The tensors' storage is not among them, and
    need not be: `tests/` show that no tensor stays alive.
    """
    import shapetrace

    model, x = Residual(), torch.randn(4, 8)
    with torch.no_grad():
        with shapetrace.trace(model):
            model(x)  # what is made once and for all is made here
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        with shapetrace.trace(model) as t:
            for _ in range(max(1, calls // 1801)):
                model(x)
    gc.collect()
    recorded = tracemalloc.get_traced_memory()[0] - before
    records = len(t.calls) + len(t.functions)
    gc.collect()
    looked_at = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return {
        "recorded calls": records,
        "bytes a call, as recorded": recorded / records,
        "bytes a call, with its records": looked_at / records,
    }
