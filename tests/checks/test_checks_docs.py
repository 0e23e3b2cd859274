"""Every check has a page, and its two examples do what the page says."""

from __future__ import annotations

import linecache
import pathlib
import re
from html import unescape

import pytest
import torch

from shapetrace.checks import CHECKS
from shapetrace.diagnosis.words.text import render
from shapetrace.records import Diagnosis
from shapetrace.views.html.about import about

FOLDER = pathlib.Path(__file__).parents[2] / "docs" / "checks"
#: what a machine without an accelerator does not show
ON_DEVICES = ("device-transfer", "target-out-of-range")


def run(code, which):
    """The findings of the first (broken) or second (mended) example of a page."""
    page = (FOLDER / f"{code}.md").read_text()
    block = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[which]
    return executed(f"{code}.md", block)


def executed(name, block, **names):
    """The findings of a program whose lines are known as a notebook's cell's are."""
    torch.manual_seed(0)
    lines = block.splitlines(keepends=True)
    linecache.cache[name] = (len(block), None, lines, name)
    space = {"__name__": "example", **names}
    exec(compile(block, name, "exec"), space)
    return [found.code for found in space["t"].findings]


def test_every_check_has_a_page_and_every_page_a_check():
    assert {page.stem for page in FOLDER.glob("*.md")} == set(CHECKS)


@pytest.mark.parametrize("code", CHECKS)
def test_a_finding_names_its_page_and_a_report_shows_it(code):
    found = Diagnosis(code, "warning", "It is so.", where="")
    told = f"See docs/checks/{code}.md, or: shapetrace explain {code}"
    assert told in " ".join(render(found).split())
    assert (FOLDER.parents[1] / found.page).is_file()
    page = " ".join((FOLDER / f"{code}.md").read_text().split())
    shown = about(found)
    assert f"docs/checks/{code}.md" in shown and shown.startswith("<details")
    first = re.search(r"Severity: [\w ,;]+\. (.{12})", page)[1]
    assert first in unescape(re.sub("<.*?>", "", shown))
    assert shown.count("<pre>") == page.count("```") // 2 >= 2
    assert "```" not in shown and "](" not in shown


@pytest.mark.parametrize("code", ["failure", "explanation", "expectation"])
def test_what_no_check_found_has_no_page(code):
    found = Diagnosis(code, "note", "It is so.", where="")
    assert found.page == "" and about(found) == "" and "docs/" not in render(found)


@pytest.mark.parametrize("code", ["../index", "../../README", "no-such", "a/b", ""])
def test_a_report_from_elsewhere_shows_no_other_file(code):
    assert about(Diagnosis(code, "note", "It is so.", where="")) == ""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("code", [c for c in CHECKS if c not in ON_DEVICES])
def test_the_broken_example_gives_the_finding(code):
    assert run(code, 0) == [code]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("code", CHECKS)
def test_the_mended_example_gives_none(code):
    assert run(code, 1) == []


def test_a_class_index_out_of_range_is_explained(capsys):
    run("target-out-of-range", 0)
    assert "4" in capsys.readouterr().out


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.filterwarnings("ignore")
def test_a_tensor_that_leaves_the_device_and_comes_back_is_found():
    assert run("device-transfer", 0) == ["device-transfer"]
