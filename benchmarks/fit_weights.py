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
import multiprocessing
import re
import sys
import tempfile
import unittest.mock
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest
import torch
from corpora import CORPORA, Case, programs
from corpora.case import place

OUT = Path(__file__).parents[1] / "shapetrace" / "diagnosis" / "weights.py"
#: lines of one program that are pasted and run
PASTED = 15
RIDGE = 0.015
#: what people really do, and what tests assert, counts for more than injected slips
COUNTS = {"reports": 3.0, "tests": 3.0, "own": 3.0}
#: what can only speak against a repair: a slip that is injected into a layer makes it
#: unlike its like, and taking it back does not, so that the fit would turn the sign
AGAINST = (
    "a window unlike its like",
    "unlike its like",
    "loses something",
    "deals elements out anew",
    "predicts what it is given",
)
#: evidence that fewer programs show has no weight of its own
LEAST = 3

Row = dict[str, Any]


def examined(case: Case) -> Row | None:
    """The facts of every hypothesis of one program, and which of them are true."""
    from corpora.judging import loss_of, traced

    from shapetrace.diagnosis.consider import consider
    from shapetrace.diagnosis.explain import mismatch_of
    from shapetrace.lineage import Graph

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = re.sub(r"\W+", "_", case.name)[:80]
        path = Path(folder) / f"{name}.py"
        t, raised, _ = traced(case.text, path)
        if raised is None:
            return None
        graph = Graph(t.recording)
        mismatch = mismatch_of(graph)
        if mismatch is None:
            return None
        found = consider(graph, mismatch)
        goal = None
        if case.mended is not None:
            try:
                goal = loss_of(case.mended, path.with_name(f"{name}_mended.py"))
            except Exception:  # no loss to compare with
                goal = None
        rows = []
        for at, entry in enumerate(found.scored):
            one = entry.hypothesis
            right: bool | None = None
            if one.line and at < PASTED:
                right = _right(case, one, path, goal)
            rows.append(_row(entry, right))
    return {
        "name": case.name,
        "corpus": case.corpus,
        "family": case.family,
        "fitted": case.fitted,
        "want": sorted(case.culprits) if case.culprits is not None else None,
        "rows": rows,
    }


class Asked(tuple[str, str]):
    """Kind and name of the likeliest culprit, which notes what it is held against."""

    tests: Tests

    def __eq__(self, other: object) -> bool:
        if isinstance(other, tuple):
            self.tests.told(*other)
        return super().__eq__(other)

    def __getitem__(self, at: Any) -> Any:
        return (
            Kind(self, super().__getitem__(at)) if at == 0 else super().__getitem__(at)
        )

    __hash__ = tuple.__hash__


class Kind(str):
    """The kind alone: of data that is all there is to say."""

    asked: Asked

    def __new__(cls, asked: Asked, text: str) -> Kind:
        made = super().__new__(cls, text)
        made.asked = asked
        return made

    def __eq__(self, other: object) -> bool:
        if other in ("input", "target"):
            self.asked.tests.told(str(other), "")
        return super().__eq__(other)

    __hash__ = str.__hash__


