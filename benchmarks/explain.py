"""Are the explanations right? The culprit, the fix, the probability, the time.

    python benchmarks/explain.py                      all corpora
    python benchmarks/explain.py --sample 40          at most 40 programs of each
    python benchmarks/explain.py --corpus zoo,slips --only resnet --show
    python benchmarks/explain.py --programs FOLDER    also the programs in a folder
    python benchmarks/explain.py --json rows.json     every figure of every program

A corpus is programs with one known mistake. Shapetrace explains each; its first fix
is pasted and the program run against the one mended by hand.

- *first*, *any*: the first culprit, one of the three is an accepted one.
- *fix*: a fix is offered; *verified runs*: those marked so end in a finite loss;
  *runs*, *right*: of all first fixes; right is the loss of the mended program, with
  the same parameters. *agrees*: the first fix changes the first culprit.
- *ms*: from the end of the step to the end of the block, the explanation included.

Weights of the diagnosis may be fitted on the programs whose family is not held out;
the two are told apart (`held out`), since only the latter say what to expect.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from corpora import CORPORA, Case, programs
from corpora.case import place
from tabulate import tabulate

Row = dict[str, Any]

PREFACE = """\
Printed by `python benchmarks/explain.py`: torch {torch}, Python {python}. A figure
such as 31/40 counts programs; *ms* are from the end of the step to the end of the
block, records and explanation included, beside other work on the machine.
"""


def start() -> None:
    """Each process once: one thread, and whatever is imported on first use."""
    import torch
    from corpora import judging

    torch.set_num_threads(1)
    text = (
        "import torch\nimport torch.nn as nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Linear(2, 3), nn.Linear(4, 5))\n\n\n"
        "def step(model):\n    return model(torch.ones(1, 2)).sum()\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        judging.traced(text, Path(folder) / "first.py")


def judge(case: Case) -> Row:
    from corpora import judging

    with tempfile.TemporaryDirectory() as folder:
        try:
            return judging.judge(case, Path(folder))
        except Exception as error:
            row = {name: getattr(case, name) for name in ("corpus", "family", "name")}
            row.update(category=case.category, fitted=case.fitted, kind=case.kind)
            return row | {"problem": f"{type(error).__name__}: {error}"[:300]}


def judged(cases: Sequence[Case], processes: int) -> list[Row]:
    context = multiprocessing.get_context("spawn")
    rows = []
    with ProcessPoolExecutor(processes, context, start) as pool:
        for done in as_completed([pool.submit(judge, case) for case in cases]):
            rows.append(done.result())
    order = {(case.corpus, case.name): at for at, case in enumerate(cases)}
    return sorted(rows, key=lambda row: order[row["corpus"], row["name"]])


def sampled(cases: Iterable[Case], most: int | None, only: str) -> list[Case]:
    """At most so many of a corpus, the same ones each time, of all its families."""
    chosen = [case for case in cases if only in case.name]
    if most is None or len(chosen) <= most:
        return chosen
    # the same slip with other sizes is taken along
    chosen.sort(key=lambda case: place(case.corpus, case.name.rpartition(" (")[0]))
    return sorted(chosen[:most], key=lambda case: case.name)


def share(rows: Iterable[Row], key: str) -> str:
    """How many of those that have the figure: 31/40."""
    told = [row[key] for row in rows if row.get(key) is not None]
    return f"{sum(map(bool, told))}/{len(told)}" if told else ""


def quantile(values: Sequence[float], at: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(at * len(ordered)), len(ordered) - 1)]


def summary(name: str, rows: list[Row]) -> dict[str, object]:
    """One line of the table."""
    broken = [row for row in rows if row["category"] != "correct"]
    fixed = [{**row, "fix": row.get("fix") is not None} for row in broken]
    sure = [row for row in broken if row.get("mark") == "verified"]
    times = [row["ms"] for row in rows if "ms" in row]
    lines = [row["lines"] for row in broken if "lines" in row]
    return {
        "corpus": name,
        "programs": len(rows),
        "flagged": share(broken, "flagged"),
        "first": share(broken, "first"),
        "any": share(broken, "any"),
        "fix": share(fixed, "fix"),
        "verified runs": share(sure, "runs"),
        "verified right": share(sure, "right"),
        "runs": share(broken, "runs"),
        "right": share(broken, "right"),
        "agrees": share(broken, "agrees"),
        "ms median": statistics.median(times) if times else None,
        "95 %": quantile(times, 0.95) if times else None,
        "max": max(times, default=None),
        "lines": statistics.mean(lines) if lines else None,
    }


def grouped(rows: list[Row]) -> dict[str, list[Row]]:
    """By corpus; crashes and silent mistakes apart, fitted and held out apart."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        name = row["corpus"]
        if row["category"] in ("silent", "correct"):
            name += f", {row['category']}"
        groups.setdefault(name + ("" if row["fitted"] else ", held out"), []).append(
            row
        )
    return groups


