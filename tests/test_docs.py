"""The recipes in docs/scenarios.md run, and say what stands there. REGEN=1 rewrites."""

from __future__ import annotations

import linecache
import os
import pathlib
import re
import warnings

import pytest

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "scenarios.md"
RECIPE = re.compile(r"## (.*?)\n.*?```python\n(.*?)```\n\n```text\n(.*?)```", re.S)
RECIPES = {
    title: (code, said) for title, code, said in RECIPE.findall(PAGE.read_text())
}


def explain(code):
    """Run a recipe as the file train.py and give the explanation."""
    linecache.cache["train.py"] = (len(code), None, code.splitlines(True), "train.py")
    scope = {"__name__": "recipe"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, "train.py", "exec"), scope)
        return f"{scope['t'].explain()}\n"


@pytest.mark.parametrize("title", RECIPES)
def test_recipe_says_what_the_page_shows(title):
    code, said = RECIPES[title]
    explained = explain(code)
    if os.environ.get("REGEN"):
        page = PAGE.read_text()
        at = page.index("```text\n", page.index(code)) + len("```text\n")
        end = page.index("```", at)
        PAGE.write_text(page[:at] + explained + page[end:])
        return
    assert explained == said


def test_every_scenario_has_its_recipe():
    assert [title.partition(":")[0] for title in RECIPES] == [
        *("A1", "A2", "A3", "B1", "B2", "B3", "C1", "C2", "C3"),
        *("D1", "D2", "D3", "E1", "E2", "E3"),
    ]
