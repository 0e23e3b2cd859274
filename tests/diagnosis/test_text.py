"""The text of an explanation: what is in it, how long it is, how it is styled.

REGEN=1 rewrites the files in golden/, to be looked at.
"""

from __future__ import annotations

import os
import pathlib
from dataclasses import replace

import pytest
from explained import EVERY, LAYER, LOSS, SILENT, at

from shapetrace.diagnosis.words.pieces import changed_lines, leads, pieces
from shapetrace.diagnosis.words.text import render, told
from shapetrace.records import Culprit, Fix, Recording, Source, Step

GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("width", [100, 60])
def test_a_kind_reads_as_it_was_looked_at(kind, width):
    path = GOLDEN / f"{kind}-{width}.txt"
    text = render(EVERY[kind], width) + "\n"
    if os.environ.get("REGEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("width", [40, 72, 80, 100, 160])
def test_no_line_is_wider_than_the_window(kind, width):
    for line in render(EVERY[kind], width).split("\n"):
        words = line.split()
        assert len(line) <= width or max(map(len, words)) > width - 8


@pytest.mark.parametrize("kind", EVERY)
def test_the_pieces_are_the_text(kind):
    lines = ["".join(part for _, part in line) for line in pieces(EVERY[kind])]
    assert "\n".join(line.rstrip() for line in lines) == render(EVERY[kind])


def styled(diagnosis, style):
    return [part for line in pieces(diagnosis) for s, part in line if s == style]


def test_what_a_colour_is_for_has_a_style_of_its_own():
    assert styled(LAYER, "odd") == [">400<", ">256<"] + [">400<", ">5<", ">10<"]
    assert styled(LAYER, "mark") == ["^^^^^^^^^^^"]
    assert styled(LAYER, "culprit") == ["`fc2`", "the input made by rand at line 30"]
    assert styled(LAYER, "new")[0] == "  + self.fc2 = nn.Linear(400, 10)"
    assert styled(LAYER, "old")[0] == "  - self.fc2 = nn.Linear(256, 10)"
    assert "".join(styled(LAYER, "message")) == LAYER.message


def test_a_file_is_named_once():
    for kind, diagnosis in EVERY.items():
        assert render(diagnosis).count("train.py") <= 1 + (kind == "note")


def test_the_way_back_ends_where_the_users_data_begins():
    text = render(LAYER)
    assert "crop" not in text and "… 2 calls inside torchvision" in text
    within = replace(LAYER.lineage[3], module="backbone")  # a library's model is shown
    shown = render(replace(LAYER, lineage=(*LAYER.lineage[:3], within)))
    assert "inside torchvision" not in shown and "pad" in shown


def test_much_is_shortened_until_it_fits_and_what_decides_stays():
    step = LAYER.lineage[0]
    lines = [f"y{n} = f(x{n})" for n in range(12)]
    new = [line.replace("f", "g") for line in lines]
    fix = Fix(
        "\n".join(lines[:6]), "verified", "why", at(3), "much", "\n".join(new[:6])
    )
    many = replace(
        LAYER,
        lineage=tuple(replace(step, name=f"step{n}") for n in range(40)),
        culprits=(LAYER.culprits[0],) * 3,
        fixes=(fix, *LAYER.fixes),
    )
    text = render(many)
    assert len(text.split("\n")) <= 25
    assert LAYER.message in text and "has in_features=256" in text
    assert all(f"  + {line}" in text for line in lines[:6])
    assert "step0 " in text and "step39 " in text and "loses much" in text


@pytest.mark.parametrize(
    ("probabilities", "words"),
    [
        ([0.95, 0.02], ["Almost certainly (95 %):", "Or (2 %):"]),
        ([0.7, 0.2], ["Most likely (70 %):", "Or (20 %):"]),
        ([0.4, 0.2], ["Perhaps (40 %):", "Or (20 %):"]),
        ([0.45, 0.41, 0.1], ["Either:", "Or:", "Or:"]),
        ([0.998, 0.002], ["Almost certainly (99 %):", "Or (< 1 %):"]),
        ([0.0, 0.0], ["Most likely:", "Or:"]),
        ([0.0], ["Culprit:"]),
        ([], []),
    ],
)
def test_how_sure_it_is_stands_before_each(probabilities, words):
    culprits = [Culprit("module", "a", probability=p) for p in probabilities]
    assert leads(culprits) == words


def test_of_a_statement_over_several_lines_those_that_change_are_shown():
    gone, come = changed_lines(LOSS.fixes[0])
    assert (gone, come) == (["logits,"], ["logits.transpose(1, 2),"])


def test_the_mark_is_under_the_expression_though_the_line_is_long():
    long = "    return " + "f(" * 60 + "x.view(3)" + ")" * 60
    begin = long.index("x.view")
    source = at(7, "", begin, begin + len("x.view(3)"))
    lines = render(replace(SILENT, source=source, excerpt=(long,)), 80).split("\n")
    shown, mark = lines[2], lines[3]
    assert shown[mark.index("^") : mark.rindex("^") + 1] == "x.view(3)"


def test_columns_are_bytes_and_marks_are_characters():
    line = "    y = 'ü' + x.view(3)"
    begin = len(line[: line.index("x.view")].encode())
    source = at(7, "", begin, begin + len("x.view(3)"))
    shown, mark = render(replace(SILENT, source=source, excerpt=(line,))).split("\n")[
        2:4
    ]
    assert shown[mark.index("^") : mark.rindex("^") + 1] == "x.view(3)"


def test_the_code_that_is_shown_is_kept_with_the_diagnosis(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("def f(x):\n    y = g(  # why\n        x)\n    return y\n")
    source = Source(str(path), 2, "f", 3, 8, 10)
    where = Source(str(path), 2, "", 3)
    fix = Fix("y = g(\n    x[0])", where=where)
    nothing = Recording((), (), {}, {})
    found = told(nothing, replace(SILENT, source=source, excerpt=(), fixes=(fix,)))
    assert found.excerpt == ("    y = g(  # why", "        x)")
    assert found.fixes[0].old == "y = g(\n    x)"
    path.unlink()
    assert render(found) == found.text
    assert (
        "  -     x)\n  +     x[0])" in found.text or "  - x)\n  + x[0])" in found.text
    )


def test_a_step_that_was_guessed_says_so():
    step = Step("relu", "function", (2, 3), None, "", at(3), sure=False)
    assert "(a guess)" in render(replace(SILENT, lineage=(step,)))
