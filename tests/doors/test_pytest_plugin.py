"""The pytest plugin, in pytest runs of its own."""

from __future__ import annotations

import re
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

HEAD = """
import pytest, torch
from torch import nn
net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
"""
FAILING = HEAD + """
def test_shapes():
    net(torch.ones(2, 5))
"""
TESTS = FAILING + """
def test_another_kind():
    assert 1 == 2

def test_expected():
    with pytest.raises(RuntimeError):
        net(torch.ones(2, 5))

def test_skipped():
    net(torch.ones(2, 4))
    pytest.skip("enough")

@pytest.mark.xfail(strict=True)
def test_known():
    net(torch.ones(2, 5))

def test_names(shapetrace):
    out = net(torch.ones(2, 4))
    shapetrace.expect(out, "batch 3")
    shapetrace.expect("Sequential.0", "batch 3")
    assert [call.type for call in shapetrace.calls] == ["Sequential", "Linear", "ReLU"]

def test_width(shapetrace):
    shapetrace.expect(net(torch.ones(2, 4)), "batch 7")

@pytest.mark.parametrize("n", ["a/b"])
def test_file(n):
    net(torch.ones(2, 4))

def test_silent():
    y = nn.Linear(4, 1)(torch.randn(6, 4))
    ((y - torch.randn(6)) ** 2).mean().backward()
"""


@pytest.fixture
def run(pytester):
    """Runs a file of tests with the plugin, in this process."""

    def run(text, *options):
        pytester.makepyfile(test_it=text)
        # an installed package brings the plugin along by itself
        there = entry_points(group="pytest11", name="shapetrace")
        plugins = [] if there else ["-p", "shapetrace.pytest_plugin"]
        plugins += ["-W", "default"]
        others = ["-p", "no:hypothesispytest", "-p", "no:anyio"]
        return pytester.runpytest_inprocess(*plugins, *others, *options)

    return run


def sections(result):
    """The section of shapetrace in the report of each failed test."""
    found = {}
    for report in result.reprec.getreports("pytest_runtest_logreport"):
        if report.failed:
            said = [text for title, text in report.sections if title == "shapetrace"]
            found[report.location[2]] = "\n".join(said)
    return found


def test_failures_of_shapes_are_explained_and_all_else_stays_as_it_is(run, pytester):
    result = run(TESTS, "--shapetrace", "--shapetrace-csv", "shapes")
    result.assert_outcomes(passed=4, failed=3, skipped=1, xfailed=1)
    said = sections(result)
    assert "nn.Linear(5, 3)" in said["test_shapes"]
    assert said["test_another_kind"] == ""
    text = result.stdout.str()
    assert "- shapetrace -" in text and "3 instead of 7" in text
    warned = text.partition("warnings summary")[2]
    assert "silent-broadcast" in warned
    # who has no `t` is told what to type
    assert "pytest --shapetrace -W error::shapetrace.ShapeTraceWarning tells" in warned
    assert "t.findings" not in warned
    # it is told once, and no frame of the tracer's stands in the traceback
    assert text.count("nn.Linear(5, 3)") == said["test_shapes"].count("nn.Linear(5, 3)")
    for frame in ("pytest_plugin.py", "__torch_function__", "hooks.py"):
        assert frame not in text
    files = {path.name for path in (pytester.path / "shapes").iterdir()}
    assert {"test_it-test_file-a-b.csv", "test_it-test_names.csv"} <= files
    assert "test_it-test_another_kind.csv" not in files
    assert "2x3" in (pytester.path / "shapes" / "test_it-test_names.csv").read_text()


def test_a_fixture_that_fails_is_explained(run, pytester):
    text = HEAD + """
@pytest.fixture
def features():
    return net(torch.ones(2, 5))

def test_features(features):
    pass
"""
    result = run(text, "--shapetrace", "--shapetrace-csv", "shapes")
    result.assert_outcomes(errors=1)
    assert "nn.Linear(5, 3)" in sections(result)["test_features"]
    assert not (pytester.path / "shapes").exists()


def test_what_unittest_catches_is_explained_without_frames_of_ours(run):
    text = HEAD + """
import unittest
class Shapes(unittest.TestCase):
    def test_net(self):
        net(torch.ones(2, 5))
"""
    result = run(text, "--shapetrace")
    result.assert_outcomes(failed=1)
    assert "nn.Linear(5, 3)" in sections(result)["Shapes.test_net"]
    entries = []
    for one in (result, run(text)):
        # what follows the failure is pytest's own: warnings come where a plugin was
        # imported before pytest could rewrite it
        shown = re.split(
            "- shapetrace -|warnings summary|short test summary", str(one.stdout)
        )
        entries.append([line for line in shown[0].splitlines() if ".py:" in line])
    assert entries[0] == entries[1] != []


def test_without_the_option_nothing_is_explained_and_the_fixture_works(run):
    result = run(TESTS)
    result.assert_outcomes(passed=4, failed=3, skipped=1, xfailed=1)
    assert not any(sections(result).values())


def test_findings_are_errors_where_they_are_asked_for(run):
    strict = ["-W", "error::shapetrace.ShapeTraceWarning"]
    result = run(TESTS, "--shapetrace", "-k", "silent", *strict)
    result.assert_outcomes(failed=1, deselected=8)
    assert "silent-broadcast" in result.stdout.str()
    assert "target" in sections(result)["test_silent"]
    assert "During handling" not in result.stdout.str()


@pytest.mark.zoo
def test_the_reports_come_back_from_other_processes(run):
    pytest.importorskip("xdist")
    result = run(FAILING, "--shapetrace", "-p", "xdist", "-n", "1")
    result.assert_outcomes(failed=1)
    assert "nn.Linear(5, 3)" in result.stdout.str().partition("- shapetrace -")[2]


def test_an_expectation_fails_on_the_users_line_without_frames_of_ours(run):
    text = HEAD + """
def test_width(shapetrace):
    shapetrace.expect(net(torch.ones(2, 4)), "batch 7")

def test_unseen(shapetrace):
    shapetrace.expect(torch.ones(2, 4).numpy(), "batch 7")
"""
    said = run(text).stdout.str()
    assert "ShapeError" in said and "UsageError" in said
    assert "answers.py" not in said and "expectation.py" not in said
