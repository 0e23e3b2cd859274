"""What watching a forward costs: shapetrace, its lower bounds, and its peers.

    python benchmarks/overhead.py                  everything that is installed
    python benchmarks/overhead.py --quick          few repetitions: a smoke test
    python benchmarks/overhead.py --nets dispatch --peers torchinfo

Every figure is a ratio to the untraced forward, or to the floor, measured in the same
process, in which all take turns. Ours and the floor share a process; each peer has one
of its own, since some patch torch for good. What is printed is Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from typing import Any

import costs
import torch
from nets import NETS, TITLES
from subjects import FLOOR, HOOKS, OURS, PEERS, WATCH, WHOLE
from tabulate import tabulate
from turns import UNTRACED, called, fastest, take_turns, watched

Result = dict[str, Any]

PREFACE = """\
# What watching a forward costs

Printed by `python benchmarks/overhead.py`: torch {torch}, Python {python}, {cpus} CPUs.

Ratios of the means of the fastest tenth of the turns, which the subjects take one after
another in one process, on one thread, in that thread's processor time; no gradients.
*forward* is the model's own call inside the open context, beside the untraced one; its
*floor* are empty global hooks and an empty function mode, for `functions=False` the
hooks alone. *with entry and exit* adds installing, removing and whatever the tool does
at the end by itself. Tools that call the model themselves have that figure only.
"""


# -- one process: subjects that take turns on one net ---------------------------------


def measure(
    net: str, subjects: list[str], repetitions: int, seconds: float
) -> list[Result]:
    """Milliseconds, and ratios to the untraced forward and to the floor, if that is
    among the subjects: `forward` inside the open context, `whole` with entry and exit.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, x = NETS[net]()
    model.eval()
    turns = {
        name: (
            watched(model, x, WATCH[name])
            if name in WATCH
            else called(model, x, WHOLE[name])
        )
        for name in subjects
    }
    times = take_turns(model, x, turns, repetitions, seconds)
    untraced = fastest(times[UNTRACED].forward)
    found: list[Result] = []
    for name in subjects:
        inside, whole = times[name].forward, fastest(times[name].whole)
        forward = fastest(inside) if inside else None
        base = HOOKS if "functions=False" in name else FLOOR
        floor = fastest(times[base].forward) if base in times else None
        found.append(
            {
                "subject": name,
                "forward": forward and forward / untraced,
                "with entry and exit": whole / untraced,
                "forward / its floor": forward and floor and forward / floor,
                "untraced ms": untraced * 1e3,
                "turns": len(times[name].whole),
            }
        )
    return found


# -- the parent: one process after another -------------------------------------------


def in_a_process(kind: str, *arguments: object) -> Any:
    """What `overhead.py --worker` found out, or None: then the reason was printed."""
    words = [sys.executable, os.path.abspath(__file__), "--worker", kind]
    done = subprocess.run(
        [*words, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        print(f"{kind} {arguments}: {reason[0]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def work(kind: str, arguments: list[str]) -> None:
    """The `--worker` side: one measurement, as one line of JSON, printed last."""
    found: object
    if kind == "ratios":
        net, subjects, repetitions, seconds = arguments
        found = measure(net, json.loads(subjects), int(repetitions), float(seconds))
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
        rows: list[Result] = []
        for group in [OURS, *([peer] for peer in options.peers)]:
            arguments = net, json.dumps(group), repetitions, seconds * len(group)
            rows += in_a_process("ratios", *arguments) or []
        ratios += [{"net": net, **row} for row in rows]
        print(f"## {TITLES[net]}\n")
        print(tabulate(rows, headers="keys", tablefmt="github", floatfmt=".2f"), "\n")
        sys.stdout.flush()

    figures: Result = {}
    for kind, size in (("import_time", 3 if options.quick else 9), ("memory", calls)):
        figures |= in_a_process(kind, size) or {}
    print("## Beside the forward\n")
    rounded = [(name, f"{figure:,.2f}") for name, figure in figures.items()]
    headers = ["what", "figure"]
    print(tabulate(rounded, headers, tablefmt="github", disable_numparse=True))
    with open(options.json, "w", encoding="utf-8") as file:
        found = {"machine": machine, "ratios": ratios, "costs": figures}
        json.dump(found, file, indent=1)
    print(f"all figures are in {options.json}", file=sys.stderr)


if __name__ == "__main__":
    main()
