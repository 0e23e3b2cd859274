"""JSON: what is written reads back equal, what is damaged is refused."""

from __future__ import annotations

import json as stdlib
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import samples
import torch

from shapetrace.errors import ReportError
from shapetrace.records import Recording
from shapetrace.views.json import dumps, loads


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
    document = stdlib.loads(dumps(samples.empty()))
    assert document["records"]["Recording"].pop() == "dropped_calls"
    assert document["recording"].pop() == 0
    assert loads(stdlib.dumps(document))[0] == samples.empty()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cut off, damaged or of another kind"),
        (dumps(samples.small_cnn())[:-50], "cut off, damaged or of another kind"),
        ("[1, 2]", "this JSON is no trace"),
        ('{"traceEvents": []}', "this JSON is no trace"),
        ('{"shapetrace": 99}', "pip install --upgrade shapetrace"),
        ('{"shapetrace": 1}', "damaged"),
        (dumps(samples.small_cnn()).replace("float32", "float31"), "'float31'"),
        (dumps(samples.small_cnn()).replace('["tuple"', '["tupel"'), "damaged"),
    ],
)
def test_foreign_and_damaged_files_are_refused(text: str, says: str) -> None:
    with pytest.raises(ReportError, match=says):
        loads(text)
