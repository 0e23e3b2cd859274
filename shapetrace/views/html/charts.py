"""Time by module, and bytes over time, as inline SVG."""

from __future__ import annotations

from shapetrace.records import Recording
from shapetrace.source.spoken import spoken
from shapetrace.views import words
from shapetrace.views.html.markup import safe

_BARS = 10
_WIDTH, _ROW = 460, 20
_NAME = 190
#: room for "100,000.00 ms, 100.0%" behind the longest bar
_SAID = 150
#: characters for which that is room
_LONGEST = 28
_HIGH = 160
#: a line of more corners is not finer on a screen
_CORNERS = 600


def charts(rec: Recording) -> str:
    drawn = [chart for chart in (_time(rec), _memory(rec)) if chart]
    return f'<div class="st-charts">{"".join(drawn)}</div>' if drawn else ""


def _time(rec: Recording) -> str:
    """The modules with the most time of their own."""
    own: dict[str, int] = {}
    for call in rec.calls:
        name = spoken(rec.called, call.name) or f"({call.type})"
        own[name] = own.get(name, 0) + call.self_ns
    whole = sum(own.values())
    slowest = sorted(own.items(), key=lambda item: -item[1])[:_BARS]
    if not whole or len(slowest) < 2:
        return ""
    most = slowest[0][1]
    bars = []
    for at, (name, ns) in enumerate(slowest):
        y = at * _ROW
        wide = max(1, (_WIDTH - _NAME - _SAID) * ns // most)
        said = f"{words.milliseconds(ns)} ms, {words.percent(ns, whole)}"
        short = _end(name)
        bars.append(
            f'<text class="st-right" x="{_NAME - 8}" y="{y + 14}">{safe(short)}</text>'
            f'<rect class="st-own" x="{_NAME}" y="{y + 3}" width="{wide}" height="14"/>'
            f'<text x="{_NAME + wide + 6}" y="{y + 14}">{said}</text>'
        )
    return _figure("Own time by module", len(slowest) * _ROW, "".join(bars))


def _end(name: str) -> str:
    """The end of a name tells modules apart: as many of its parts as there is room."""
    if len(name) <= _LONGEST:
        return name
    end = name[1 - _LONGEST :]
    return f"…{end.partition('.')[2] or end}"


def _memory(rec: Recording) -> str:
    """What is alive beside parameters and data, over time."""
    if len(rec.live) < 2:
        return ""
    begin, end = rec.live[0].time_ns, rec.live[-1].time_ns
    peak = max(rec.live, key=lambda sample: sample.total)
    if not peak.total or end <= begin:
        return ""
    step = max(1, len(rec.live) // _CORNERS)
    samples = [*rec.live[::step], rec.live[-1]]
    if peak not in samples:
        samples = sorted([*samples, peak], key=lambda sample: sample.time_ns)
    points, high = [f"0,{_HIGH}"], float(_HIGH)
    for sample in samples:
        x = _WIDTH * (sample.time_ns - begin) / (end - begin)
        points.append(f"{x:.1f},{high:.1f}")
        high = _HIGH - (_HIGH - 20) * sample.total / peak.total
        points.append(f"{x:.1f},{high:.1f}")
    points.append(f"{_WIDTH},{_HIGH}")
    where = "between modules"
    if peak.call is not None:
        call = rec.calls[peak.call]
        where = f"in {spoken(rec.called, call.name) or call.type}"
    said = f"at most {words.scaled(peak.total, 'B')}, {where}"
    drawn = (
        f'<polygon class="st-fill" points="{" ".join(points)}"/>'
        f'<text x="2" y="13">{safe(said)}</text>'
    )
    return _figure("Memory over time", _HIGH, drawn)


def _figure(title: str, high: int, drawn: str) -> str:
    return (
        f"<figure><figcaption>{title}</figcaption>"
        f'<svg role="img" aria-label="{title}" width="{_WIDTH}" height="{high}"'
        f' viewBox="0 0 {_WIDTH} {high}">{drawn}</svg></figure>'
    )
