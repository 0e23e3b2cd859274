"""Plots give matplotlib Axes that show what was asked for."""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from functools import partial
from itertools import combinations
from random import Random

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


def names(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def test_the_slowest_module_is_the_first_bar():
    t = traced(backward=True)
    ax = t.plot()
    forward, backward = ax.containers
    ends = [bar.get_x() + bar.get_width() for bar in backward]
    assert ends == sorted(ends, reverse=True)
    whole = sum(call.backward_ns for call in t.calls if call.parent is None)
    assert sum(bar.get_width() for bar in backward) == pytest.approx(whole / 1e6)
    own = sum(bar.get_width() for bar in forward)
    times = [
        cost.corrected_self_ns if t.costs.settled else call.self_ns
        for call, cost in zip(t.calls, t.costs.calls, strict=True)
    ]
    assert own == pytest.approx(sum(times) / 1e6)
    assert len(names(ax)) == 4


def test_the_root_is_called_what_the_script_calls_it():
    regressor = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with shapetrace.trace(regressor) as t:
        regressor(torch.randn(2, 4))
    assert "regressor Sequential" in names(t.plot())


def test_the_shortest_of_names_is_whole():
    m = nn.Sequential(nn.ReLU())
    with shapetrace.trace(m) as t:
        m(torch.randn(2, 4))
    assert "m Sequential" in names(t.plot())


def test_many_modules_are_the_slowest_twenty_and_the_rest_in_words():
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(40)))
    with shapetrace.trace(model) as t:
        model(torch.randn(2, 4))
    ax = t.plot()
    assert len(ax.containers[0]) == 20
    assert "21 more modules" in ax.get_xlabel()


def test_a_step_is_a_bar_of_its_phases():
    ax = traced().plot("steps")
    labels = [bars.get_label() for bars in ax.containers]
    assert labels == ["forward", "loss", "backward", "rest"]
    assert names(ax) == ["step 1"]


def test_the_memory_plot_stacks_kinds_and_names_the_most():
    t = traced(memory=True)
    ax = t.plot("memory")
    parameters = 4 * (32 * 64 + 64 + 64 * 8 + 8)
    most = parameters + max(sample.total for sample in t.recording.live)
    assert ax.lines[0].get_ydata()[0] == most
    drawn = [area.get_label() for area in ax.collections]
    assert drawn[0] == "parameters" and "activations" in drawn
    assert "most: " in ax.get_xlabel()


def test_the_roofline_has_a_point_for_each_layer_under_its_roof():
    ax = traced().plot("roofline")
    points = [xy for dots in ax.collections for xy in dots.get_offsets()]
    assert len(points) == 3  # the sigmoid too, with one operation an element
    assert ax.get_xscale() == ax.get_yscale() == "log"
    (left, ridge, right), (low, best, flat) = ax.lines[0].get_data()
    assert left < ridge < right and low < best == flat
    for x, y in points:
        assert y <= min(best, x * best / ridge) * 1.0001


@pytest.mark.parametrize(
    ("layer", "elements", "moved"),
    [
        # of 2 x 3 images of 8 x 8 it reads all and writes one number each
        (nn.AvgPool2d(8), 2 * 3 * 64, 2 * 3 * (64 + 1) * 4),
        # and this one reads them and writes four times as many
        (nn.ZeroPad2d(4), 2 * 3 * 256, 2 * 3 * (64 + 256) * 4),
    ],
)
def test_a_layer_without_flops_has_an_operation_for_each_element(
    layer, elements, moved
):
    with shapetrace.trace(layer) as t:
        layer(torch.randn(2, 3, 8, 8))
    ((point,),) = [dots.get_offsets() for dots in t.plot("roofline").collections]
    assert point[0] == pytest.approx(elements / moved)


def shown_ticks(axis):
    low, high = sorted(axis.get_view_interval())
    ticks = axis.get_major_ticks()
    return [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]


def twenty_modules():
    blocks = [
        nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        for _ in range(8)
    ]
    named = {"feature_extraction_backbone": nn.Sequential(*blocks)}
    named |= {"flatten": nn.Flatten(), "head": nn.Linear(8 * 36, 10)}
    return nn.Sequential(OrderedDict(named))


def legible(ax):
    """No text lies on another, nor over the edge of the picture."""
    figure = ax.get_figure()
    figure.canvas.draw()
    assert tuple(figure.get_size_inches()) == (6.0, 4.0)
    texts = [*ax.texts, *shown_ticks(ax.xaxis), *shown_ticks(ax.yaxis)]
    texts += [ax.xaxis.label, ax.yaxis.label, *ax.get_legend().get_texts()]
    texts = [text for text in texts if text.get_text().strip()]
    boxes = [text.get_window_extent() for text in texts]
    frame = figure.bbox
    for box in boxes:
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 + 1
        assert frame.y0 - 1 <= box.y0 and box.y1 <= frame.y1 + 1
    pairs = combinations(zip(texts, boxes, strict=True), 2)
    lie = [(a.get_text(), b.get_text()) for (a, x), (b, y) in pairs if x.overlaps(y)]
    assert lie == []


@pytest.mark.parametrize("kind", ["time", "steps", "memory", "roofline"])
def test_no_text_lies_on_another_at_six_by_four_inches(kind):
    model = twenty_modules()
    with shapetrace.trace(model, memory=True, backward=True, checks=False) as t:
        model(torch.randn(2, 8, 6, 6)).sum().backward()
    legible(t.plot(kind))


@pytest.mark.parametrize("seed", range(12))
def test_names_beside_points_stay_apart_wherever_the_times_put_them(seed):
    model, drawn = twenty_modules(), Random(seed)
    for module in model.modules():
        if not list(module.children()):
            wait = partial(time.sleep, 10 ** drawn.uniform(-6, -2.5))
            module.register_forward_pre_hook(lambda *_, wait=wait: wait())
    with shapetrace.trace(model, checks=False) as t:
        model(torch.randn(2, 8, 6, 6))
    ax = t.plot("roofline")
    legible(ax)
    (roof,) = ax.lines
    line = roof.get_path().transformed(ax.transData)
    boxes = [one.get_window_extent() for one in ax.texts]
    assert boxes and not any(line.intersects_bbox(b, filled=False) for b in boxes)


def test_long_names_are_told_apart_in_the_midst():
    norm = nn.utils.parametrizations.spectral_norm
    model = nn.Sequential(OrderedDict(encoder=nn.Sequential(
        *(norm(nn.Linear(4, 4)) for _ in range(2))
    )))  # fmt: skip
    with shapetrace.trace(model, checks=False) as t:
        model(torch.ones(2, 4))
    for kind in ("time", "roofline"):
        ax = t.plot(kind)
        said = [one.get_text() for one in (*ax.get_yticklabels(), *ax.texts)]
        said = [one for one in said if not one.endswith("%")]  # shares may agree
        assert len(set(said)) == len(said)


def test_names_stand_where_the_points_are_drawn_in_the_end():
    model = twenty_modules()
    with shapetrace.trace(model, checks=False) as t:
        model(torch.randn(2, 8, 6, 6))
    ax = t.plot("roofline")
    named = ax.get_window_extent().bounds
    ax.get_figure().canvas.draw()
    assert ax.get_window_extent().bounds == pytest.approx(named, abs=0.1)


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
    with pytest.raises(UsageError, match=r"pip install matplotlib .*\.\[plot\]"):
        t.plot()
