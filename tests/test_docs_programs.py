"""The programs of errors.md, howto.md, tutorial.md and comparison.md run as they say.

REGEN=1 rewrites the explanations of docs/errors.md.
"""

from __future__ import annotations

import os
import pathlib
import re
import warnings
from importlib.metadata import entry_points

import pytest
import torch
from test_docs import run

pytestmark = pytest.mark.usefixtures("undisturbed")

DOCS = pathlib.Path(__file__).parent.parent / "docs"
ERRORS = DOCS / "errors.md"
ENTRY = re.compile(
    r"^## (.*?)\n\n.*?```python\n(.*?)```\n\n```text\n(.*?)```\n\n```diff\n(.*?)```",
    re.S | re.M,
)
ENTRIES = {title: rest for title, *rest in ENTRY.findall(ERRORS.read_text())}
PROGRAM = re.compile(r"```python\n(.*?)```", re.S)
pytest_plugins = ["pytester"]


def lines(diff, sign):
    return "".join(f"{x[1:]}\n" for x in diff.splitlines() if x.startswith(sign))


def scope_of(code):
    """What a program has defined when it ends, and what it ended with."""
    torch.manual_seed(0)
    scope = {"__name__": "program"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(code, scope)
    except Exception as error:
        return scope, error
    return scope, None


@pytest.mark.parametrize("title", ENTRIES)
def test_the_program_of_a_message_raises_it_and_is_mended_by_the_change(title):
    code, said, diff = ENTRIES[title]
    scope, error = scope_of(code)
    # torch 2.15 puts a function's name before the message of a product
    assert str(error).splitlines()[0].removeprefix("addmm: ") == title
    explained = f"{scope['t'].failure}\n"
    if os.environ.get("REGEN"):
        page = ERRORS.read_text()
        at = page.index("```text\n", page.index(code)) + len("```text\n")
        ERRORS.write_text(page[:at] + explained + page[page.index("```", at) :])
    else:
        sizes = re.compile(r"\d+").findall
        assert sizes(scope["t"].failure.message) and not (
            set(sizes(scope["t"].failure.message)) - set(sizes(said))
        )
    old, new = lines(diff, "-"), lines(diff, "+")
    assert code.count(old) == 1
    scope, error = scope_of(code.replace(old, new))
    assert error is None and scope["t"].findings == ()


def test_the_commonest_messages_are_there():
    assert len(ENTRIES) >= 25
    assert len(ENTRIES) == ERRORS.read_text().count("\n## ")


HOWTO = PROGRAM.findall((DOCS / "howto.md").read_text())
LIGHT = [code for code in HOWTO if "lightning" not in code and "def test_" not in code]


@pytest.mark.parametrize("code", LIGHT, ids=lambda code: code.splitlines()[-1])
def test_a_program_of_the_howto_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, error = scope_of(code)
    assert error is None


def test_the_test_of_the_howto_passes_with_the_plugin(pytester):
    (code,) = [code for code in HOWTO if "def test_" in code]
    pytester.makepyfile(code)
    there = entry_points(group="pytest11", name="shapetrace")
    options = [] if there else ["-p", "shapetrace.pytest_plugin"]
    result = pytester.runpytest_inprocess(*options, "-W", "default")
    result.assert_outcomes(passed=1)


@pytest.mark.zoo
def test_the_trainer_of_the_howto_runs(tmp_path, monkeypatch):
    pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    (code,) = [code for code in HOWTO if "import lightning" in code]
    _, error = scope_of(code)
    assert error is None and (tmp_path / "step2.html").exists()


@pytest.mark.zoo
def test_the_tutorial_goes_from_its_beginning_to_its_end(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torchvision")
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    code = "\n".join(PROGRAM.findall((DOCS / "tutorial.md").read_text()))
    scope, error = scope_of(code)
    assert error is None
    out = capsys.readouterr().out
    assert "to have 3 channels, but got 1 channels" in out
    assert "1000" in out and "nn.Linear(512, 10)" in out


@pytest.mark.zoo
def test_the_comparison_shows_what_a_summary_prints(capsys, monkeypatch):
    pytest.importorskip("torchvision")
    monkeypatch.setenv("COLUMNS", "100")
    page = (DOCS / "comparison.md").read_text()
    first, step = PROGRAM.findall(page)
    scope, error = scope_of(first + step)
    assert error is None
    out = re.sub(r"[\d,.]+ ms", "ms", capsys.readouterr().out)
    shown = page[page.index("```text\n") + len("```text\n") :]
    shown = re.sub(r"[\d,.]+ ms", "ms", shown[: shown.index("```")])
    version = re.compile(r"torch \S+")
    assert version.sub("", out).startswith(version.sub("", shown))
    assert {call.name for call in scope["t"].calls} > {"", "conv1", "fc"}
    for column in ("self ms", "bwd ms", "saved", "FLOPs"):
        assert column in out.partition("59 calls deeper")[2]
