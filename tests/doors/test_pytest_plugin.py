"""The pytest plugin, in pytest runs of its own."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

NET = """
import pytest, torch
from torch import nn
net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
"""
FAILING = NET + """
def test_net():
    net(torch.ones(2, 5))
"""


@pytest.fixture
def run(pytester):
    """Runs a file of tests with the plugin, in this process."""

    def run(text, *options):
        pytester.makepyfile(test_it=text)
        plugins = ["-p", "shapetrace.pytest_plugin", "-W", "default"]
        return pytester.runpytest_inprocess(*plugins, *options)

    return run


def test_a_failure_of_shapes_is_explained_in_a_section_of_its_own(run):
    result = run(FAILING, "--shapetrace")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    section = text.partition("- shapetrace -")[2]
    assert "0" in section and "nn.Linear(5, 3)" in section
    # it is told once, and no frame of the tracer's stands in the traceback
    assert "nn.Linear(5, 3)" not in text.partition("- shapetrace -")[0]
    for frame in ("pytest_plugin.py", "__torch_function__", "hooks.py"):
        assert frame not in text


def test_without_the_option_nothing_is_traced(run):
    result = run(FAILING)
    result.assert_outcomes(failed=1)
    assert "- shapetrace -" not in result.stdout.str()


def test_a_failure_of_another_kind_gets_no_section(run):
    result = run("def test_it():\n    assert 1 == 2", "--shapetrace")
    result.assert_outcomes(failed=1)
    assert "- shapetrace -" not in result.stdout.str()


def test_an_expected_failure_and_a_skip_stay_what_they_are(run):
    text = NET + """
def test_expected():
    with pytest.raises(RuntimeError):
        net(torch.ones(2, 5))

def test_skipped():
    net(torch.ones(2, 4))
    pytest.skip("enough")

@pytest.mark.xfail(strict=True)
def test_known():
    net(torch.ones(2, 5))
"""
    run(text, "--shapetrace").assert_outcomes(passed=1, skipped=1, xfailed=1)


def test_the_fixture_is_the_trace_of_the_test(run):
    text = NET + """
def test_names(shapetrace):
    out = net(torch.ones(2, 4))
    shapetrace.expect(out, "batch 3")
    shapetrace.expect("Sequential.0", "batch 3")
    assert [call.type for call in shapetrace.calls] == ["Sequential", "Linear", "ReLU"]

def test_width(shapetrace):
    shapetrace.expect(net(torch.ones(2, 4)), "batch 7")
"""
    for options in ([], ["--shapetrace"]):
        result = run(text, *options)
        result.assert_outcomes(passed=1, failed=1)
        assert "3 instead of 7" in result.stdout.str()


def test_each_test_has_its_table_as_a_file(run, pytester):
    text = NET + """
@pytest.mark.parametrize("n", [1, "a/b"])
def test_net(n):
    net(torch.ones(2, 4))

def test_none():
    pass
"""
    run(text, "--shapetrace-csv", "shapes").assert_outcomes(passed=3)
    files = sorted(path.name for path in (pytester.path / "shapes").iterdir())
    assert files == ["test_it-test_net-1.csv", "test_it-test_net-a-b.csv"]
    assert "2x3" in (pytester.path / "shapes" / files[0]).read_text()


SILENT = NET + """
def test_loss():
    loss = ((net(torch.randn(6, 4))[:, :1] * 1 - torch.randn(6)) ** 2).mean()
    loss.backward()
"""


def test_findings_are_warnings_and_errors_where_they_are_asked_for(run):
    text = SILENT.replace(
        "nn.Sequential(nn.Linear(4, 3), nn.ReLU())", "nn.Linear(4, 1)"
    )
    text = text.replace("[:, :1] * 1", "")
    result = run(text, "--shapetrace")
    result.assert_outcomes(passed=1, warnings=1)
    assert "silent-broadcast" in result.stdout.str()
    strict = ["-W", "error::shapetrace.ShapeTraceWarning"]
    result = run(text, "--shapetrace", *strict)
    result.assert_outcomes(failed=1)
    assert "- shapetrace -" in result.stdout.str()
    assert "During handling" not in result.stdout.str()


def test_the_reports_come_back_from_other_processes(run):
    pytest.importorskip("xdist")
    result = run(FAILING, "--shapetrace", "-p", "xdist", "-n", "1")
    result.assert_outcomes(failed=1)
    assert "nn.Linear(5, 3)" in result.stdout.str().partition("- shapetrace -")[2]
