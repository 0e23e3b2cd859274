"""A statement rewritten: whole, the user's way, without comments, ready to paste."""

from __future__ import annotations

import ast
import textwrap

import pytest

from shapetrace.records import Source
from shapetrace.source.line import Line, find, suffixed
from shapetrace.source.rewrite import rewritten
from shapetrace.source.tree import tree


@pytest.fixture
def at(tmp_path):
    """The `Line` of an expression of a program, by its code as one line."""

    def found(program: str, code: str) -> Line:
        path = tmp_path / f"program{len(list(tmp_path.iterdir()))}.py"
        text = textwrap.dedent(program).strip("\n") + "\n"
        path.write_text(text)
        want = ast.dump(ast.parse(code, mode="eval").body)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.expr) and ast.dump(node) == want:
                place = node.end_lineno, node.col_offset, node.end_col_offset
                line = find(Source(str(path), node.lineno, "", *place))
                assert line is not None
                return line
        raise AssertionError(f"no {code}")

    return found


def test_a_part_is_replaced_and_the_comment_is_left_out(at):
    line = at("if True:\n    y = f(x, 3)  # three", "f(x, 3)")
    assert line.with_part(line.argument("args[1]"), "4") == "y = f(x, 4)"
    assert (line.source.line, line.source.end_line) == (2, 2)


MANY_LINES = """
    class A:
        def forward(self, x):
            y = torch.cat(
                [x, self.up(x)],  # both

                # the channels
                dim=2,
            )
            return y
"""


def test_a_statement_over_several_lines_stays_as_it_was_written(at):
    line = at(MANY_LINES, "torch.cat([x, self.up(x)], dim=2)")
    new = line.with_part(line.argument("kwargs['dim']"), "1")
    assert new.split("\n") == [
        "y = torch.cat(",
        "    [x, self.up(x)],",
        "",
        "    dim=1,",
        ")",
    ]
    assert (line.source.line, line.source.end_line) == (3, 8)


def test_an_expression_inside_gives_the_whole_statement(at):
    line = at(MANY_LINES, "self.up(x)")
    new = line.around(suffixed(line.code, line.tree, "{}.unsqueeze(1)"))
    assert "[x, self.up(x).unsqueeze(1)]," in new
    assert new.startswith("y = torch.cat(")
    assert (line.source.line, line.source.end_line) == (3, 8)


@pytest.mark.parametrize(
    ("program", "new", "lines"),
    [
        ("for a in f(x):\n    pass", "for a in g(x):", (1, 1)),
        ("with f(x) as a:\n    pass", "with g(x) as a:", (1, 1)),
        ("if f(x): y = 1", "if g(x): y = 1", (1, 1)),
        ("a = 1; b = f(x); c = 2", "a = 1; b = g(x); c = 2", (1, 1)),
        ("while (\n    f(x)\n):\n    pass", "while (\n    g(x)\n):", (1, 3)),
        ("y = '# no comment' + f(x)", "y = '# no comment' + g(x)", (1, 1)),
        ("y = 'é' + f(x) + 'ü'", "y = 'é' + g(x) + 'ü'", (1, 1)),
    ],
)
def test_any_kind_of_statement(at, program, new, lines):
    line = at(program, "f(x)")
    assert line.around("g(x)") == new
    assert (line.source.line, line.source.end_line) == lines


@pytest.mark.parametrize(
    ("call", "new"),
    [
        ("f()", "f(dim=1)"),
        ("f(x)", "f(x, dim=1)"),
        ("f((a + b))", "f((a + b), dim=1)"),
        ("f(x, dim=0)", "f(x, dim=1)"),
        ("f(x, )", "f(x, dim=1)"),
        ("f(\n    x,\n)", "f(\n    x,\n    dim=1,\n)"),
        ("f(\n    x\n)", "f(\n    x, dim=1\n)"),
    ],
)
def test_a_keyword_is_set_or_added(at, call, new):
    line = at(f"y = {call}", call)
    assert line.with_keyword("dim", "1") == f"y = {new}"


def test_no_keyword_is_added_where_it_may_be_given_already(at):
    assert at("y = f(x, **more)", "f(x, **more)").with_keyword("dim", "1") is None


def test_a_call_left_out_and_arguments_swapped(at):
    assert at("y = x.squeeze(1) * 2", "x.squeeze(1)").without_call() == "y = x * 2"
    assert at("y = torch.squeeze(x)", "torch.squeeze(x)").without_call() == "y = x"
    line = at("loss = f(target, self.out(x))", "f(target, self.out(x))")
    a, b = line.argument("args[0]"), line.argument("args[1]")
    assert line.swapped(a, b) == "loss = f(self.out(x), target)"


def test_a_statement_before_and_after(at):
    line = at("def f(x):\n    return g(x)  # all", "g(x)")
    assert line.inserted("x = x[0]") == "x = x[0]\nreturn g(x)"
    line = at("def f(x):\n    y = g(x)\n    return y", "g(x)")
    assert line.inserted("y = y[0]", after=True) == "y = g(x)\ny = y[0]"


def test_a_method_of_a_chain_is_found_where_python_puts_it(tmp_path):
    """Of a chain over several lines Python names the method's own line alone."""
    import torch

    import shapetrace

    path = tmp_path / "chain.py"
    code = "y = (\n    x\n    .view(2, 3)\n    .permute(1, 0)\n)\n"
    path.write_text(code)
    x = torch.ones(6)
    with shapetrace.trace() as t:
        exec(compile(code, str(path), "exec"), {"x": x})
    view, permute = t.functions
    assert find(view.source).with_part(find(view.source).tree.args[0], "3") == (
        "y = (\n    x\n    .view(3, 3)\n    .permute(1, 0)\n)"
    )
    assert find(permute.source).without_call() == "y = (\n    x\n    .view(2, 3)\n)"


@pytest.mark.parametrize(
    ("imports", "spelled"),
    [
        ("from torch import nn", "nn.Linear(2, nn.functional.x)"),
        ("import torch", "torch.nn.Linear(2, torch.nn.functional.x)"),
        ("import torch.nn", "torch.nn.Linear(2, torch.nn.functional.x)"),
        ("from torch.nn import Linear", "Linear(2, torch.nn.functional.x)"),
        ("import torch.nn as N", "N.Linear(2, N.functional.x)"),
        (
            "import torch.nn.functional as F\nimport torch.nn as nn",
            "nn.Linear(2, F.x)",
        ),
    ],
)
def test_names_are_those_that_the_file_has(at, imports, spelled):
    line = at(f"{imports}\ny = g(x)", "g(x)")
    assert line.spelled("nn.Linear(2, F.x)") == spelled


def test_several_statements_are_rewritten_as_one(tmp_path):
    path = tmp_path / "two.py"
    path.write_text("def f(x):\n    a = g(x)  # one\n    b = 1\n    c = g(a)\n")
    found = tree(str(path))
    first, second = (n for n in ast.walk(found.module) if isinstance(n, ast.Call))
    text, place = rewritten(found, [(first, "h(x)"), (second, "h(a)")])
    assert text == "a = h(x)\nb = 1\nc = h(a)"
    assert (place.line, place.end_line) == (2, 4)


@pytest.mark.parametrize("code", ["a + b", "a < b", "a[b]"])
def test_operands_have_no_names(at, code):
    line = at(f"x = {code}", code)
    assert line.argument("kwargs['input']") is None
    assert ast.unparse(line.argument("args[1]")) == "b"
