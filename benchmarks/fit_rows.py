"""What weights are fitted on: the facts of every hypothesis of every program, and which
of the hypotheses are true, by the corpora and by what the project's own tests assert.
"""

from __future__ import annotations

import math
import multiprocessing
import re
import sys
import tempfile
import unittest.mock
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest
import torch
from corpora import Case

#: lines of one program that are pasted and run
PASTED = 15

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

        from shapetrace.checks.broadcasting import mismatched

        silent = mismatched.consider

        def considered(graph: Any, mismatch: Any) -> Any:
            found = silent(graph, mismatch)
            self._keep(found)
            return found

        mismatched.consider = considered

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
        self._keep(consider(graph, mismatch))

    def _keep(self, found: Any) -> None:
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
    silent = folder / "checks" / "test_checks_blame.py"
    pytest.main([*arguments, str(folder / "diagnosis"), str(silent)], plugins=[plugin])
    return plugin.rows


def _row(entry: Any, right: bool | None) -> Row:
    one = entry.hypothesis
    return {
        "facts": [(fact.name, fact.strength) for fact in entry.facts],
        "site": _label(one.site),
        "form": one.form,
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
