"""Recordings as JSON, and back to equal recordings.

Every value that JSON has no word for is an array that begins with its tag:
`["tuple", 2, 73]`, `["slice", null, 3, null]`. Records are arrays too, their fields in
the order that the document's `records` gives. What repeats a thousand times, the places
in the code and the kinds of tensors, stands once in a list and is then named by number.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch

from shapetrace import records
from shapetrace.errors import ReportError
from shapetrace.records import Diagnosis, Recording, Source, TensorRef
from shapetrace.views.files import read

#: raised whenever a reader of the older kind would misread the newer
VERSION = 1

_WRITE_AGAIN = "write it again with Trace.to_json(path)"
_PLAIN = frozenset({type(None), bool, int, str})
_RECORDS: dict[str, type] = {
    made.__name__: made
    for made in (
        records.Opaque,
        records.CallError,
        records.ModuleCall,
        records.FunctionCall,
        records.ModuleInfo,
        records.Origin,
        records.Overhead,
        records.LiveBytes,
        records.Step,
        records.Culprit,
        records.Fix,
        records.Diagnosis,
        records.Recording,
    )
}
_FIELDS = {
    name: tuple(field.name for field in dataclasses.fields(made))
    for name, made in _RECORDS.items()
}
#: torch's named constants, written by name
_CONSTANTS: dict[str, type] = {
    "dtype": torch.dtype,
    "layout": torch.layout,
    "memory_format": torch.memory_format,
}


def dumps(rec: Recording, findings: Sequence[Diagnosis] = ()) -> str:
    """The recording and what was found in it, as one line of JSON."""
    writer = _Writer()
    body = {"recording": writer.write(rec), "findings": writer.write(tuple(findings))}
    document = {
        "shapetrace": VERSION,
        "records": _FIELDS,
        **body,
        "sources": [list(key) for key in writer.sources],
        "tensors": writer.kinds_written(),
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
        raise ReportError(f"{os.fspath(path)}: {error}") from error


def loads(text: str) -> tuple[Recording, tuple[Diagnosis, ...]]:
    """The recording and the findings of a text that `dumps` wrote.

    Raises `ReportError` for every other text, and says what is wrong with it.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReportError(
            f"this is no complete JSON ({error}): the file is cut off, damaged or of"
            f" another kind; {_WRITE_AGAIN}"
        ) from error
    if not isinstance(document, dict) or "shapetrace" not in document:
        raise ReportError(
            "this JSON is no trace: it has no field 'shapetrace'. shapetrace.load reads"
            " what Trace.to_json(path) wrote (to_chrome_trace writes another format)"
        )
    version = document["shapetrace"]
    if version != VERSION:
        raise ReportError(
            f"the trace is of format {version!r} and this shapetrace reads format"
            f" {VERSION}: pip install --upgrade shapetrace, or {_WRITE_AGAIN}"
        )
    try:
        reader = _Reader(document)
        rec, findings = reader.read(document["recording"]), document["findings"]
        found = reader.read(findings)
    # A damaged document can be wrong in any way, and each raises its own error.
    except Exception as error:
        raise ReportError(
            f"the trace is damaged ({type(error).__name__}: {error}); {_WRITE_AGAIN}"
        ) from error
    if not isinstance(rec, Recording) or not isinstance(found, tuple):
        raise ReportError(f"the trace is damaged (no recording); {_WRITE_AGAIN}")
    return rec, found


