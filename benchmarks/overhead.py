"""What watching a forward costs: shapetrace, its lower bounds, and its peers.

    python benchmarks/overhead.py                  everything that is installed
    python benchmarks/overhead.py --quick          few repetitions: a smoke test
    python benchmarks/overhead.py --nets dispatch --peers torchinfo
    python benchmarks/overhead.py > benchmarks/RESULTS.md

Every figure is a ratio to the untraced forward, measured in the same process with
traced and untraced repetitions taking turns. Each pair of net and subject has a
process of its own, since some peers patch torch for good. What is printed is Markdown.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter, thread_time
from typing import Any

import costs
import torch
from nets import NETS, TITLES
from subjects import OURS, PEERS, WATCH, WHOLE
from tabulate import tabulate

Result = dict[str, Any]

PREFACE = """\
# What watching a forward costs

Printed by `python benchmarks/overhead.py`: torch {torch}, Python {python}, {cpus} CPUs.

Ratios of lower quartiles to the untraced forward, which takes turns with the traced
one in the same process, on one thread, in that thread's processor time, which other
work on the machine disturbs least; no gradients. *forward* is the model's own call
inside the open context; *with entry and exit* adds installing, removing and whatever
the tool does at the end by itself. Tools that call the model themselves have the second
figure only.
"""


# -- one process: one subject on one net ---------------------------------------------


def measure(net: str, subject: str, repetitions: int, seconds: float) -> Result:
    """Times in milliseconds, and their ratios: `forward` inside the open context,
    `whole` with entering and leaving it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, x = NETS[net]()
    model.eval()
    untraced: list[float] = []
    forward: list[float] = []
    whole: list[float] = []
    with torch.no_grad():
        once = _once(subject, model, x)
        once()
        gc.freeze()  # what stands now need not be looked through in every turn
        stop = perf_counter() + seconds
        while len(whole) < 3 or (len(whole) < repetitions and perf_counter() < stop):
            # What the traced forward left, garbage and cold caches, is not the
            # untraced one's to pay for.
            gc.collect()
            model(x)
            start = thread_time()
            model(x)
            untraced.append(thread_time() - start)
            inner, outer = once()
            whole.append(outer)
            if inner is not None:
                forward.append(inner)
    result: Result = {"net": net, "subject": subject, "repetitions": len(whole)}
    result["untraced_ms"] = _summary(untraced)
    result["forward_ms"] = _summary(forward)
    result["whole_ms"] = _summary(whole)
    for name in ("forward", "whole"):
        summary = result[f"{name}_ms"]
        result[name] = summary and {
            key: value / result["untraced_ms"][key] for key, value in summary.items()
        }
    return result


def _once(
    subject: str, model: torch.nn.Module, x: torch.Tensor
) -> Callable[[], tuple[float | None, float]]:
    """Runs the subject: seconds of the forward, where known, and of the whole."""

    def watched() -> tuple[float | None, float]:
        start = thread_time()
        with WATCH[subject](model):
            entered = thread_time()
            model(x)
            left = thread_time()
        return left - entered, thread_time() - start

    def called() -> tuple[float | None, float]:
        start = thread_time()
        WHOLE[subject](model, x)
        return None, thread_time() - start

    return watched if subject in WATCH else called


def _summary(times: list[float]) -> dict[str, float] | None:
    """Median and lower quartile: the second is the steadier on a busy machine."""
    if not times:
        return None
    ordered = sorted(time * 1e3 for time in times)
    quartile = ordered[len(ordered) // 4]
    return {"median": statistics.median(ordered), "quartile": quartile}


# -- the parent: one process after another -------------------------------------------


def in_a_process(kind: str, *arguments: object) -> Result | None:
    """What `overhead.py --worker` found out, or None: then the reason was printed."""
    words = [sys.executable, os.path.abspath(__file__), "--worker", kind]
    done = subprocess.run(
        [*words, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        print(f"{kind} {arguments}: {reason[0]}", file=sys.stderr)
        return None
    found: Result = json.loads(done.stdout.splitlines()[-1])
    return found


def work(kind: str, arguments: list[str]) -> None:
    """The `--worker` side: one measurement, as one line of JSON, printed last."""
    if kind == "ratio":
        net, subject, repetitions, seconds = arguments
        found = measure(net, subject, int(repetitions), float(seconds))
    else:
        found = getattr(costs, kind)(int(arguments[0]))
    print(json.dumps(found))


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        return work(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--json", default="overhead.json", metavar="FILE")
    options = parser.parse_args()
    repetitions, seconds = (5, 3.0) if options.quick else (100, 8.0)
    calls = 10_000 if options.quick else 100_000

    machine = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
    }
    print(PREFACE.format(**machine), flush=True)
    ratios: list[Result] = []
    for net in options.nets:
        rows = []
        for subject in [*OURS, *options.peers]:
            found = in_a_process("ratio", net, subject, repetitions, seconds)
            if found is not None:
                ratios.append(found)
                rows.append(_row(found))
        print(f"## {TITLES[net]}\n")
        print(tabulate(rows, headers="keys", tablefmt="github", floatfmt=".2f"), "\n")
        sys.stdout.flush()

    figures: Result = {}
    for kind, size in (
        ("import_time", 3 if options.quick else 9),
        ("memory", calls),
        ("views", calls),
    ):
        figures |= in_a_process(kind, size) or {}
    print("## Beside the forward\n")
    rounded = [(name, f"{figure:,.2f}") for name, figure in figures.items()]
    headers = ["what", "figure"]
    print(tabulate(rounded, headers, tablefmt="github", disable_numparse=True))
    with open(options.json, "w", encoding="utf-8") as file:
        found = {"machine": machine, "ratios": ratios, "costs": figures}
        json.dump(found, file, indent=1)
    print(f"all figures are in {options.json}", file=sys.stderr)


def _row(found: Result) -> dict[str, object]:
    forward, whole = found["forward"], found["whole"]
    return {
        "subject": found["subject"],
        "forward": forward and forward["quartile"],
        "with entry and exit": whole["quartile"],
        "untraced ms": found["untraced_ms"]["quartile"],
        "repetitions": found["repetitions"],
    }


if __name__ == "__main__":
    main()