class Tests:
    """A plugin of pytest that runs the project's own tests of explanations, and notes
    whom each program's explanation has to name first, with the facts: whom a test
    asserts, and in a test that passes whom the explanation names."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._kept = 0

    def told(self, kind: str, name: str) -> None:
        """A test asserts the culprit of the program that was explained last."""
        if len(self.rows) > self._kept:
            label = {"module": name, "function": f"function:{name.rstrip('_')}"}
            self.rows[-1] |= {"want": [label.get(kind, kind)], "told": True}

    def pytest_configure(self) -> None:
        import failures  # type: ignore

        from shapetrace.diagnosis import explain

        explained, inner = failures.failure_of, explain.diagnose_failure

        def noted(graph: Any) -> Any:
            self._note(graph)
            return inner(graph)

        def failure_of(*args: Any) -> Any:
            with unittest.mock.patch("shapetrace.diagnosis.diagnose_failure", noted):
                return explained(*args)

        def first(found: Any) -> Asked:
            asked = Asked(asserted(found))
            asked.tests = self
            return asked

        asserted = failures.first
        failures.failure_of, failures.first = failure_of, first

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call":
            if report.failed:
                told = [row for row in self.rows[self._kept :] if "told" in row]
                self.rows[self._kept :] = told
            self._kept = len(self.rows)

    def _note(self, graph: Any) -> None:
        from shapetrace.diagnosis.consider import consider
        from shapetrace.diagnosis.explain import mismatch_of

        mismatch = mismatch_of(graph)
        if mismatch is None:
            return
        found = consider(graph, mismatch)
        name = f"test {len(self.rows)}"
        if found.suspects:
            self.rows.append(
                {
                    "name": name,
                    "corpus": "tests",
                    "family": name,
                    "fitted": True,
                    "want": [_label(found.suspects[0].site)],
                    "rows": [_row(entry, None) for entry in found.scored],
                }
            )


def from_tests() -> list[Row]:
    """What the project's own tests say."""
    folder = Path(__file__).parents[1] / "tests"
    sys.path.insert(0, str(folder))
    plugin = Tests()
    arguments = ["-q", "-p", "no:cacheprovider", "--no-header", "-W", "ignore"]
    pytest.main([*arguments, str(folder / "diagnosis")], plugins=[plugin])
    return plugin.rows


def _row(entry: Any, right: bool | None) -> Row:
    one = entry.hypothesis
    return {
        "facts": [(fact.name, fact.strength) for fact in entry.facts],
        "site": _label(one.site),
        "key": f"{one.site.kind}:{one.site.name}:{one.site.place}",
        "line": one.line,
        "right": right,
    }


def _right(case: Case, one: Any, path: Path, goal: float | None) -> bool | None:
    from corpora.judging import loss_of, pasted

    if case.wanted is not None:
        return case.wanted in one.line
    if goal is None or case.corpus == "zoo":
        return None
    if one.where is not None and one.where.file != str(path):
        return None
    text, later = pasted(case.text, one), "" if one.where else one.line
    try:
        loss = loss_of(text, path.with_name(f"{path.stem}_fixed.py"), later)
    except Exception:
        return False
    return math.isclose(loss, goal, rel_tol=1e-4, abs_tol=1e-5)


def _label(site: Any) -> str:
    if site.kind == "module":
        return str(site.name)
    if site.kind == "function":
        return "function:" + site.name.rstrip("_")
    return str(site.kind)


def collected(cases: list[Case], processes: int) -> list[Row]:
    context = multiprocessing.get_context("spawn")
    rows: list[Row] = []
    with ProcessPoolExecutor(processes, context) as pool:
        for done in as_completed([pool.submit(examined, case) for case in cases]):
            try:
                row = done.result()
            except Exception as error:
                print("  lost:", type(error).__name__, str(error)[:120])
                continue
            if row is not None and row["rows"]:
                rows.append(row)
    return sorted(rows, key=lambda row: (row["corpus"], row["name"]))


def accepted(row: Row) -> set[str] | None:
    """The sites that are right: those that the truth names, and those of lines that
    give the loss of the program mended by hand."""
    right = {entry["site"] for entry in row["rows"] if entry["right"]}
    if row["want"] is None:
        return right or None
    return right | set(row["want"])


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
        if want is not None:
            found = torch.tensor([entry["site"] in want for entry in entries])
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
            total = total - scores[self.site].logsumexp(0) + scores.logsumexp(0)
        if self.right is not None:
            among = scores[self.lines]
            total = total - scores[self.right].logsumexp(0) + among.logsumexp(0)
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
        sums = {
            key: float(torch.tensor([score for score, _ in group]).logsumexp(0))
            for key, group in sites.items()
        }
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
            f"    {json.dumps(name)}: {weight},\n" for name, weight in weights.items()
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