class _Writer:
    """Values to JSON; the tables of what repeats fill up meanwhile."""

    def __init__(self) -> None:
        self.sources: dict[tuple[Any, ...], int] = {}
        self._kinds: dict[tuple[Any, ...], int] = {}

    def kinds_written(self) -> list[Any]:
        return [
            [list(shape), str(dtype).removeprefix("torch."), str(device)]
            for shape, dtype, device in self._kinds
        ]

    def write(self, value: Any) -> Any:
        made = type(value)
        if made in _PLAIN:
            return value
        if made is TensorRef:
            kind = (value.shape, value.dtype, value.device)
            number = self._kinds.setdefault(kind, len(self._kinds))
            return ["TensorRef", value.path, value.id, number]
        if made is Source:
            key = tuple([getattr(value, name) for name in Source.__slots__])
            return ["Source", self.sources.setdefault(key, len(self.sources))]
        fields = _FIELDS.get(made.__name__)
        if fields is not None and made is _RECORDS[made.__name__]:
            return [made.__name__, *self._all([getattr(value, f) for f in fields])]
        return self._other(value)

    def _all(self, values: Sequence[Any]) -> list[Any]:
        return [v if type(v) in _PLAIN else self.write(v) for v in values]

    def _other(self, value: Any) -> Any:
        if isinstance(value, float):
            plain = float(value)
            return plain if math.isfinite(plain) else ["float", str(plain)]
        if isinstance(value, torch.Size):
            return ["Size", *value]
        for tag, kind in (
            ("tuple", tuple),
            ("list", list),
            ("set", set),
            ("frozenset", frozenset),
        ):
            if isinstance(value, kind):
                return [tag, *self._all(list(value))]
        if isinstance(value, dict):
            flat = [part for item in value.items() for part in item]
            return ["dict", *self._all(flat)]
        for tag, constant in _CONSTANTS.items():
            if isinstance(value, constant):
                return [tag, str(value).removeprefix("torch.")]
        if isinstance(value, torch.device):
            return ["device", str(value)]
        if isinstance(value, slice | range):
            tag = type(value).__name__
            return [tag, *self._all([value.start, value.stop, value.step])]
        if isinstance(value, complex):
            return ["complex", self.write(value.real), self.write(value.imag)]
        if isinstance(value, bytes):
            return ["bytes", value.hex()]
        if value is Ellipsis:
            return ["Ellipsis"]
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return int(value)
        return ["Opaque", type(value).__name__]


class _Reader:
    """JSON to values."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._fields: dict[str, list[str]] = document["records"]
        self._sources = [Source(*values) for values in document["sources"]]
        self._kinds = [
            (tuple(shape), _constant("dtype", dtype), torch.device(device))
            for shape, dtype, device in document["tensors"]
        ]
        self._makers: dict[str, Callable[..., Any]] = {
            "TensorRef": lambda path, id, kind: TensorRef(path, id, *self._kinds[kind]),
            "Source": self._sources.__getitem__,
            "tuple": lambda *values: values,
            "list": lambda *values: list(values),
            "set": lambda *values: set(values),
            "frozenset": lambda *values: frozenset(values),
            "dict": lambda *values: dict(zip(values[::2], values[1::2], strict=True)),
            "Size": lambda *values: torch.Size(values),
            "float": _float,
            "complex": complex,
            "device": torch.device,
            "slice": slice,
            "range": range,
            "bytes": bytes.fromhex,
            "Ellipsis": lambda: Ellipsis,
            **{tag: _constant_reader(tag) for tag in _CONSTANTS},
            **{name: self._record(name) for name in self._fields},
        }

    def read(self, value: Any) -> Any:
        if type(value) is not list:
            return value
        tag, *parts = value
        return self._makers[tag](
            *[self.read(part) if type(part) is list else part for part in parts]
        )

    def _record(self, name: str) -> Callable[..., Any]:
        made, fields = _RECORDS[name], self._fields[name]

        def make(*values: Any) -> Any:
            return made(**dict(zip(fields, values, strict=True)))

        return make


def _float(name: str) -> float:
    # One NaN for all: containers then compare equal, as they ask for identity first.
    return math.nan if name == "nan" else float(name)


def _constant_reader(tag: str) -> Callable[[str], Any]:
    return lambda name: _constant(tag, name)


def _constant(tag: str, name: str) -> Any:
    value = getattr(torch, name, None)
    if not isinstance(value, _CONSTANTS[tag]):
        raise ValueError(f"this torch has no {tag} {name!r}")
    return value
