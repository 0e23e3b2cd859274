"""What the pages of docs/ show is what their programs print.

REGEN=1 rewrites what they show.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import pathlib
import re
import warnings

import pytest

pytestmark = pytest.mark.usefixtures("undisturbed")

DOCS = pathlib.Path(__file__).parent.parent / "docs"
PAGE = DOCS / "scenarios.md"
SHOWN = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.S)
RECIPE = re.compile(r"## (.*?)\n.*?```python\n(.*?)```\n\n```text\n(.*?)```", re.S)
RECIPES = {
    title: (code, said) for title, code, said in RECIPE.findall(PAGE.read_text())
}


def run(code, scope):
    """Run a program as the file train.py."""
    linecache.cache["train.py"] = (len(code), None, code.splitlines(True), "train.py")
    exec(compile(code, "train.py", "exec"), scope)


def explain(code):
    """The explanation that a recipe ends with."""
    scope = {"__name__": "recipe"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(code, scope)
        return f"{scope['t'].explain()}\n"


def alike(text):
    """Without the name that torch 2.15 puts before the message of a product, and
    without the line breaks, which it moves."""
    return " ".join(text.replace("RuntimeError: addmm: ", "RuntimeError: ").split())


def printed(code, scope):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run(code, scope)
    return out.getvalue()


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
    assert alike(explained) == alike(said)


def test_no_recipe_is_lost():
    assert len(RECIPES) == 15


_UNCERTAIN = (
    "; that is too uncertain to go by: the table has what was measured".replace(
        " ", r"\s+"
    )
)


def scrubbed(text):
    """The lines, without times and rates, in an order that they do not decide. A rate
    is missing where a time is no longer than what the tracer itself takes; on a busy
    machine it is said that the correction is uncertain."""
    text = re.sub(_UNCERTAIN, "", text)
    text = re.sub(r"-?\d[\d,]*\.\d+( ?[kMGT]\b|%)?|\b\d+ [kMGT]\b", " ", text)
    return sorted(alike(line) for line in text.splitlines())


@pytest.mark.parametrize(("name", "count"), [("profiler.md", 8), ("explanation.md", 3)])
def test_a_page_shows_what_its_programs_print(name, count):
    page = (DOCS / name).read_text()
    programs = SHOWN.findall(page)
    assert len(programs) == count
    scope = {"__name__": "page"}
    for code, said in programs:
        out = printed(code, scope)
        if os.environ.get("REGEN"):
            page = page.replace(
                f"{code}```\n\n```text\n{said}", f"{code}```\n\n```text\n{out}"
            )
            (DOCS / name).write_text(page)
        else:
            assert scrubbed(out) == scrubbed(said)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_index_lists_every_page():
    index = (DOCS / "index.md").read_text()
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    assert [page for page in pages if page != "index.md" and page not in index] == []
