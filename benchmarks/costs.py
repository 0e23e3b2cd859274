"""What a trace costs beside the forward: import, memory, views of a long one."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from time import perf_counter

import torch
from nets import Residual

Figures = dict[str, float]


def import_time(runs: int) -> Figures:
    """Milliseconds of `import shapetrace` after torch, each in a new process."""
    code = (
        "import torch; from time import perf_counter; start = perf_counter();"
        "import shapetrace; print(perf_counter() - start)"
    )
    times = []
    for _ in range(runs):
        run = [sys.executable, "-c", code]
        done = subprocess.run(run, capture_output=True, text=True, check=True)
        times.append(float(done.stdout) * 1e3)
    return {"import beyond torch, ms": statistics.median(times)}


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


def views(calls: int) -> Figures:
    """Seconds for each view of a trace of many module calls, in this order: the first
    one named pays for making the records."""
    import pandas
    import tabulate  # noqa: F401  (the import is not the view's own time)

    import shapetrace

    model, x = Residual(), torch.randn(4, 8)
    with torch.no_grad(), shapetrace.trace(model) as t:
        start = perf_counter()
        for _ in range(max(1, calls // 901)):
            y = model(x)
        torch.nn.functional.mse_loss(y, torch.zeros_like(y))
        recording = perf_counter() - start

    with tempfile.TemporaryDirectory() as folder:
        csv, json = os.path.join(folder, "a.csv"), os.path.join(folder, "a.json")
        steps: dict[str, Callable[[], object]] = {
            "records": lambda: (t.calls, t.functions),
            "text": lambda: str(t),
            "HTML": lambda: t._repr_html_(),
            "DataFrame": lambda: t.to_dataframe(),
            "DataFrame by module": lambda: t.to_dataframe(by="module"),
            "DataFrame by function": lambda: t.to_dataframe(by="function"),
            "CSV": lambda: t.to_csv(csv),
            "CSV read back": lambda: pandas.read_csv(csv),
            "JSON": lambda: t.to_json(json),
            "JSON read back": lambda: shapetrace.load(json),
            "explain()": lambda: t.explain(),
        }
        figures = {"recording, s": recording}
        for name, view in steps.items():
            start = perf_counter()
            view()
            figures[f"{name}, s"] = perf_counter() - start
        lines = str(t).count("\n") + 1
        kilobytes = len(t._repr_html_() or "") / 1024
    return {
        "module calls": len(t.calls),
        "function calls": len(t.functions),
        **figures,
        "lines of text": lines,
        "KB of HTML": kilobytes,
    }
