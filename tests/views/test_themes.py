"""In a real browser: the theme of the notebook goes before the system's."""

from __future__ import annotations

import re

import pytest
import torch
from browser import CHROMIUM, shown
from torch import nn

import shapetrace

pytestmark = [
    pytest.mark.zoo,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look at pages with"),
]

#: says which colour the odd number has, and which ground it stands on
LOOK = """<script>
const style = getComputedStyle(document.querySelector(".shapetrace"));
document.documentElement.setAttribute("data-looks",
    style.getPropertyValue("--st-bad") + " on " + style.backgroundColor);
</script>"""
LIGHT, DARK = "#b3261e", "#ff8a80"


@pytest.mark.parametrize(
    ("around", "accent"),
    [
        ('<body class="vscode-light">', LIGHT),
        ('<body class="vscode-dark">', DARK),
        ('<body class="vscode-high-contrast">', DARK),
        # VS Code gives this one both
        ('<body class="vscode-high-contrast-light vscode-high-contrast">', LIGHT),
        ('<body data-jp-theme-light="false">', DARK),
        ('<body data-jp-theme-light="true">', LIGHT),
    ],
)
def test_accents_follow_the_theme_around_a_fragment(around, accent, tmp_path):
    model = nn.Linear(4, 2)
    with shapetrace.trace(model) as t:
        model(torch.ones(3, 4))
    ground = "<style>:root{--vscode-editor-background:rgb(1, 2, 3)}</style>"
    page = f"<!doctype html><html>{ground}{around}{t._repr_html_()}{LOOK}</body></html>"
    found = re.search(r'data-looks="([^"]*)"', shown(page, tmp_path))
    assert found is not None and found[1] == f"{accent} on rgb(1, 2, 3)"
