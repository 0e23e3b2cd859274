"""Fit the weights of the evidence, and write `shapetrace/diagnosis/weights.py`.

    python benchmarks/fit_weights.py [--programs FOLDER] [--sample 200] [--processes 2]

Every program of the corpora that may be fitted on (families that are held out take no
part) is run and explained once, with the facts of every hypothesis. Its truth is which
sites are accepted, and, where the program mended by hand is known, which pasted lines
give that program's loss. The weights are those of a softmax over the hypotheses of a
program under which the accepted ones are likeliest, with a Gaussian prior around 0
(ridge), so that evidence that is seldom seen weighs little.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from pathlib import Path

import torch
from corpora import CORPORA, programs
from corpora.case import place
from fit_rows import Row, collected, from_tests

OUT = Path(__file__).parents[1] / "shapetrace" / "diagnosis" / "weights.py"
RIDGE = 0.02
#: what people really do, and what tests assert, counts for more than injected slips
COUNTS = {"reports": 8.0, "rebuilt": 8.0, "tests": 10.0, "own": 6.0}
#: what can only speak against a repair: a slip that is injected into a layer makes it
#: unlike its like, and taking it back does not, so that the fit would turn the sign
AGAINST = (
    "a window unlike its like",
    "unlike its like",
    "loses something",
    "deals elements out anew",
    "predicts what it is given",
    "stretches both sides",
    "the layer took an earlier batch",
    "leaves batches unequal",
    "has the wanted size in another dimension",
    "is used as it was trained",
    "reckons with class indices",
)
#: evidence that fewer programs show has no weight of its own
LEAST = 3
#: a weight that says nothing has no line
FAINT = 0.03
#: a line is what gets pasted: it counts for more than whom it is about
LINES = 2.0


def accepted(row: Row) -> set[str] | None:
    """The sites that are right: those that the truth names, and those of lines that
    give the loss of the program mended by hand."""
    right = {entry["site"] for entry in row["rows"] if entry["right"]}
    if row["want"] is None:
        return right or None
    return right | set(row["want"])


def thought(entry: Row) -> tuple[str, str]:
    """What counts once for a site: the best of its hypotheses of one form."""
    return entry["key"], entry["form"]


class Problem:
    """One program as tensors: facts, and which hypotheses are accepted."""

    def __init__(self, row: Row, index: dict[str, int]) -> None:
        entries = row["rows"]
        self.weight = COUNTS.get(row["corpus"], 1.0)
        self.facts = torch.zeros(len(entries), len(index))
        for at, entry in enumerate(entries):
            for name, strength in entry["facts"]:
                if name in index:
                    self.facts[at, index[name]] += strength
        want = accepted(row)
        self.site: torch.Tensor | None = None
        places: dict[tuple[str, str], int] = {}
        for entry in entries:
            places.setdefault(thought(entry), len(places))
        self.thoughts = torch.tensor([places[thought(entry)] for entry in entries])
        if want is not None:
            told = {place: entry for entry in entries for place in [thought(entry)]}
            found = torch.tensor([told[place]["site"] in want for place in places])
            if found.any() and not found.all():
                self.site = found
        told = [entry["right"] for entry in entries]
        self.right: torch.Tensor | None = None
        lines = torch.tensor([one is not None for one in told])
        true = torch.tensor([one is True for one in told])
        if true.any():
            self.right, self.lines = true, lines

    def loss(self, weights: torch.Tensor) -> torch.Tensor:
        scores = self.facts @ weights
        total = torch.zeros(())
        if self.site is not None:
            least = torch.full((len(self.site),), -torch.inf)
            best = least.scatter_reduce(0, self.thoughts, scores, "amax")
            total = total - best[self.site].logsumexp(0) + best.logsumexp(0)
        if self.right is not None:
            among = scores[self.lines]
            told = among.logsumexp(0) - scores[self.right].logsumexp(0)
            total = total + LINES * told
        return total


def fitted(rows: list[Row]) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update({name for e in row["rows"] for name, _ in e["facts"]})
    names = sorted(name for name, count in counts.items() if count >= LEAST)
    index = {name: at for at, name in enumerate(names)}
    problems = [Problem(row, index) for row in rows]
    problems = [
        one for one in problems if one.site is not None or one.right is not None
    ]
    free = torch.zeros(len(names), requires_grad=True)
    against = torch.tensor([name in AGAINST for name in names])
    optimizer = torch.optim.LBFGS(
        [free], max_iter=300, line_search_fn="strong_wolfe", history_size=20
    )

    def signed() -> torch.Tensor:
        return torch.where(against, -torch.nn.functional.softplus(free), free)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        weights = signed()
        losses = torch.stack([one.loss(weights) * one.weight for one in problems])
        loss = losses.mean()
        loss = loss + RIDGE * weights.square().sum() / math.sqrt(len(problems))
        loss.backward()
        return loss

    optimizer.step(closure)
    print(f"{len(problems)} programs, {len(names)} kinds of evidence")
    weights = signed().detach()
    return {name: round(float(weights[at]), 2) for name, at in index.items()}


def judged(rows: list[Row], weights: dict[str, float]) -> None:
    """First and any culprit, and the first line, with these weights."""
    groups: dict[str, list[tuple[bool, bool, bool | None]]] = {}
    for row in rows:
        sites: dict[str, list[tuple[float, Row]]] = {}
        for entry in row["rows"]:
            score = sum(weights.get(n, 0.0) * s for n, s in entry["facts"])
            sites.setdefault(entry["key"], []).append((score, entry))
        sums = {key: _sum(group) for key, group in sites.items()}
        order = sorted(sites, key=lambda key: -sums[key])
        labels = [sites[key][0][1]["site"] for key in order]
        want = accepted(row)
        first = want is None or labels[0] in want
        any_ = want is None or any(label in want for label in labels[:3])
        best = [e for _, e in sorted(sites[order[0]], key=lambda x: -x[0]) if e["line"]]
        right = best[0]["right"] if best else None
        name = row["corpus"] + ("" if row["fitted"] else " held out")
        groups.setdefault(name, []).append((first, any_, right))
        if not first or right is False:
            print(
                f"    {row['corpus']:8s} {row['name'][:60]:60s} {labels[:3]} {want} "
                f"right={right}"
            )
    for name, found in sorted(groups.items()):
        n = len(found)
        told = [right for _, _, right in found if right is not None]
        print(
            f"  {name:20s} {n:4d} first {100 * sum(f for f, _, _ in found) / n:.0f} % "
            f"any {100 * sum(a for _, a, _ in found) / n:.0f} % "
            f"right {sum(told)}/{len(told)}"
        )


def _sum(group: list[tuple[float, Row]]) -> float:
    """A site's score: of each form the best hypothesis."""
    best: dict[str, float] = {}
    for score, entry in group:
        best[entry["form"]] = max(score, best.get(entry["form"], -math.inf))
    return float(torch.tensor(list(best.values())).logsumexp(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--programs", type=Path, action="append", default=[])
    parser.add_argument("--corpus")
    parser.add_argument("--sample", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cache", type=Path, help="facts of an earlier run")
    parser.add_argument("--dry", action="store_true", help="write no weights")
    options = parser.parse_args()
    if options.cache is not None and options.cache.exists():
        rows = json.loads(options.cache.read_text())
    else:
        names = options.corpus.split(",") if options.corpus else list(CORPORA)
        cases = []
        for name in names:
            own = [c for c in CORPORA[name]() if c.category in ("loss", "layer")]
            own.sort(key=lambda case: place(case.corpus, case.name))
            cases += own[: options.sample]
        for folder in options.programs:
            cases += programs(folder, folder.name)
        rows = collected(cases, options.processes)
        rows += from_tests()
        if options.cache is not None:
            options.cache.write_text(json.dumps(rows))
    weights = fitted([row for row in rows if row["fitted"]])
    judged(rows, weights)
    if not options.dry:
        lines = "".join(
            f"    {json.dumps(name)}: {weight},\n"
            for name, weight in weights.items()
            if abs(weight) >= FAINT
        )
        OUT.write_text(
            '"""What each piece of evidence weighs, in log-odds; fitted, not by hand.\n'
            "\nWritten by `python benchmarks/fit_weights.py` from the corpora that it "
            "names.\n"
            '"""\n\nfrom __future__ import annotations\n\n'
            f"WEIGHTS: dict[str, float] = {{\n{lines}}}\n"
        )


if __name__ == "__main__":
    main()
