"""A report from somebody else runs nothing in the reader's browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from browser import CHROMIUM, shown
from torch import nn

import shapetrace
from shapetrace.distributed import Rank, Ranks

pytestmark = [
    pytest.mark.zoo,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look at pages with"),
]

#: each marks the page if it runs
RUNS = "document.documentElement.setAttribute('data-owned','1')"
HOSTILE = [
    f"<script>{RUNS}</script>",
    f"</script><script>{RUNS}</script>",
    f"--><script>{RUNS}</script>",
    f"</pre></style></title></textarea><script>{RUNS}</script>",
    f'"><img src=x onerror="{RUNS}">',
    f"'><img src=x onerror={RUNS}>",
    f"<svg onload={RUNS}>",
    f"&lt;script&gt;{RUNS}&lt;/script&gt;",
    f"javascript:{RUNS}",
    f"'-{RUNS}-'",
    f"${{{RUNS}}}",
]


def owned(page: str, folder: Path) -> bool:
    """Whether anything of the page's data ran in a real browser."""
    return 'data-owned="1"' in shown(page, folder)


def test_a_page_that_runs_something_is_noticed(tmp_path):
    assert owned(f"<html><script>{RUNS}</script></html>", tmp_path)


def hostile_trace(folder: Path) -> shapetrace.Trace:
    """A saved report, all texts of which somebody has replaced."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
    with pytest.warns(shapetrace.ShapeTraceWarning), shapetrace.trace(model) as t:
        out = model(torch.ones(2, 4))
        nn.functional.cross_entropy(out, torch.tensor([0, 1])).backward()
    path = folder / "report.json"
    t.to_json(path)
    document = json.loads(path.read_text())
    kept = {"Origin": {"kind"}, "Culprit": {"kind"}, "Diagnosis": {"severity", "code"}}
    number = 0

    def poisoned(value: Any) -> Any:
        nonlocal number
        if isinstance(value, str):
            number += 1
            return value + HOSTILE[number % len(HOSTILE)]
        if isinstance(value, list):
            return [poisoned(part) for part in value]
        if isinstance(value, dict):
            return {key: poisoned(part) for key, part in value.items()}
        return value

    skipped = {"dtype", "device", "args", "kwargs", "attributes", "status"}
    names: dict[str, str] = {}
    for table, parts in document["tables"].items():
        for column, value in parts["columns"].items():
            if column in skipped | kept.get(table, set()):
                continue
            if column in ("name", "modules", "module") and table != "FunctionCall":
                parts["columns"][column] = renamed(value, names)
            else:
                parts["columns"][column] = poisoned(value)
    path.write_text(json.dumps(document))
    return shapetrace.load(path)


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Modules' names, the same everywhere."""
    if isinstance(value, str):
        return names.setdefault(value, value + HOSTILE[len(names) % len(HOSTILE)])
    if isinstance(value, list):
        return [renamed(part, names) for part in value]
    if isinstance(value, dict):
        return {key: renamed(part, names) for key, part in value.items()}
    return value


def test_a_hostile_report_runs_nothing(tmp_path):
    t = hostile_trace(tmp_path)
    assert any("<script>" in call.name for call in t.calls)
    t.to_html(tmp_path / "hostile.html")
    assert not owned((tmp_path / "hostile.html").read_text(), tmp_path)


def test_nor_does_it_in_a_notebook_or_beside_other_ranks(tmp_path):
    t = hostile_trace(tmp_path)
    ranks = Ranks((Rank(0, t.recording, t.findings), Rank(1, lost=HOSTILE[0])))
    parts = [
        t._repr_html_(),
        *(finding._repr_html_() for finding in t.findings),
        ranks._repr_html_(),
        shapetrace.compare(t, t)._repr_html_(),
    ]
    page = f"<html><body>{''.join(parts)}</body></html>"
    assert not owned(page, tmp_path)


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_module_s_own_name_runs_nothing(number, tmp_path):
    hostile = HOSTILE[number].replace(".", "\u2024")  # a module's name has no dot
    model = nn.ModuleDict({hostile: nn.Linear(4, 3)})
    with shapetrace.trace(model) as t:
        model[hostile](torch.ones(2, 4))
    t.to_html(tmp_path / "named.html")
    assert not owned((tmp_path / "named.html").read_text(), tmp_path)
