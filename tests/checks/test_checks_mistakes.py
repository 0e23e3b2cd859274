"""Programs rebuilt from public reports: each is flagged where its author was wrong, and
nothing is said of it as it was meant, with sizes apart and with sizes that coincide."""

from __future__ import annotations

import linecache
import warnings
from pathlib import Path

import pytest
import torch

import shapetrace

FOLDER = Path(__file__).with_name("mistakes")
PROGRAMS = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.py"))}
#: where the sizes are all equal, nothing in the recording tells one order from another
UNDECIDED = {
    "attention_map_reshaped_without_permute",
    "heads_merged_without_permute",
    "heads_before_the_batch",
}


def program(text, coincident):
    """A program's names, with its line of sizes exchanged or not."""
    space = {}
    exec(text, space)
    if coincident:
        sizes = space["COINCIDENT"]
        names = sizes.partition(" = ")[0]
        lines = [
            sizes if line.startswith(f"{names} = ") else line
            for line in text.splitlines()
        ]
        text = "\n".join(lines) + "\n"
    name = f"<program {len(linecache.cache)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space = {"__name__": name}
    exec(compile(text, name, "exec"), space)
    return space


def alarms(space):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = space["build"]()
        with shapetrace.trace(model) as t:
            space["step"](model)
    return [found for found in t.findings if found.severity != "note"]


def label(culprit):
    if culprit.kind == "function":
        return "function:" + culprit.name.rstrip("_")
    return culprit.name if culprit.kind == "module" else culprit.kind


def as_meant(text):
    space = {}
    exec(text, space)
    body, known, rest = text.partition("#: the same sizes")
    for old, new in space["MENDED"]:
        assert body.count(old) == 1, old
        body = body.replace(old, new)
    return body + known + rest


@pytest.mark.parametrize("coincident", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_mistake_is_flagged_with_who_made_it(name, coincident):
    if coincident and name in UNDECIDED:
        pytest.skip("nothing tells")
    space = program(PROGRAMS[name], coincident)
    found = alarms(space)
    assert found
    for one in found:
        assert label(one.culprits[0]) in space["CULPRITS"]


@pytest.mark.parametrize("coincident", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_is_said_of_what_was_meant(name, coincident):
    assert alarms(program(as_meant(PROGRAMS[name]), coincident)) == []
