"""Torch's own warnings come as often, and from the same line, as without a trace."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace
from shapetrace.recording.warned_from import Callers

COLUMN, ROW = torch.ones(4, 1), torch.ones(4)
WIDTH = torch.ones(3)


def by_function():
    F.l1_loss(COLUMN, ROW)
    F.mse_loss(COLUMN, ROW)
    for _ in range(3):
        F.smooth_l1_loss(COLUMN, ROW)
    F.huber_loss(COLUMN, target=ROW)


def by_layer():
    loss = nn.MSELoss()
    loss(COLUMN, ROW)
    loss(COLUMN, ROW)


def by_a_function_that_it_calls():
    F.softmax(COLUMN)
    F.mse_loss(ROW, ROW, size_average=False)


def by_what_is_written_in_c():
    for _ in range(2):
        torch.tensor(COLUMN)
    COLUMN.new_tensor(ROW)
    torch.ones(1).std()
    torch.var(torch.ones(1))
    (torch.ones(2, requires_grad=True) * 2).grad


def by_masks_of_bytes():
    mask = torch.ones(4, dtype=torch.uint8)
    for _ in range(2):
        ROW[mask]


def by_results_without_room():
    torch.add(ROW, ROW, out=torch.ones(1))
    torch.cat([ROW, ROW], out=torch.ones(1))


def by_one_of_the_users():
    def mine(x):
        warnings.warn("mine", stacklevel=2)
        return F.relu(x)

    mine(COLUMN)
    mine(ROW)


def by_what_hands_calls_to_a_subclass():
    class Old(torch.Tensor):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return "as of old"

    for _ in range(2):
        assert F.relu(torch.ones(2).as_subclass(Old)) == "as of old"


def warned(body, action, traced, **options):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter(action)
        if traced:
            with shapetrace.trace(checks=False, **options):
                body()
        else:
            body()
    return [(one.category, str(one.message), one.filename, one.lineno) for one in found]


@pytest.mark.parametrize(
    "options",
    [{}, {"memory": True}, {"memory": True, "functions": False}, {"backward": True}],
    ids=str,
)
@pytest.mark.parametrize("action", ["always", "default", "module", "once"])
@pytest.mark.parametrize(
    "body",
    [
        by_function,
        by_layer,
        by_a_function_that_it_calls,
        by_what_is_written_in_c,
        by_masks_of_bytes,
        by_results_without_room,
        by_one_of_the_users,
        by_what_hands_calls_to_a_subclass,
    ],
)
def test_warnings_are_those_of_an_untraced_batch(body, action, options):
    untraced = warned(body, action, traced=False)
    assert untraced and warned(body, action, traced=True, **options) == untraced


@pytest.fixture
def each_time() -> Iterator[None]:
    """What torch says once in a process it says again."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


def of_a_transposed_stack():
    COLUMN[None].T


def of_a_choice_by_bytes():
    torch.where(torch.ones(4, dtype=torch.uint8), ROW, ROW)


def of_an_even_kernel():
    F.conv1d(torch.ones(1, 1, 8), torch.ones(1, 1, 4), padding="same")


def of_complex_values():
    ROW.to(torch.complex64).float()


def of_an_old_overload():
    ROW.add(2, ROW)


def of_a_number_with_a_gradient():
    float(torch.ones(1, requires_grad=True))


def of_a_hook_without_gradients():
    model = nn.Linear(4, 1)
    model.register_full_backward_hook(lambda *_: None)
    model(ROW).sum().backward()


@pytest.mark.parametrize(
    "options", [{}, {"memory": True, "functions": False}, {"backward": True}], ids=str
)
@pytest.mark.parametrize(
    "body",
    [
        of_a_transposed_stack,
        of_a_choice_by_bytes,
        of_an_even_kernel,
        of_complex_values,
        of_an_old_overload,
        of_a_number_with_a_gradient,
        of_a_hook_without_gradients,
    ],
)
def test_what_torch_says_once_is_said_of_the_users_line(body, options, each_time):
    untraced = warned(body, "always", traced=False)
    assert {file for _, _, file, _ in untraced} == {__file__}
    # an old overload is told each time that torch reads the arguments, for a mode again
    assert set(warned(body, "always", traced=True, **options)) == set(untraced)


@pytest.mark.parametrize("options", [{}, {"memory": True, "backward": True}], ids=str)
@pytest.mark.parametrize("layer", [nn.Softmax(), nn.LogSoftmax()], ids=str)
def test_a_layer_without_a_dim_warns_where_torch_calls_it(layer, options):
    def body():
        layer(COLUMN)

    untraced = warned(body, "always", traced=False)
    assert len(untraced) == 1
    assert warned(body, "always", traced=True, **options) == untraced


def test_a_warning_that_is_an_error_has_the_traceback_of_an_untraced_batch():
    def entries(traced):
        import traceback

        with pytest.raises(UserWarning) as raised:
            warned(by_function, "error", traced)
        found = traceback.extract_tb(raised.value.__traceback__)
        return [(f.filename, f.name) for f in found if f.filename != __file__], [
            f.lineno for f in found if f.name == "by_function"
        ]

    assert entries(True) == entries(False)


def test_the_explanation_of_a_loss_that_warns_and_fails_keeps_its_line():
    with pytest.raises(RuntimeError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with shapetrace.trace() as t:
            F.mse_loss(torch.ones(2, 3), torch.ones(2, 5))
    assert t.failure.source.file == __file__
    source = t.functions[-1].source
    assert source.column is not None
    assert source.function.endswith("keeps_its_line")


@pytest.mark.parametrize("options", [{"memory": True}, {"backward": True}], ids=str)
def test_a_function_that_may_warn_is_where_it_is_written(options):
    places = []
    for extra in ({}, options):
        with shapetrace.trace(**extra) as t:
            F.softmax(torch.ones(2, 3), 1)
        places.append([call.source for call in t.functions if call.name == "softmax"])
    assert places[0] == places[1] and places[0][0].column == 12


def test_what_warns_of_its_own_line_needs_nobody_to_stand_in():
    callers = Callers()
    assert not any(map(callers.warns, (F.relu, F.batch_norm, F.layer_norm, F.dropout)))
    assert all(map(callers.warns, (F.softmax, F.mse_loss, F.cross_entropy)))
