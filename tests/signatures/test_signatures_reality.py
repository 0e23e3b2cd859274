"""Every signature and rule against torch: draw sizes, call, enlarge, compare.

Enlarging one letter of a case everywhere must move exactly the output dimensions that
claim one of its dimensions as their source.
"""

from __future__ import annotations

import random

import pytest
import torch
from signature_cases import BUILT_IN, Case
from signature_table import CASES

from shapetrace.signatures import conflicts, predict, relate

STEPS = (1, 2, 4)


def draw(case: Case) -> dict[str, int]:
    """Different sizes for all letters, the same in every run."""
    sizes = random.Random(repr(case)).sample(range(5, 16), len(case.letters))
    return dict(zip(case.letters, sizes)) | BUILT_IN


@pytest.fixture(params=CASES, ids=repr)
def case(request: pytest.FixtureRequest) -> Case:
    torch.manual_seed(0)
    found: Case = request.param
    return found


@pytest.mark.filterwarnings("ignore")
def test_sources_are_the_dimensions_that_move_the_output(case: Case) -> None:
    sizes = draw(case)
    call = case.call(sizes, case.shapes(sizes))
    assert call.outputs is not None, call.error
    relation = relate(call)
    assert all(dim.sure for dims in relation.outputs for dim in dims)
    for letter in case.letters:
        places = {
            (pos, d)
            for pos, tensor in enumerate(case.tensors)
            for d, word in enumerate(tensor.dims.split())
            if letter in word
        }
        moved = set()
        fitting = 0
        for step in STEPS:
            larger = sizes | {letter: sizes[letter] + step}
            again = case.call(larger, case.shapes(larger))
            for o, ref in enumerate(again.outputs or ()):
                fitting += 1
                for d, size in enumerate(ref.shape):
                    if size != call.outputs[o].shape[d]:
                        moved.add((o, d))
        claimed = {
            (o, d): dim.how
            for o, dims in enumerate(relation.outputs)
            for d, dim in enumerate(dims)
            if places & set(dim.sources)
        }
        assert fitting or not call.outputs
        assert moved <= set(claimed), letter
        # a part whose size is a number among the arguments stays as it is
        still = {how for place, how in claimed.items() if place not in moved}
        assert still <= {"split", "slice"}, letter


@pytest.mark.filterwarnings("ignore")
def test_predicted_shapes_are_those_that_torch_gives(case: Case) -> None:
    sizes = draw(case)
    for letter in ["", *case.letters]:
        larger = sizes | ({letter: sizes[letter] + 3} if letter else {})
        shapes = case.shapes(larger)
        call = case.call(larger, shapes)
        wanted = tuple(ref.shape for ref in call.outputs or ())
        assert predict(call, tuple(shapes)) == wanted


@pytest.mark.filterwarnings("ignore")
def test_sizes_of_one_and_equal_sizes_mislead_nobody(case: Case) -> None:
    generator = random.Random(repr(case))
    for _ in range(6):
        sizes = {c: generator.choice((1, 1, 2, 4)) for c in case.letters} | BUILT_IN
        shapes = case.shapes(sizes)
        call = case.call(sizes, shapes)
        if call.outputs is None:
            continue  # a kernel larger than its input
        assert conflicts(call) == (), sizes
        relation = relate(call)
        assert all(dim.sure for dims in relation.outputs for dim in dims), sizes
        for o, dims in enumerate(relation.outputs):
            for d, dim in enumerate(dims):
                passed = dim.how in ("same", "parameter", "broadcast")
                if passed and "·" not in dim.note:
                    found = {shapes[pos][i] for pos, i in dim.sources}
                    assert found in ({call.outputs[o].shape[d]}, set()), sizes


@pytest.mark.filterwarnings("ignore")
def test_conflicts_are_seen_where_torch_raises_and_nowhere_else(case: Case) -> None:
    sizes = draw(case)
    shapes = case.shapes(sizes)
    assert conflicts(case.call(sizes, shapes)) == ()
    if case.func in (torch.lstm, torch.gru, torch.rnn_tanh):
        return  # torch itself does not check their weights, and reads past the end
    for pos, shape in enumerate(shapes):
        for d in range(len(shape)):
            changed = list(shapes)
            changed[pos] = (*shape[:d], shape[d] + 1, *shape[d + 1 :])
            call = case.call(sizes, changed)
            found = conflicts(call)
            if call.outputs is not None:
                assert found == (), (pos, d)
            else:
                named = {(side.input) for c in found for side in (c.left, c.right)}
                assert pos in named, (pos, d, call.error)