def calibration(rows: list[Row]) -> list[dict[str, object]]:
    """Of the culprits that are said with such a probability, how many are right."""
    bins: list[dict[str, object]] = []
    for held in (False, True):
        said = [
            tuple(one)
            for row in rows
            if row["fitted"] is not held
            for one in row.get("sure", ())
        ]
        for low in (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9):
            high = {0.0: 0.1, 0.1: 0.2, 0.8: 0.9, 0.9: 1.01}.get(low, low + 0.2)
            inside = [(p, right) for p, right in said if low <= p < high]
            if inside:
                bins.append(
                    {
                        "weights": "held out" if held else "fitted",
                        "said": f"{low:.1f} to {min(high, 1.0):.1f}",
                        "culprits": len(inside),
                        "mean said": statistics.mean(p for p, _ in inside),
                        "were right": statistics.mean(right for _, right in inside),
                    }
                )
    return bins


def kinds(rows: list[Row]) -> list[dict[str, object]]:
    """The injected mistakes by kind."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["kind"] and row["corpus"] == "slips":
            name = row["kind"] + (" (silent)" if row["category"] == "silent" else "")
            found.setdefault(name, []).append(row)
    names = ("programs", "flagged", "first", "any", "fix", "runs", "right", "agrees")
    return [
        {"slip": kind, **{name: summary(kind, found[kind])[name] for name in names}}
        for kind in sorted(found)
    ]


def shuffled(rows: list[Row]) -> list[dict[str, object]]:
    """The same slip with all sizes distinct and with all equal: the same culprit?"""
    pairs: dict[str, dict[bool, Row]] = {}
    for row in rows:
        slip, _, sizes = row["name"].rpartition(" (")
        if row["corpus"] == "slips" and row["category"] in ("layer", "loss"):
            pairs.setdefault(slip, {})[sizes == "equal)"] = row
    both = [
        (pair[False], pair[True])
        for pair in pairs.values()
        if len(pair) == 2 and all(one.get("said") for one in pair.values())
    ]
    named = [[one["said"][0][:1] for one in pair] for pair in both]
    line = {
        "slips with both sizes": len(both),
        "first with distinct": sum(one["first"] for one, _ in both),
        "first with equal": sum(other["first"] for _, other in both),
        "first with both": sum(one["first"] and other["first"] for one, other in both),
        "the same first culprit": sum(one == other for one, other in named),
    }
    return [line] if both else []


def show(row: Row) -> None:
    marks = " ".join(
        f"{key}={'y' if row[key] else 'N'}"
        for key in ("flagged", "first", "any", "runs", "right", "agrees")
        if row.get(key) is not None
    )
    print(f"--- {row['corpus']}: {row['name']} [{row['kind'] or row['category']}]")
    print(f"    {marks} {row.get('mark', '')} | {row.get('fix')} {row.get('why', '')}")
    print(f"    said {row.get('said')} want {row.get('want')} {row.get('problem', '')}")
    print(row.get("text", ""))


def report(rows: list[Row]) -> str:
    import torch

    table = [summary(name, some) for name, some in grouped(rows).items()]
    parts = [
        PREFACE.format(torch=torch.__version__, python=platform.python_version()),
        tabulate(table, headers="keys", tablefmt="github", floatfmt=".1f"),
    ]
    alarms = [row for row in rows if row.get("alarms")]
    correct = [row for row in rows if row["category"] == "correct"]
    if correct:
        parts.append(
            f"Correct programs with an alarm: {len(alarms)} of {len(correct)}."
        )
    bins = calibration(rows)
    if bins:
        parts.append(tabulate(bins, headers="keys", tablefmt="github", floatfmt=".2f"))
    for table in (shuffled(rows), kinds(rows)):
        if table:
            parts.append(tabulate(table, headers="keys", tablefmt="github"))
    problems = [row for row in rows if row.get("problem")]
    if problems:
        parts.append(f"Not judged, for a fault of their own: {len(problems)}.")
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", help="names with commas between")
    parser.add_argument("--programs", type=Path, action="append", default=[])
    parser.add_argument("--only", default="", help="a part of the programs' names")
    parser.add_argument("--sample", type=int, help="at most so many of each corpus")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--show", action="store_true", help="each explanation")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    wanted = options.corpus.split(",") if options.corpus is not None else list(CORPORA)
    if options.corpus is None and options.programs:
        wanted = []
    cases: list[Case] = []
    for name in filter(None, wanted):
        cases += sampled(CORPORA[name](), options.sample, options.only)
    for folder in options.programs:
        cases += sampled(programs(folder, folder.name), options.sample, options.only)
    rows = judged(cases, options.processes)
    if options.show:
        for row in rows:
            show(row)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(report(rows))


if __name__ == "__main__":
    main()
