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
RIDGE = 0.035
#: what people really do, and what tests assert, counts for more than injected slips
COUNTS = {"reports": 24.0, "rebuilt": 8.0, "tests": 30.0, "own": 16.0}
#: what tests assert, and the weights do not tell, counts so much more, and again: all
#: of it is told then, and of 399 real programs 277 in cross-validation, for 291 by
#: weights that leave four of the assertions and five first fixes wrong
INSISTED, ROUNDS = 3.0, 3
#: programs of people, not injected ones
REAL = ("reports", "rebuilt", "unseen")
#: what can only speak against a repair: a slip that is injected into a layer makes it
#: unlike its like, and taking it back does not, so that the fit would turn the sign;
#: and mutated models of libraries would make the code guilty that many people run
AGAINST = (
    "a function in an installed package",
    "a module in an installed package",
    "a window unlike its like",
    "unlike its like",
    "loses something",
    "deals elements out anew",
    "stretches both sides",
    "makes rows of features",
    "the layer took an earlier batch",
    "is used as it was trained",
    "reckons with class indices",
)
#: what can only speak for a repair, and is told: other layers that have the new width.
#: Among those that show it the fit turns its sign with the corpora, by less than 0.1
FAVOUR = ("the new size is known",)
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


class Problems:
    """Programs as tensors, all in one: a row of facts for each hypothesis, the program
    and the thought that it belongs to, and which are accepted."""

    def __init__(self, rows: list[Row], index: dict[str, int]) -> None:
        facts: list[list[tuple[int, float]]] = []
        thoughts: list[int] = []
        programs: list[int] = []
        self.counts: list[float] = []
        self.rows: list[Row] = []
        lines, right, sites, owners = [], [], [], []
        for row in rows:
            entries, want = row["rows"], accepted(row)
            told = {thought(entry): entry["site"] for entry in entries}
            known = [want is not None and site in want for site in told.values()]
            if not any(known) or all(known):
                known = [False] * len(known)
            true = [entry["right"] is True for entry in entries]
            if not any(known) and not any(true):
                continue
            first = {one: len(sites) + at for at, one in enumerate(told)}
            for entry, is_right in zip(entries, true, strict=True):
                facts.append(
                    [(index[name], s) for name, s in entry["facts"] if name in index]
                )
                thoughts.append(first[thought(entry)])
                programs.append(len(self.counts))
                lines.append(entry["right"] is not None and any(true))
                right.append(is_right)
            sites += known
            owners += [len(self.counts)] * len(known)
            self.counts.append(COUNTS.get(row["corpus"], 1.0))
            self.rows.append(row)
        self.facts = torch.zeros(len(facts), len(index))
        for at, told in enumerate(facts):
            for name, strength in told:
                self.facts[at, name] += strength
        self.thoughts, self.programs = torch.tensor(thoughts), torch.tensor(programs)
        self.sites, self.owners = torch.tensor(sites), torch.tensor(owners)
        self.lines, self.right = torch.tensor(lines), torch.tensor(right)
        self.weights = torch.tensor(self.counts)

    def loss(self, weights: torch.Tensor) -> torch.Tensor:
        """Of each program minus the log-likelihood of the accepted sites, and of the
        lines that are right."""
        scores = self.facts @ weights
        least = torch.full((len(self.sites),), -torch.inf)
        best = least.scatter_reduce(0, self.thoughts, scores, "amax")
        sites = self._sums(best, self.owners) - self._sums(
            best, self.owners, self.sites
        )
        lines = self._sums(scores, self.programs, self.lines) - self._sums(
            scores, self.programs, self.right
        )
        # programs of which nothing is accepted have no say
        total = sites.where(sites.isfinite(), 0.0)
        total = total + LINES * lines.where(lines.isfinite(), 0.0)
        return (total * self.weights).mean()

    def _sums(
        self, values: torch.Tensor, owners: torch.Tensor, of: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The logarithms of each program's sums of exponentials."""
        if of is not None:
            values, owners = values[of], owners[of]
        least = torch.full((len(self.counts),), -torch.inf)
        most = least.scatter_reduce(0, owners, values.detach(), "amax")
        sums = torch.zeros(len(most)).scatter_add(
            0, owners, (values - most[owners]).exp()
        )
        return most + sums.clamp(min=1e-30).log()


def fitted(rows: list[Row]) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update({name for e in row["rows"] for name, _ in e["facts"]})
    names = sorted(name for name, count in counts.items() if count >= LEAST)
    problems = Problems(rows, {name: at for at, name in enumerate(names)})
    free = torch.zeros(len(names))
    for _ in range(ROUNDS + 1):
        free, signed = _softmax(problems, names, free)
        weights = {name: round(float(one), 2) for name, one in zip(names, signed)}
        missed = [at for at, row in enumerate(problems.rows) if _insists(row, weights)]
        if not missed:
            break
        problems.weights[missed] *= INSISTED
    return weights


def _insists(row: Row, weights: dict[str, float]) -> bool:
    """Whether a program of the project's own asserts something else."""
    if row["corpus"] not in ("tests", "own"):
        return False
    first, _, right = named(row, weights)
    return not first or right is False


def _softmax(
    problems: Problems, names: list[str], start: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weights under which what is accepted is likeliest; free and with their
    signs."""
    free = start.clone().requires_grad_()
    against = torch.tensor([name in AGAINST for name in names])
    favour = torch.tensor([name in FAVOUR for name in names])
    optimizer = torch.optim.LBFGS(
        [free], max_iter=300, line_search_fn="strong_wolfe", history_size=20
    )

    def signed() -> torch.Tensor:
        size = torch.nn.functional.softplus(free)
        known = torch.where(favour, size + 2 * FAINT, free)
        return torch.where(against, -size, known)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        weights = signed()
        ridge = RIDGE * weights.square().sum() / math.sqrt(len(problems.counts))
        loss = problems.loss(weights) + ridge
        loss.backward()
        return loss

    optimizer.step(closure)
    return free.detach(), signed().detach()


def validated(rows: list[Row], folds: int) -> None:
    """First and any culprit of real reports, each by weights that were fitted without
    it: what is to be expected of a report that nobody here has seen. Those of one
    report stay together."""
    real = [row for row in rows if row["corpus"] in REAL]
    others = [row for row in rows if row["corpus"] not in REAL and row["fitted"]]
    for fold in range(folds):
        apart = [row for row in real if int(folds * place(row["family"])) == fold]
        rest = [row for row in real if int(folds * place(row["family"])) != fold]
        weights = fitted(others + rest)
        for row in apart:
            row["validated"] = named(row, weights)[:2]
    for at, word in enumerate(("first", "any")):
        count = sum(row["validated"][at] for row in real)
        print(f"  cross-validated over {folds} folds: {word} {count} of {len(real)}")


def named(row: Row, weights: dict[str, float]) -> tuple[bool, bool, bool | None]:
    """Whether the first culprit is accepted, one of the first three, and whether the
    first line is right, None where that cannot be told."""
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
    if not first or right is False:
        row["said"] = f"{labels[:3]} {want} right={right}"
    return first, any_, right


def judged(rows: list[Row], weights: dict[str, float]) -> None:
    """First and any culprit, and the first line, with these weights."""
    groups: dict[str, list[tuple[bool, bool, bool | None]]] = {}
    for row in rows:
        found = named(row, weights)
        groups.setdefault(
            row["corpus"] + ("" if row["fitted"] else " held out"), []
        ).append(found)
        if not found[0] or found[2] is False:
            print(f"    {row['corpus']:8s} {row['name'][:60]:60s} {row['said']}")
    for name, told in sorted(groups.items()):
        n = len(told)
        right = [one for _, _, one in told if one is not None]
        print(
            f"  {name:20s} {n:4d} first {100 * sum(f for f, _, _ in told) / n:.0f} % "
            f"any {100 * sum(a for _, a, _ in told) / n:.0f} % "
            f"right {sum(right)}/{len(right)}"
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
    parser.add_argument("--folds", type=int, help="cross-validate over real reports")
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
    if options.folds:
        validated(rows, options.folds)
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
