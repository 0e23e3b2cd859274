"""JSON: what is written reads back equal, what is damaged is refused."""

from __future__ import annotations

import dataclasses
import json as stdlib
import math
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import samples
import torch

from shapetrace import Trace, compare, records
from shapetrace.errors import ReportError
from shapetrace.records import Diagnosis, Overhead, Recording, Step
from shapetrace.views.json import dumps, loads
from shapetrace.views.json.tables import COLUMNS, TYPES


@pytest.mark.parametrize(
    "make",
    [
        samples.empty,
        samples.small_cnn,
        samples.blocks,
        samples.nested_outputs,
        samples.plain_data,
        samples.deep,
    ],
)
def test_recordings_round_trip(make: Callable[[], Recording]) -> None:
    rec = make()
    assert loads(dumps(rec)) == (rec, ())


@pytest.mark.parametrize(
    "make", [samples.failed_loss, samples.failed_layer, samples.warned]
)
def test_findings_round_trip(make: Callable[[], tuple[Recording, object]]) -> None:
    rec, finding = make()
    assert loads(dumps(rec, [finding])) == (rec, (finding,))  # type: ignore[list-item]


def test_types_survive_and_not_only_equality() -> None:
    back, _ = loads(dumps(samples.plain_data()))
    kinds = [type(value) for value in back.functions[0].args]
    assert kinds == [type(v) for v in samples.plain_data().functions[0].args]
    assert torch.Size in kinds


def test_nan_round_trips() -> None:
    rec = samples.plain_data()
    rec = replace(rec, functions=(replace(rec.functions[0], args=(math.nan,)),))
    assert loads(dumps(rec))[0] == rec


def test_a_place_in_the_code_is_written_once() -> None:
    assert dumps(samples.blocks()).count("model.py") == 1


def test_fields_that_an_older_file_lacks_get_their_defaults() -> None:
    document = stdlib.loads(dumps(samples.small_cnn()))
    columns = document["tables"]["Recording"]["columns"]
    assert columns.pop("dropped_calls") == {"all": 0}
    assert loads(stdlib.dumps(document))[0] == samples.small_cnn()


def test_every_kind_of_record_and_field_has_a_column() -> None:
    stored = {made.__name__ for made in TYPES}
    made = {
        name
        for name, value in vars(records).items()
        if isinstance(value, type) and dataclasses.is_dataclass(value)
    }
    assert stored == made - {"Broadcast"}  # worked out anew from the calls
    for kind, columns in COLUMNS.items():
        assert list(columns) == [field.name for field in dataclasses.fields(kind)]


def test_findings_and_steps_that_are_alike_are_all_kept() -> None:
    rec, finding = samples.failed_loss()
    step = replace(finding.lineage[0]) if finding.lineage else Step("a", "b", (1,))
    alike = replace(finding, lineage=(step, replace(step)))
    again = replace(alike, lineage=(replace(step), replace(step)))
    assert loads(dumps(rec, [alike, again])) == (rec, (alike, again))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cut off, damaged or of another kind"),
        (dumps(samples.small_cnn())[:-50], "cut off, damaged or of another kind"),
        ("[" * 100_000, "cut off, damaged or of another kind"),
        ("9" * 5_000, "cut off, damaged or of another kind"),
        ('{"shapetrace": NaN}', "cut off, damaged or of another kind"),
        ("[1, 2]", "this JSON is no trace"),
        ('{"traceEvents": []}', "this JSON is no trace"),
        ('{"shapetrace": 99}', "pip install --upgrade shapetrace"),
        ('{"shapetrace": true}', "pip install --upgrade shapetrace"),
        ('{"shapetrace": 2}', "damaged"),
        ('{"shapetrace": 2, "tables": {}}', "damaged"),
        (dumps(samples.small_cnn()).replace("float32", "float31"), "'float31'"),
    ],
)
def test_foreign_and_damaged_files_are_refused(text: str, says: str) -> None:
    with pytest.raises(ReportError, match=says):
        loads(text)


def changed(table: str, column: str, value: Any) -> str:
    """The report of a good batch, one column of it with another value everywhere."""
    document = stdlib.loads(dumps(*samples_with_findings()))
    rows = document["tables"][table]["columns"]
    assert column in rows
    rows[column] = {"all": value}
    # which every reader of JSON takes for infinity, and no word of its own
    return stdlib.dumps(document).replace("Infinity", "1e999")


