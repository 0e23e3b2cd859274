"""Several ranks as text, as HTML and as a DataFrame."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator
from html import escape
from statistics import median
from typing import TYPE_CHECKING, Any

from shapetrace.comparison.rank_differences import RankDifference
from shapetrace.comparison.rank_waits import ranks_in_words
from shapetrace.comparison.ranks import Gathered, Rank
from shapetrace.records import Diagnosis, Recording
from shapetrace.records.printable import printable
from shapetrace.source.spoken import spoken_alike
from shapetrace.views import words

if TYPE_CHECKING:
    import pandas

_WIDTH = 88
_MOST_MODULES = 24
_MOST_DIFFERENCES = 6
_MOST_WAITS = 5
_TERMINATED = "Terminated"


def by_module(made: Gathered) -> pandas.DataFrame:
    """One row per module: calls, times over the ranks, the slowest, what differs."""
    import pandas

    rows = list(_modules(made))
    columns = ["module", "type", "calls", "min_ms", "median_ms", "max_ms", "slowest"]
    return pandas.DataFrame(rows, columns=[*columns, "differs"])


def _modules(made: Gathered) -> Iterator[list[Any]]:
    present = made.present()
    times: dict[str, dict[int, int]] = {}
    counts: dict[str, dict[int, int]] = {}
    types: dict[str, str] = {}
    for rank, rec in present.items():
        for call in rec.calls:
            types.setdefault(call.name, call.type)
            of = times.setdefault(call.name, dict.fromkeys(present, 0))
            of[rank] += call.duration_ns
            number = counts.setdefault(call.name, dict.fromkeys(present, 0))
            number[rank] += 1
    differs: dict[str, list[RankDifference]] = defaultdict(list)
    for difference in made.differences:
        differs[difference.module].append(difference)
    for name, of in times.items():
        spent = [of[rank] / 1e6 for rank in of if counts[name][rank]]
        called = sorted(set(counts[name].values()))
        yield [
            name,
            types[name],
            str(called[0]) if len(called) == 1 else f"{called[0]}–{called[-1]}",
            min(spent),
            median(spent),
            max(spent),
            max(of, key=lambda rank: of[rank]),
            "; ".join(map(_short, differs[name])),
        ]


def _short(difference: RankDifference) -> str:
    ranks = ", ".join(map(str, difference.ranks))
    return f"rank {ranks}: {difference.here} (else {difference.usual})"


def by_rank(made: Gathered) -> pandas.DataFrame:
    """One row per rank: how it ended, calls, time, FLOPs, memory."""
    import pandas

    columns = ["rank", "status", "calls", "functions", "total_ms", "flops"]
    rows = [_of_rank(one) for one in made.ranks]
    frame = pandas.DataFrame(rows, columns=[*columns, "peak_bytes"])
    whole = ["calls", "functions", "flops", "peak_bytes"]
    return frame.astype({name: "Int64" for name in whole})


def _of_rank(one: Rank) -> list[Any]:
    from shapetrace.costs import costs

    rec = one.recording
    if rec is None:
        return [one.rank, "missing", None, None, None, None, None]
    return [
        one.rank,
        _status(one, rec),
        len(rec.calls),
        len(rec.functions),
        rec.duration_ns / 1e6,
        costs(rec).flops,
        _peak(rec),
    ]


def _status(one: Rank, rec: Recording) -> str:
    if one.failure is not None:
        return "failed"
    if rec.error is not None:
        return "ended" if rec.error.type == _TERMINATED else "failed"
    return "waits" if one.waits else "ok"


def _peak(rec: Recording) -> int | None:
    """The most bytes that were alive beside what lasts, where memory was recorded."""
    return (
        max(
            (one.activations + one.gradients + one.optimizer + one.backward)
            for one in rec.live
        )
        if rec.live
        else None
    )


def text(made: Gathered) -> str:
    """The whole comparison in a screen."""
    from tabulate import tabulate

    lines: list[str] = []
    for line in _sentences(made):
        lines += textwrap.wrap(
            line, _WIDTH, subsequent_indent="    ", break_on_hyphens=False
        )
    ranks = [
        [rank, status, calls, f"{ms:,.2f}", *_sizes(flops, peak)]
        for rank, status, calls, _, ms, flops, peak in map(_of_rank, made.ranks)
        if status != "missing"
    ]
    heads = ["rank", "status", "calls", "total ms", "FLOPs", "memory"]
    lines += ["", tabulate(ranks, headers=heads, disable_numparse=True)]
    modules = list(_modules(made))
    shown = [
        [
            _called(made, name, kind),
            calls,
            *(f"{ms:,.2f}" for ms in times),
            slowest,
            textwrap.shorten(differs, 40, placeholder=" …"),
        ]
        for name, kind, calls, *times, slowest, differs in modules[:_MOST_MODULES]
    ]
    if shown:
        heads = ["module", "calls", "min ms", "median", "max ms", "slowest", "differs"]
        lines += ["", tabulate(shown, headers=heads, disable_numparse=True)]
    left = len(modules) - len(shown)
    if left > 0:
        lines.append(f"… and {words.plural(left, 'more module')} in .to_dataframe()")
    for rank, failure in _told(made):
        lines += ["", f"rank {rank} failed:", str(failure)]
    return printable("\n".join(line.rstrip() for line in lines))


def _called(made: Gathered, name: str, kind: str) -> str:
    """A module in words: what the script calls it, or its class."""
    return spoken_alike(made.present().values(), name) or kind


def _sizes(flops: int | None, peak: int | None) -> list[str]:
    pairs = ((flops, "FLOP"), (peak, "B"))
    return ["" if value is None else words.scaled(value, unit) for value, unit in pairs]


def _sentences(made: Gathered) -> Iterator[str]:
    yield f"shapetrace: {words.plural(len(made), 'rank')}" + (
        f", {words.plural(len(made.failures), 'failure')}" if made.failures else ""
    )
    for one in made.ranks:
        if one.lost:
            yield f"rank {one.rank}: {one.lost}"
        elif not one.waits:
            yield from _failed(one)
    yield from _waiting(made)
    yield from map(str, made.waited[:_MOST_WAITS])
    differences = made.differences
    uneven = [d for d in differences if d.what in ("calls", "order")]
    if uneven:
        yield (
            "the ranks do not make the same calls: where a collective belongs to a call"
            " that one rank does not make, the others wait for it"
        )
    for difference in differences[:_MOST_DIFFERENCES]:
        yield str(difference)
    left = len(differences) - _MOST_DIFFERENCES
    if left > 0:
        yield f"… and {words.plural(left, 'more difference')} in .differences"
    if len(made.present()) > 1 and not differences and not _in_deadlock(made):
        yield "all ranks make the same calls on the same shapes"


def _failed(one: Rank) -> Iterator[str]:
    if one.failure is not None:
        yield f"rank {one.rank} failed: {words.headline(one.failure)}"
    elif one.recording is not None and (error := one.recording.error) is not None:
        said = error.message if error.type == _TERMINATED else f"failed: {error}"
        yield textwrap.shorten(f"rank {one.rank} {said}", 3 * _WIDTH)


def _waiting(made: Gathered) -> Iterator[str]:
    """What ranks waited in for others, those in one place together."""
    places: dict[str, list[Rank]] = defaultdict(list)
    for one in made.ranks:
        if one.waits:
            places[one.waits].append(one)
    for place, ranks in places.items():
        said = f"{ranks_in_words(one.rank for one in ranks)} waited in {place}"
        rec = ranks[0].recording
        if rec is not None and rec.error is not None:
            said = textwrap.shorten(f"{said}: {rec.error}", 3 * _WIDTH)
        yield said
    if _in_deadlock(made):
        yield "none of them can go on: they wait in different places for each other"


def _in_deadlock(made: Gathered) -> bool:
    places = {one.waits for one in made.ranks}
    return len(places) > 1 and "" not in places


def _told(made: Gathered) -> Iterator[tuple[int, Diagnosis]]:
    """The explanations to show: of ranks that failed of themselves; where there is
    none, one for each place in which ranks waited for others."""
    own = {one.rank for one in made.ranks if not one.waits}
    seen: set[str] = set()
    failures = made.failures
    for rank, failure in failures.items():
        place = made[rank].waits
        if rank in own or not own & set(failures) and place not in seen:
            seen.add(place)
            yield rank, failure


def html(made: Gathered) -> str:
    """For a notebook: the sentences, and both tables."""
    said = "".join(f"<p>{escape(line)}</p>" for line in _sentences(made))
    modules = by_module(made).head(10 * _MOST_MODULES)
    modules["module"] = [
        _called(made, name, kind)
        for name, kind in zip(modules["module"], modules["type"])
    ]
    tables = "".join(
        frame.to_html(index=False, na_rep="", float_format="{:,.2f}".format)
        for frame in (by_rank(made), modules)
    )
    failures = "".join(
        f"<h4>rank {rank}</h4>{failure._repr_html_()}" for rank, failure in _told(made)
    )
    return f'<div class="shapetrace">{said}{tables}{failures}</div>'
