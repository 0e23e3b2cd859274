"""`t.expect(tensor, "batch 33")`: shapes asserted by name, and blamed by name."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(100, 50)
        self.fc2 = nn.Linear(50, 73)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.relu(self.fc1(x)))


@pytest.fixture
def batch() -> tuple[shapetrace.Trace, torch.Tensor]:
    model = Mlp()
    with shapetrace.trace(model) as t:
        logits = model(torch.ones(2, 100))
    return t, logits


def failed(t: shapetrace.Trace, x: torch.Tensor, shape: str) -> shapetrace.Diagnosis:
    with pytest.raises(shapetrace.ShapeError) as caught:
        t.expect(x, shape)
    assert isinstance(caught.value.diagnosis, shapetrace.Diagnosis)
    assert str(caught.value) == str(caught.value.diagnosis)
    return caught.value.diagnosis


def test_a_wrong_width_is_blamed_on_its_layer_with_the_line_to_write(batch) -> None:
    found = failed(*batch, "batch 33")
    culprit = found.culprits[0]
    assert (culprit.kind, culprit.name) == ("module", "fc2")
    assert (culprit.dim, culprit.size, culprit.expected) == (1, 73, 33)
    assert found.fixes[0].line == "self.fc2 = nn.Linear(50, 33)"
    assert found.fixes[0].status == "verified"
    assert "dim 1 is 73 instead of 33" in str(found)
    assert [step.module for step in found.lineage] == ["fc2"]


@pytest.mark.parametrize(
    "shape",
    [
        "2 73",
        "batch classes",
        "_ 73",
        "... 73",
        "2 ...",
        "2 73 ...",
        "*any",
        "*batch 73",
        "2 *more 73",
        "batch 36*batch+1",
        "classes-71 classes",
        "batch 147//batch",
    ],
)
def test_a_shape_that_fits_passes(batch, shape: str) -> None:
    t, logits = batch
    t.expect(logits, shape)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("2 74", "dim 1 is 73 instead of 74"),
        ("same same", "dim 1 is 73 instead of 2 (`same` was 2 in this shape)"),
        ("2 73 1", "2 dimensions instead of 3"),
        ("", "2 dimensions instead of 0"),
        ("a b c ...", "2 dimensions instead of at least 3"),
        ("batch 2*batch", "dim 1 is 73 instead of 4 (`2*batch`)"),
    ],
)
def test_a_shape_that_does_not_fit_says_where(batch, shape: str, said: str) -> None:
    assert said in failed(*batch, shape).message


def test_a_name_keeps_its_size_in_later_shapes(batch) -> None:
    t, logits = batch
    t.expect(logits, "batch classes")
    assert "(`batch` was 2 before)" in failed(t, logits, "_ batch").message


def test_several_dimensions_keep_their_sizes_in_later_shapes() -> None:
    with shapetrace.trace() as t:
        x = torch.ones(4, 5, 6) + 1
        y = x.transpose(0, 1)
    t.expect(x, "*batch 6")
    found = failed(t, y, "*batch 6")
    assert "dim 0 is 5 instead of 4" in found.message


def test_a_failed_shape_binds_no_name(batch) -> None:
    t, logits = batch
    failed(t, logits, "batch classes 1")
    failed(t, logits, "classes 33")
    t.expect(logits, "batch classes")


def test_it_works_inside_the_block_and_leaves_the_user_with_the_explanation() -> None:
    model = Mlp()
    with pytest.raises(shapetrace.ShapeError, match="fc2"):
        with shapetrace.trace(model) as t:
            t.expect(model(torch.ones(2, 100)), "batch 33")


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("a,b", "separate dimensions with spaces"),
        ("batch 2**3", "cannot read '2**3'"),
        ("*a *b", "only one can"),
        ("batch 2*width", "Name it alone first"),
        ("a() b", "cannot read 'a()'"),
        ("2 73//0", "divides by zero"),
        ("1.5 b", "cannot read '1.5'"),
    ],
)
def test_a_string_that_cannot_be_read_says_how_to_write_it(
    batch, shape: str, said: str
) -> None:
    t, logits = batch
    with pytest.raises(shapetrace.UsageError) as caught:
        t.expect(logits, shape)
    assert said in str(caught.value)


def test_of_a_product_the_factor_that_explains_it_is_blamed_first() -> None:
    conv = nn.Conv2d(1, 16, 3)
    with shapetrace.trace(conv) as t:
        flat = conv(torch.ones(2, 1, 28, 28)).flatten(1)
    found = failed(t, flat, f"batch {8 * 26 * 26}")
    assert (found.culprits[0].size, found.culprits[0].expected) == (16, 8)
    assert [culprit.name for culprit in found.culprits[1:2]] == ["flatten"]


def test_a_size_that_no_layer_touched_is_blamed_on_the_input(batch) -> None:
    t, logits = batch
    culprit = failed(t, logits, "3 73").culprits[0]
    assert (culprit.kind, culprit.dim, culprit.size) == ("input", 0, 2)


def test_a_dropped_dimension_is_blamed_on_the_call_that_dropped_it() -> None:
    layer = nn.Linear(4, 1)
    with shapetrace.trace(layer) as t:
        y = torch.relu(layer(torch.ones(5, 4)).squeeze(1))
    culprit = failed(t, y, "batch 1").culprits[0]
    assert (culprit.kind, culprit.name) == ("function", "squeeze")


def test_of_equal_constructors_in_calls_that_one_is_changed_which_was_called() -> None:
    x = torch.ones(4, 8)
    with shapetrace.trace() as t:
        pair = (nn.Linear(8, 16)(x), nn.Linear(8, 16)(x))
    fix = failed(t, pair[1], "4 10").fixes[0]
    assert fix.line == "pair = (nn.Linear(8, 16)(x), nn.Linear(8, 10)(x))"
    assert (fix.status, fix.old) == (
        "verified",
        "pair = (nn.Linear(8, 16)(x), nn.Linear(8, 16)(x))",
    )


class Doubled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x)


def test_a_line_that_built_several_modules_without_a_name_says_so() -> None:
    x = torch.ones(4, 8)
    with shapetrace.trace() as t:
        Doubled()(x)
        second = Doubled()(x)
    fix = failed(t, second, "4 10").fixes[0]
    assert fix.line == "self.last = nn.Linear(8, 10)"
    assert fix.status == "untried"
    assert fix.detail == "changes every module that the line builds"
    assert fix.where is not None


def test_what_no_name_stands_for_is_given_no_line_with_one() -> None:
    with shapetrace.trace() as t:
        y = [nn.Linear(8, 16) for _ in range(3)][1](torch.ones(4, 8))
    found = failed(t, y, "4 10")
    assert [one.size for one in found.culprits] == [16]
    assert found.fixes == ()
