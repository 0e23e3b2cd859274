"""Plots give matplotlib Axes that show what was asked for."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

import shapetrace
from shapetrace.errors import UsageError

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def traced(**options):
    model = nn.Sequential(nn.Linear(32, 64), nn.Sigmoid(), nn.Linear(64, 8))
    with shapetrace.trace(model, **options) as t:
        model(torch.randn(16, 32)).sum().backward()
    return t


def test_the_slowest_module_is_the_first_bar():
    t = traced()
    ax = t.plot()
    labels = [label.get_text() for label in ax.get_yticklabels()]
    widths = [bar.get_width() for bar in ax.patches]
    own = {call.index: call.corrected_self_ns for call in t.costs.calls}
    slowest = t.calls[max(own, key=own.get)]
    assert labels[0].startswith(slowest.name or "(Sequential)")
    assert widths == sorted(widths, reverse=True)


def test_the_memory_plot_marks_the_peak():
    t = traced(memory=True)
    ax = t.plot("memory")
    peak = max(sample.activations for sample in t.recording.live)
    assert ax.lines[1].get_ydata()[0] == peak
    assert ax.texts[0].get_text().startswith("peak ")


def test_the_roofline_has_one_point_a_layer_with_flops():
    ax = traced().plot("roofline")
    points = [xy for dots in ax.collections for xy in dots.get_offsets()]
    assert len(points) == 2
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_it_draws_on_the_axes_it_is_given():
    from matplotlib import pyplot

    _, ax = pyplot.subplots()
    assert traced().plot("time", ax) is ax


@pytest.mark.parametrize(
    "kind, options, hint",
    [
        ("memory", {}, "memory=True"),
        ("time", {"timing": False}, "timing=False"),
        ("roofline", {"functions": False}, "functions=False"),
        ("pie", {}, "'roofline'"),
    ],
)
def test_what_was_not_recorded_is_asked_for(kind, options, hint):
    with pytest.raises(UsageError, match=hint):
        traced(**options).plot(kind)


def test_a_trace_without_calls_says_so():
    with shapetrace.trace(nn.Linear(2, 2)) as t:
        pass
    with pytest.raises(UsageError, match="no module was called"):
        t.plot()


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    model = nn.Linear(2, 2)
    with shapetrace.trace(model) as t:
        model(torch.ones(1, 2))
    with pytest.raises(UsageError, match=r"pip install shapetrace\[plot\]"):
        t.plot()
