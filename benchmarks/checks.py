"""Do the checks see silent mistakes, alarm nobody, mend, and cost little?

    python benchmarks/checks.py                   all of it
    python benchmarks/checks.py --part recall     or alarms, time, growth
    python benchmarks/checks.py --sample 60       at most 60 programs of each corpus

- *recall*: silent mistakes by kind; flagged at all, and with an accepted culprit; of
  the first fixes, how many silence the finding, and give the loss that was meant.
- *alarms*: correct programs with a finding that is more than a note.
- *time*: what the checks take at the end of the block, as a share of the traced step;
  the records, which are made for them, are a part of it.
- *growth*: for each call, with more and more steps in one block (`growth.py`).
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import thread_time
from typing import Any

import growth
import torch
from corpora import CORPORA, Case
from corpora.zoo import PROGRAMS
from explain import Row, judged, sampled, share
from nets import NETS, TITLES
from tabulate import tabulate
from torch import nn

from shapetrace import trace


def recall(rows: list[Row]) -> str:
    """By corpus and kind; a report is a kind of its own."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["category"] == "silent":
            groups.setdefault((row["corpus"], row["kind"]), []).append(row)
    lines = []
    for (corpus, kind), some in sorted(groups.items()):
        fixed = [row for row in some if row.get("fix") is not None]
        sure = [row for row in fixed if row["mark"] == "verified"]
        lines.append(
            {
                "corpus": corpus,
                "kind": kind,
                "programs": len(some),
                "flagged": share(some, "flagged"),
                "accepted": share(some, "first"),
                "fixes": len(fixed),
                "silence it": share(fixed, "runs"),
                "right": share(fixed, "right"),
                "verified silence it": share(sure, "runs"),
                "verified right": share(sure, "right"),
            }
        )
    return tabulate(lines, headers="keys", tablefmt="github")


def alarms(rows: list[Row]) -> str:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["category"] == "correct":
            groups.setdefault(row["corpus"], []).append(row)
    lines = [
        {
            "corpus": corpus,
            "programs": len(some),
            "with an alarm": sum(bool(row.get("alarms")) for row in some),
            "not judged": sum("problem" in row for row in some),
            "which": ", ".join(
                f"{row['name']}: {'+'.join(row['alarms'])}"
                for row in some
                if row.get("alarms")
            ),
        }
        for corpus, some in sorted(groups.items())
    ]
    return tabulate(lines, headers="keys", tablefmt="github")


def correct_zoo() -> list[Case]:
    """The models of the zoo as they are, one training step each."""
    return [
        Case("zoo", name, name, "correct", text, False)
        for name, (_, text) in PROGRAMS.items()
    ]


# -- time ------------------------------------------------------------------------------


def timed(step: Callable[[], object], model: nn.Module, checks: bool) -> list[float]:
    """Seconds of this thread's processor time, which other work on the machine
    disturbs least: the step under the trace, and the end of the block."""
    gc.collect()
    t = trace(model, checks=checks)
    with t:
        start = thread_time()
        step()
        inside = thread_time() - start
        ended = thread_time()
    return [inside, thread_time() - ended]


def training_step(net: str) -> tuple[nn.Module, Callable[[], object]]:
    model, x = NETS[net]()

    def step() -> None:
        out = model(x)
        out = out if torch.is_tensor(out) else out.last_hidden_state
        out.square().mean().backward()

    return model, step


def narrow_step(adam: bool) -> tuple[nn.Module, Callable[[], object]]:
    """Twelve layers so narrow that recording them costs as much as running them."""
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    body = nn.TransformerEncoder(layer, 12)
    model = nn.Sequential(nn.Embedding(100, 64), body, nn.Linear(64, 100))
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        x = torch.randint(0, 100, (8, 32))
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), x.flatten())
        optimizer.zero_grad()
        loss.backward()
        if adam:
            optimizer.step()

    return model, step


STEPS: dict[str, Callable[[], tuple[nn.Module, Callable[[], object]]]] = {
    **{TITLES[net]: partial(training_step, net) for net in ("resnet50", "gpt2")},
    "12 layers of width 64, 8x32": partial(narrow_step, False),
    "the same, Adam's step inside": partial(narrow_step, True),
}


def shares(repetitions: int) -> list[dict[str, object]]:
    """Forward, loss and backward, on the nets of the other benchmarks and on one where
    the share is largest."""
    lines = []
    for title, make in STEPS.items():
        model, step = make()
        step()
        turns: dict[bool, list[list[float]]] = {True: [], False: []}
        for _ in range(repetitions):
            for checks in (True, False):
                turns[checks].append(timed(step, model, checks))
        inside = statistics.median(one[0] for one in turns[True])
        with_checks, without = (
            statistics.median(one[1] for one in turns[checks])
            for checks in (True, False)
        )
        lines.append(
            {
                "net": title,
                "traced step ms": 1e3 * inside,
                "end without checks ms": 1e3 * without,
                "with checks ms": 1e3 * with_checks,
                "share of the step": (with_checks - without) / inside,
            }
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=["recall", "alarms", "time", "growth"])
    parser.add_argument("--sample", type=int, help="at most so many of each corpus")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    categories = {"recall": "silent", "alarms": "correct"}
    wanted = [options.part] if options.part else [*categories, "time", "growth"]
    kinds = [categories[part] for part in wanted if part in categories]
    if kinds:
        cases: list[Case] = []
        for name in CORPORA:
            own = (case for case in CORPORA[name]() if case.category in kinds)
            cases += sampled(own, options.sample, "")
        if "correct" in kinds:
            cases += sampled(correct_zoo(), options.sample, "")
        rows = results["rows"] = judged(cases, options.processes)
        if "silent" in kinds:
            print(recall(rows) + "\n")
        if "correct" in kinds:
            print(alarms(rows) + "\n")
    if "time" in wanted:
        results["time"] = shares(options.repetitions)
        table = tabulate(results["time"], "keys", tablefmt="github", floatfmt=".3f")
        print(table + "\n")
    if "growth" in wanted:
        growth.main()
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
