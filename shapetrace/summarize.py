"""`summary`: the table of a model in one call, with nothing changed in the model."""

from __future__ import annotations

import copy
import random
import sys
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from shapetrace.errors import UsageError
from shapetrace.trace import trace
from shapetrace.views.printed import Printed

Size = Sequence[int]

#: what a table for who knows torchinfo shows
COLUMNS = ("type", "input", "output", "params", "params_share", "kernel", "mult_adds")


def summary(
    model: nn.Module,
    input_size: Size | Sequence[Size] | None = None,
    *,
    input_data: Any = None,
    depth: int | None = None,
    columns: Collection[str] = COLUMNS,
    sort: str | None = None,
    width: int | None = None,
) -> Printed:
    """Run the model once, in evaluation mode and without gradients, and show its table.

    Nothing stays changed: modes, attributes, buffers and random numbers are as they
    were, and of a lazy model a copy is run.

    Args:
        model: the model; it stays on its device.
        input_size: the shape of the input, batch included, or those of several inputs;
            they are filled with random numbers of the model's own dtype and device.
        input_data: in place of sizes: a tensor, a list or tuple of arguments, or a dict
            of keyword arguments, such as tokens.
        depth: as many levels below the model are shown; None: all.
        columns: names of columns, as `Trace.table` takes them.
        sort: the column by which to order the rows, the largest first.
        width: characters a line; None: as wide as the terminal.

    Raises:
        UsageError: if neither sizes nor data are given, or both, or a name is unknown.

    Examples:
        >>> import torch, shapetrace
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU())
        >>> text = shapetrace.summary(model, input_size=(2, 8))
        >>> "Parameters: 36 (36 trainable, 0 frozen), 144 B" in text
        True
    """
    if any(map(is_lazy, model.parameters())):  # by its first batch it would be built
        model = copy.deepcopy(model)
    args, kwargs = _arguments(model, input_size, input_data)
    with _as_it_was(model), torch.no_grad():
        try:
            with trace(model, checks=False) as t:
                model(*args, **kwargs)
        except Exception as error:
            if input_data is None:
                error.add_note(
                    "summary() made up the input, random numbers of input_size=; "
                    "input_data= takes a real batch, such as tokens."
                )
            raise
    from shapetrace.views.text import table

    drawn = table(
        t.recording,
        width=width,
        depth=depth,
        columns=columns,
        sort=sort,
        costs=lambda: t.costs,
        name=None,
    )
    return Printed(drawn)


def _arguments(
    model: nn.Module, input_size: Any, input_data: Any
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    if (input_size is None) == (input_data is None):
        raise UsageError(
            "summary() takes either input_size=(1, 3, 224, 224), batch included, or "
            "input_data=batch: one of them."
        )
    if input_data is not None:
        if isinstance(input_data, Mapping):
            return (), input_data
        if isinstance(input_data, list | tuple):
            return input_data, {}
        return (input_data,), {}
    like = next((one for one in model.parameters() if one.is_floating_point()), None)
    dtype = like.dtype if like is not None else torch.get_default_dtype()
    device = like.device if like is not None else torch.device("cpu")
    random_numbers = torch.Generator().manual_seed(0)
    return [
        torch.rand(*size, generator=random_numbers).to(device, dtype)
        for size in _shapes(input_size)
    ], {}


def _shapes(given: Any) -> list[Size]:
    if isinstance(given, list | tuple):
        several = [given] if all(isinstance(n, int) for n in given) else given
        if all(_is_shape(one) for one in several):
            return [*several]
    raise UsageError(
        f"input_size={given!r} is no shape: it is one as (1, 3, 224, 224), batch "
        "included, or a list of such, one for each argument of forward()."
    )


def _is_shape(given: Any) -> bool:
    return isinstance(given, list | tuple) and all(
        isinstance(n, int) and n >= 0 for n in given
    )


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every mode, attribute, buffer and random state
    as before.

    Modes are set on each module and not through `train()`, which classes override.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(one, one.detach().clone()) for one in model.buffers()]
    held = [one for module in model.modules() for one in _containers(vars(module))]
    python, numpy = random.getstate(), sys.modules.get("numpy")
    numbers = numpy.random.get_state() if numpy is not None else None
    devices = {one.device for one in model.parameters() if one.device.type == "cuda"}
    try:
        with torch.random.fork_rng([one for one in devices]):
            for module, _ in modes:
                module.training = False
            yield
    finally:
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(numbers)
        for one, before in held:
            _restore(one, before)
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, values in buffers:
                if not torch.equal(buffer, values):
                    buffer.copy_(values)


def _containers(attributes: dict[str, Any]) -> list[tuple[Any, Any]]:
    """A module's attributes, and the dicts and lists among them, each with a copy: a
    forward may keep a state there, and torch keeps buffers so."""
    own = [one for one in attributes.values() if type(one) in (dict, OrderedDict, list)]
    return [(one, one.copy()) for one in (attributes, *own)]


def _restore(container: Any, before: Any) -> None:
    if type(container) is list:
        container[:] = before
        return
    container.update(before)
    for added in container.keys() - before.keys():
        del container[added]
