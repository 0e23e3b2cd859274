"""A fragment looks alike in whatever page it stands: JupyterLab's rules for tables are
stronger than a class and an element, and nbconvert knows no font for code."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch
from test_hostile_pages import CHROMIUM, shown
from torch import nn

import shapetrace

pytestmark = [
    pytest.mark.zoo,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look at pages with"),
]

#: of JupyterLab 4.5's style, as nbconvert 7.17 puts it into a page
JUPYTER = """
.jp-RenderedHTMLCommon {font-family: system-ui}
.jp-RenderedHTMLCommon pre, .jp-RenderedHTMLCommon code {
  font-family: var(--jp-code-font-family); white-space: pre-wrap}
.jp-RenderedHTMLCommon table {table-layout: fixed; margin-left: auto}
:not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon td,
:not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon th,
:not(.jp-RenderedMarkdown).jp-RenderedHTMLCommon tr {text-align: right}
.jp-RenderedHTMLCommon td, .jp-RenderedHTMLCommon th {padding: 0.5em}
.jp-RenderedHTMLCommon tbody tr:nth-child(even) {background: #eee}
.jp-RenderedHTMLCommon :not(pre) > code {padding: 1px 5px}
"""


def looks(fragment: str, folder: Path, of: dict[str, str], width: int = 900) -> Any:
    """JavaScript's answers about a fragment in a notebook's page."""
    asked = ",".join(f"{json.dumps(name)}:{code}" for name, code in of.items())
    page = f"""<!DOCTYPE html><html><head><style>{JUPYTER}</style></head><body>
<div class="jp-RenderedHTMLCommon" style="width:{width}px">{fragment}</div><script>
const look = (where, what) => getComputedStyle(document.querySelector(where))[what];
const left = text => [...document.querySelectorAll("tbody th")]
  .filter(e => e.textContent === text)
  .map(e => {{ const r = document.createRange(); r.selectNodeContents(e);
               return r.getBoundingClientRect().left; }})[0];
document.body.dataset.answers = JSON.stringify({{{asked}}});
</script></body></html>"""
    found = re.search(r'data-answers="([^"]*)"', shown(page, folder))
    assert found is not None
    return json.loads(unescape(found[1]))


def failing() -> shapetrace.Trace:
    inner = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    model = nn.Sequential(inner, nn.Flatten(), nn.Linear(7, 2))
    with pytest.raises(RuntimeError), shapetrace.trace(model) as t:
        model(torch.ones(2, 4))
    return t


def test_a_notebook_s_tables_and_cards_are_ours(tmp_path):
    t = failing()
    found = looks(
        t._repr_html_(),
        tmp_path,
        {
            "words": 'look(".st-table tbody td", "textAlign")',
            "numbers": 'look(".st-table tbody .st-number", "textAlign")',
            "fix": 'look(".st-fixes td", "textAlign")',
            "layout": 'look(".st-table", "tableLayout")',
            "code": 'look(".st-message code", "paddingLeft")',
            "indents": '[left("1"), document.querySelector("thead th").offsetLeft]',
            "heading": 'look("h4", "fontWeight")',
        },
    )
    assert found["words"] == "left" and found["numbers"] == "right"
    assert found["fix"] == "left" and found["layout"] == "auto"
    assert found["code"] == "0px" and found["heading"] == "600"
    assert found["indents"][0] - found["indents"][1] > 20


@pytest.mark.parametrize("width", [380, 700, 1100])
def test_no_page_is_wider_than_its_column(tmp_path, width):
    found = looks(
        failing()._repr_html_(),
        tmp_path,
        {"wide": 'document.querySelector(".shapetrace").scrollWidth'},
        width,
    )
    assert found["wide"] <= width


def test_costs_stand_where_a_reader_begins(tmp_path):
    found = looks(
        failing().costs._repr_html_(),
        tmp_path,
        {
            "name": 'look("th", "textAlign")',
            "value": 'look("td", "textAlign")',
            "left": 'document.querySelector("table").offsetLeft',
        },
    )
    assert found["name"] == found["value"] == "left" and found["left"] < 20


def test_the_columns_of_a_text_stand_below_each_other(tmp_path):
    t = failing()
    for text in (t.summary(), t.table()):
        assert (
            "monospace"
            in looks(
                text._repr_html_(), tmp_path, {"font": 'look("pre", "fontFamily")'}
            )["font"]
        )
        assert looks(
            text._repr_html_(), tmp_path, {"space": 'look("pre", "whiteSpace")'}
        ) == {"space": "pre"}


def test_a_long_table_folds_and_its_columns_hold_what_is_in_them(tmp_path):
    path = tmp_path / "long.html"
    unlike = [nn.Linear(width, width + 1) for width in range(1, 601)]
    halves = nn.Sequential(nn.Sequential(*unlike[:300]), nn.Sequential(*unlike[300:]))
    with shapetrace.trace(halves) as t:
        halves(torch.ones(2, 1))
    t.to_html(path)
    asked = """<script>
const rows = [...document.querySelectorAll(".st-long tbody tr")];
const shown = () => rows.filter(row => row.offsetHeight).length;
const boxes = [...document.querySelectorAll(".st-long input")];
const counts = [shown()];
boxes[1].click(); counts.push(shown());
boxes[0].click(); counts.push(shown());
boxes[0].click(); counts.push(shown());
boxes[2].click(); counts.push(shown());
const cut = [...document.querySelectorAll(".st-long th, .st-long td")]
  .filter(cell => cell.scrollWidth > cell.clientWidth).length;
document.body.dataset.answers = JSON.stringify({counts, cut});
</script>"""
    text = shown(path.read_text().replace("</body>", f"{asked}</body>"), tmp_path)
    found = json.loads(unescape(re.search(r'data-answers="([^"]*)"', text)[1]))
    assert found == {"counts": [3, 303, 1, 303, 603], "cut": 0}
