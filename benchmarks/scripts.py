"""What `shapetrace run` costs a whole script: `python benchmarks/scripts.py`.

The scripts in `long_scripts` are of the kind of the official examples, on data that is
made up. Each is run plainly and under `shapetrace run`, in turns, as a process of its
own; processor time of the whole process, and wall time, of the fastest turn.

    python benchmarks/scripts.py --steps 800 --turns 1 mlp reinforce
    python benchmarks/scripts.py --other ../main     beside another checkout's
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from tabulate import tabulate

FOLDER = Path(__file__).parent / "long_scripts"
HERE = str(Path(__file__).parents[1])
NAMES = ("mlp", "mnist", "word_language_model", "reinforce")


def run(name: str, steps: int, checkout: str | None) -> tuple[float, float]:
    """Seconds of the processor and of the wall."""
    command = [sys.executable, str(FOLDER / f"{name}.py"), str(steps)]
    if checkout is not None:
        command[1:1] = ["-m", "shapetrace", "run"]
    environment = os.environ | {"PYTHONPATH": checkout or HERE}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    wall = perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return spent, wall


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--other", help="another checkout of shapetrace")
    options = parser.parse_args()
    subjects: dict[str, str | None] = {"plain": None, "shapetrace run": HERE}
    if options.other:
        subjects["the other"] = os.path.abspath(options.other)
    rows = []
    for name in options.names:
        times: dict[str, list[tuple[float, float]]] = {one: [] for one in subjects}
        for _ in range(options.turns):
            for subject, checkout in subjects.items():
                times[subject].append(run(name, options.steps, checkout))
        plain, plain_wall = map(min, zip(*times["plain"]))
        for subject, found in times.items():
            spent, wall = map(min, zip(*found))
            rows.append(
                {
                    "script": name,
                    "": subject,
                    "processor s": spent,
                    "more": spent - plain,
                    "ratio": spent / plain,
                    "wall s": wall,
                    "more wall": wall - plain_wall,
                }
            )
    print(tabulate(rows, headers="keys", floatfmt=".2f", tablefmt="github"))


if __name__ == "__main__":
    main()
