"""The document: a table for each kind of record, a column for each of its fields.

A record that another one holds is named by its row. Columns, because a trace repeats
few names and shapes very often, and because a column is checked as a whole: 100,000
calls are read in a second. Which columns there are and what they may hold is not said
here: it is read off the records' own annotations.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, NoReturn

from shapetrace.errors import ReportError
from shapetrace.records import Diagnosis, Recording
from shapetrace.records.garbage import uncollected
from shapetrace.views.files import read
from shapetrace.views.json.coherence import check_coherence
from shapetrace.views.json.columns import Damage, picked
from shapetrace.views.json.tables import Reader, Writer

#: raised whenever a reader of the older kind would misread the newer
VERSION = 2

_WRITE_AGAIN = "write it again with Trace.to_json(path)"


def dumps(rec: Recording, findings: Sequence[Diagnosis] = ()) -> str:
    """The recording and what was found in it, as one line of JSON."""
    writer = Writer()
    with uncollected():
        writer.number(rec)
        document = {
            "shapetrace": VERSION,
            "findings": writer.numbers(list(findings)),
            "tables": writer.tables(),
        }
        return json.dumps(document, separators=(",", ":"), allow_nan=False)


def load_file(
    path: str | os.PathLike[str],
) -> tuple[Recording, tuple[Diagnosis, ...]]:
    """As `loads`, of a file; the error names it."""
    text = read(path, written_by="t.to_json(path)", reader="load()")
    try:
        return loads(text)
    except ReportError as error:
        raise ReportError(f"{os.fspath(path)!r}: {error}") from error


def loads(text: str) -> tuple[Recording, tuple[Diagnosis, ...]]:
    """The recording and the findings of a text that `dumps` wrote.

    Raises `ReportError` for every other text, and says what is wrong with it.
    """
    with uncollected():
        return build(parse(text))


def parse(text: str) -> Any:
    """JSON as data; a `ReportError` for what is none."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ReportError(
            f"this is no complete JSON ({error}): the file is cut off, damaged or of"
            f" another kind; {_WRITE_AGAIN}"
        ) from error


def build(document: Any) -> tuple[Recording, tuple[Diagnosis, ...]]:
    """As `loads`, of what `parse` made of the text."""
    if not isinstance(document, dict) or "shapetrace" not in document:
        raise ReportError(
            "this JSON is no trace: it has no field 'shapetrace'. shapetrace.load reads"
            " what Trace.to_json(path) wrote (to_chrome_trace writes another format; a"
            " file of several ranks is read by shapetrace.distributed.load)"
        )
    version = document["shapetrace"]
    if type(version) is not int or version != VERSION:
        raise ReportError(
            f"the trace is of format {version!r:.40} and this shapetrace reads format"
            f" {VERSION}: pip install --upgrade shapetrace, or {_WRITE_AGAIN}"
        )
    try:
        reader = Reader(document.get("tables"))
        recordings = reader.rows(Recording)
        if len(recordings) != 1:
            raise Damage(f"{len(recordings)} recordings instead of one")
        findings = picked(reader.rows(Diagnosis), document.get("findings"))
        check_coherence(recordings[0], findings)
    except Damage as damage:
        raise ReportError(f"the trace is damaged ({damage}); {_WRITE_AGAIN}") from None
    return recordings[0], tuple(findings)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
