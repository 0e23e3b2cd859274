"""Several ranks in one JSON file: each rank's own report, and why one is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from shapetrace.comparison.ranks import Rank
from shapetrace.errors import ReportError
from shapetrace.views import files
from shapetrace.views import json as reports

_BEGINS = '{"shapetrace_ranks"'


def dumps(ranks: Iterable[Rank]) -> str:
    """One line of JSON."""
    return merged({one.rank: written(one) for one in ranks})


def written(one: Rank) -> str:
    """One rank as JSON: what it sends, and what stands in the file."""
    rec = one.recording
    report = "null" if rec is None else reports.dumps(rec, one.findings)
    return _joined(one, report)


def _joined(one: Rank, report: str) -> str:
    about = json.dumps({"rank": one.rank, "lost": one.lost})
    return f'{about[:-1]}, "report": {report}}}'


def merged(ranks: dict[int, str]) -> str:
    """The document of what `written` made of each rank."""
    parts = ",".join(ranks[rank] for rank in sorted(ranks))
    return f'{_BEGINS}: {reports.VERSION}, "ranks": [{parts}]}}'


def path_of(path: str, rank: int) -> str:
    """`report.rank1.json` for `report.json`."""
    stem, extension = os.path.splitext(path)
    return f"{stem}.rank{rank}{extension}"


def merge_files(path: str, size: int, since: float) -> None:
    """Write one file of the reports that the ranks have written since then.

    Each rank does so once its own is there. Whoever comes last finds all; and whoever
    has written the whole looks again whether another has come meanwhile, so that two
    at once do not leave the lesser.

    Raises:
        ReportError: if a file cannot be read or written.
    """
    done: set[int] | None = None
    while done != (found := _written_since(path, size, since)):
        done = found
        files.write(
            path, merged({rank: _part(path, rank, found) for rank in range(size)})
        )


def _written_since(path: str, size: int, since: float) -> set[int]:
    found = set()
    for rank in range(size):
        with suppress(FileNotFoundError):
            if os.stat(path_of(path, rank)).st_mtime >= since:
                found.add(rank)
    return found


def _part(path: str, rank: int, found: set[int]) -> str:
    if rank not in found:
        lost = "left no report: it was killed before its end, or still runs"
        return written(Rank(rank, lost=lost))
    report = files.read(
        path_of(path, rank), written_by="`shapetrace run`", reader="the whole report"
    )
    return _joined(Rank(rank), report)


def holds_ranks(path: str | os.PathLike[str]) -> bool:
    """Whether it is such a file, and not the report of one rank."""
    with suppress(OSError), open(path, "rb") as file:
        return file.read(len(_BEGINS)) == _BEGINS.encode()
    return False


def load(path: str | os.PathLike[str]) -> tuple[Rank, ...]:
    """The ranks of a file that `Ranks.to_json` or `shapetrace run` wrote.

    Raises:
        ReportError: if the file is missing, damaged or something else.
    """
    text = files.read(path, written_by="Ranks.to_json(path)", reader="load()")
    try:
        document = reports.parse(text)
        parts = document["ranks"]
        if document["shapetrace_ranks"] != reports.VERSION or type(parts) is not list:
            raise ValueError("another format")
        return tuple(read(part) for part in parts)
    except ReportError as error:
        raise ReportError(f"{os.fspath(path)!r}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ReportError(
            f"{os.fspath(path)!r} holds no ranks ({type(error).__name__}: {error}): "
            "load() takes what Ranks.to_json(path) or `shapetrace run` under torchrun "
            "wrote; the report of one rank is read by shapetrace.load."
        ) from error


def read(part: Any) -> Rank:
    """What `written` made of a rank; errors as they come."""
    rank, lost = part["rank"], part["lost"]
    if type(rank) is not int or type(lost) is not str:
        raise ValueError("no rank")
    if part["report"] is None:
        return Rank(rank, lost=lost)
    recording, findings = reports.build(part["report"])
    return Rank(rank, recording, findings, lost)
