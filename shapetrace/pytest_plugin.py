"""The pytest plugin: explain why shapes do not fit, in the report of a failing test.

    pytest --shapetrace                 trace every test, explain those that fail
    pytest --shapetrace-csv shapes/     and write the table of each test as a file

A test that takes the `shapetrace` fixture is traced in any case, and can ask its trace.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from shapetrace.errors import ShapeTraceWarning
from shapetrace.recording import tracebacks
from shapetrace.recording.clocks import CpuClock
from shapetrace.trace import Trace

_TRACE: pytest.StashKey[TestTrace] = pytest.StashKey()
_TRACE_OF_SETUP: pytest.StashKey[TestTrace] = pytest.StashKey()


class TestTrace(Trace):
    """A trace of one test. What failed is told in the test's report, not on the
    exception; findings are warnings, as pytest shows them."""

    __test__ = False  # no class of tests
    _kept_as = "shapetrace"  # the fixture
    _ask = "pytest --shapetrace -W error::shapetrace.ShapeTraceWarning"

    def __init__(self) -> None:
        super().__init__((), CpuClock())

    def _say(self, error: BaseException | None) -> None:
        if error is None:
            try:
                super()._say(error)
            except ShapeTraceWarning as warning:  # an error, by pytest's filters
                raise pytest.fail.Exception(str(warning), pytrace=False) from None


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("shapetrace")
    group.addoption(
        "--shapetrace",
        action="store_true",
        help="trace what each test calls of torch, and explain failures of shapes",
    )
    group.addoption(
        "--shapetrace-csv",
        metavar="DIR",
        type=Path,
        help="write a table of the module calls of each test into this folder",
    )


@pytest.fixture
def shapetrace(request: pytest.FixtureRequest) -> Trace:
    """The trace of this test: every module that the test calls.

    It records while the test's own function runs, and can be asked meanwhile:
    `shapetrace.expect(logits, "batch 10")`, `shapetrace.calls`.
    """
    return _trace_of(request.node)


def _trace_of(item: pytest.Item) -> TestTrace:
    return item.stash.setdefault(_TRACE, TestTrace())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    if not item.config.option.shapetrace:
        return (yield)
    with item.stash.setdefault(_TRACE_OF_SETUP, TestTrace()):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    option = item.config.option
    wanted = option.shapetrace or option.shapetrace_csv is not None
    t = _trace_of(item) if wanted else item.stash.get(_TRACE, None)
    if t is None:
        return (yield)
    with t:
        return (yield)


@pytest.hookimpl(specname="pytest_runtest_makereport")
def pytest_clean_traceback(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Without our frames, also where `unittest` has caught the exception in the block
    and hands it over only now."""
    found = call.excinfo
    if found is not None and _TRACE in item.stash:
        tracebacks.clean(found.value)
        found.traceback = type(found.traceback)(found.value.__traceback__ or found.tb)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    key = _TRACE_OF_SETUP if call.when == "setup" else _TRACE
    t = item.stash.get(key, None)
    if call.when == "teardown" or t is None:
        return report
    if report.failed and t.calls + t.functions:
        said = [str(found) for found in t.findings if found.severity != "note"]
        if said:
            report.sections.append(("shapetrace", "\n\n".join(said)))
    folder = item.config.option.shapetrace_csv
    if folder is not None and call.when == "call" and t.calls:
        folder.mkdir(parents=True, exist_ok=True)
        t.to_csv(folder / f"{_file_name(item.nodeid)}.csv")
    return report


def _file_name(nodeid: str) -> str:
    """`tests/test_net.py::test_forward[a/b]` as a name that every system takes."""
    return re.sub(r"[^\w.\-]+", "-", nodeid.replace(".py::", "-")).strip("-")
