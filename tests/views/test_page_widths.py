"""In a real browser: what fits into how many pixels."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from browser import CHROMIUM, shown
from torch import nn

import shapetrace

pytestmark = [
    pytest.mark.zoo,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look at pages with"),
]

#: says how wide the table is, and how wide the place that it has
MEASURE = """<script>
const place = document.querySelector(".st-scroll");
document.documentElement.setAttribute(
    "data-widths", place.scrollWidth + " of " + place.clientWidth);
</script></body>"""


def widths(page: str, folder: Path, width: int) -> tuple[int, int]:
    said = shown(page.replace("</body>", MEASURE), folder, width)
    found = re.search(r'data-widths="(\d+) of (\d+)"', said)
    assert found is not None, said[-500:]
    return int(found[1]), int(found[2])


@pytest.mark.parametrize("width", [1200, 960])
def test_no_column_is_cut_on_a_page_and_in_a_notebook(tmp_path, width):
    layer = nn.TransformerEncoderLayer(192, 6, 768, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    with shapetrace.trace(model, memory=True, backward=True) as t:
        model(torch.ones(8, 100, 192)).sum().backward()
    t.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert all(f">{title}</th>" in page for title in ("bwd ms", "saved", "params"))
    table, place = widths(page, tmp_path, width)
    assert table <= place