def samples_with_findings() -> tuple[Recording, list[Diagnosis]]:
    rec, finding = samples.failed_loss()
    return replace(rec, overhead=Overhead(1.0, 1.0, 1.0, 1.0)), [finding]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("TensorRef", "shape", ["<img src=x onerror=alert(1)>"]),
        ("TensorRef", "shape", [2.5]),
        ("TensorRef", "shape", [True]),
        ("TensorRef", "shape", [-1]),
        ("TensorRef", "shape", [2**64]),
        ("TensorRef", "shape", [2**62, 4]),
        ("TensorRef", "shape", "3"),
        ("TensorRef", "id", None),
        ("TensorRef", "path", 3),
        ("TensorRef", "device", "<script>"),
        ("TensorRef", "dtype", "nn"),
        ("ModuleCall", "index", 0),
        ("ModuleCall", "parent", 2),
        ("ModuleCall", "parent", -1),
        ("ModuleCall", "parent", 10**6),
        ("ModuleCall", "depth", 10**9),
        ("ModuleCall", "name", "not a module"),
        ("ModuleCall", "name", None),
        ("ModuleCall", "duration_ns", -5),
        ("ModuleCall", "duration_ns", "1"),
        ("ModuleCall", "duration_ns", 10**30),
        ("ModuleCall", "inputs", [10**6]),
        ("ModuleCall", "inputs", [-1]),
        ("ModuleCall", "inputs", [True]),
        ("ModuleCall", "inputs", None),
        ("ModuleCall", "source", 10**6),
        ("ModuleCall", "unheard_of", 1),
        ("FunctionCall", "parent", 10**6),
        ("FunctionCall", "outputs", [0]),
        ("FunctionCall", "args", [["tupel"]]),
        ("FunctionCall", "args", [["dict", ["list"], 3]]),
        ("FunctionCall", "args", [["bytes", "zz"]]),
        ("FunctionCall", "args", [[]]),
        ("FunctionCall", "args", 3),
        ("FunctionCall", "kwargs", ["tuple"]),
        ("Overhead", "module", math.inf),
        ("Diagnosis", "severity", "fatal"),
        ("Step", "dim", 7),
        ("Step", "dim", -1),
        ("Diagnosis", "call", 10**6),
        ("Diagnosis", "function", -1),
        ("Source", "line", "1"),
        ("Recording", "notes", [1]),
        ("Recording", "roots", "root"),
        ("Recording", "value_ranges", {"size": 1, "keys": [1], "values": [[1]]}),
        ("Recording", "modules", {"size": -1, "keys": [], "values": []}),
    ],
)
def test_every_field_is_checked(table: str, column: str, value: Any) -> None:
    if column == "unheard_of":
        document = stdlib.loads(changed(table, "name", ""))
        document["tables"][table]["columns"][column] = {"all": value}
        text = stdlib.dumps(document)
    else:
        text = changed(table, column, value)
    with pytest.raises(ReportError, match="damaged"):
        loads(text)


def test_a_short_file_cannot_ask_for_many_rows() -> None:
    document = stdlib.loads(dumps(samples.small_cnn()))
    document["tables"]["Source"] = {
        "rows": 10**12,
        "columns": {"file": {"all": "x"}, "line": {"all": 1}},
    }
    with pytest.raises(ReportError, match="rows"):
        loads(stdlib.dumps(document))
    many = {"size": 10**12, "keys": {"all": "x"}, "values": {"all": 0}}
    with pytest.raises(ReportError, match="one name for many"):
        loads(changed("Recording", "modules", many))


def test_what_is_nested_too_deep_is_cut_when_written_and_refused_when_read() -> None:
    deep: Any = ()
    for _ in range(3_000):
        deep = (deep,)
    rec = samples.plain_data()
    rec = replace(rec, functions=(replace(rec.functions[0], args=(deep,)),))
    text = dumps(rec)
    back = loads(text)[0]
    assert "<tuple>" in repr(back.functions[0].args)
    shallow, deeper = '["tuple",["tuple"', '["tuple",["tuple",["tuple"'
    with pytest.raises(ReportError, match="nested deeper"):
        loads(text.replace(shallow, deeper, 1).replace("]]]", "]]]]", 1))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a document that holds something."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in items:
        yield value, key
        if isinstance(part, dict | list):
            yield from places(part)


ODD = [
    None,
    True,
    -1,
    0,
    1,
    7,
    2.5,
    10**40,
    1e308,
    "",
    "x",
    "\ud800",
    [],
    [[]],
    [0],
    {},
]


@pytest.mark.parametrize("seed", range(300))
def test_a_file_changed_anywhere_is_refused_or_can_be_looked_at(seed: int) -> None:
    choose = random.Random(seed)
    make = choose.choice([samples.failed_loss, samples.failed_layer, samples.warned])
    rec, finding = make()
    document = stdlib.loads(dumps(rec, [finding]))
    for _ in range(choose.choice([1, 1, 1, 3])):
        holder, key = choose.choice(list(places(document)))
        like = [odd for odd in ODD if type(odd) is type(holder[key])]
        holder[key] = choose.choice(choose.choice([ODD, like or ODD]))
    try:
        loaded = loads(stdlib.dumps(document))
    except ReportError:
        return
    t = Trace.__new__(Trace)
    t._restore(*loaded)
    look_at(t)


def look_at(t: Trace) -> None:
    """Every view and analysis of a trace that is no live batch."""
    assert str(t) and repr(t) and t._repr_html_() and str(t.explain())
    for by in ("call", "module", "function", "broadcast"):
        assert t.to_dataframe(by=by) is not None
    for write in (t.to_csv, t.to_html, t.to_json):
        write(os.devnull)
    assert t.summary() and t.losses is not None
    for call in (*t.calls[:3], *t.functions):
        assert str(t.explain(call))
    assert str(compare(t, t))
