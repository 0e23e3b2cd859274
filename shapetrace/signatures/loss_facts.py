"""What a loss is, from its line in the table: who is who, and what each has to be."""

from __future__ import annotations

import functools
from typing import NamedTuple

from shapetrace.records import FunctionCall
from shapetrace.signatures.table import facts, lines, signatures

_TARGETS = ("target", "targets")


class Loss(NamedTuple):
    """The facts of one loss.

    `takes` is what its prediction has to be: `logits` (it applies `activation` itself),
    `probabilities` or `log_probabilities` (which `activation` makes), `embeddings` and
    `ranked` values (compared with each other), or `values` of any kind. `targets` says
    what its target may be: `indices` of classes, `index_sets`, `probabilities` and
    `values` of the prediction's shape, `counts`, or `signs` of -1 and 1. `class_dim` is
    the dimension of the prediction that holds the classes, None where every element is
    compared for itself.
    """

    name: str
    prediction: str
    target: str | None
    takes: str
    activation: str | None
    targets: tuple[str, ...]
    class_dim: int | None
    #: whether prediction and target broadcast against each other
    stretches: bool
    #: whether samples have a dimension of their own: without it there is one sample
    names_batch: bool


def is_loss(name: str) -> bool:
    """Whether the function of that name (`mse_loss`) is a loss."""
    return name in facts()


@functools.cache
def loss(name: str) -> Loss | None:
    """The facts of a loss; None for what is none.

    >>> loss("nll_loss").activation, loss("nll_loss").class_dim
    ('log_softmax', 1)
    """
    if not is_loss(name):
        return None
    signature = signatures(name)[0]
    (takes, *made), *rest = facts()[name]
    params = [*signature.params]
    given = {operand.param: operand.dims for operand in signature.operands}
    first = given[params[0]]
    places = [dim.name for dim in first]
    at = places.index("classes") if "classes" in places else None
    if at is not None and any(dim.kind == "ellipsis" for dim in first[:at]):
        at -= len(first)
    return Loss(
        name,
        params[0],
        next((param for param in params if param in _TARGETS), None),
        takes,
        made[0] if made else None,
        rest[0] if rest else (),
        at,
        any(dim.kind == "ellipsis" for dim in first),
        any(
            dim.name == "batch"
            for each in signatures(name)
            for dim in each.operands[0].dims
        ),
    )


def losses_that(**wanted: object) -> tuple[str, ...]:
    """The losses whose facts are as wanted: `losses_that(takes="logits")`.

    >>> losses_that(takes="probabilities", activation="sigmoid")
    ('binary_cross_entropy',)
    """
    found = [one for name in lines() if (one := loss(name)) is not None]
    return tuple(
        one.name
        for one in found
        if all(getattr(one, key) == value for key, value in wanted.items())
    )


@functools.cache
def index_losses() -> dict[str, int]:
    """The losses whose target may be one class index for each place, and the place of
    that target among their parameters.

    >>> index_losses()["nll_loss"]
    1
    """
    known = (loss(name) for name in facts())
    return {
        one.name: signatures(one.name)[0].params[one.target]
        for one in known
        if one is not None and one.target is not None and "indices" in one.targets
    }


def _find(call: FunctionCall, param: str | None) -> int | None:
    """The position among the inputs of a parameter."""
    if param is None:
        return None
    place = signatures(call.name)[0].params[param]
    paths = (f"args[{place}]", f"kwargs['{param}']")
    found = (pos for pos, ref in enumerate(call.inputs) if ref.path in paths)
    return next(found, None)


def loss_target(call: FunctionCall) -> int | None:
    """The position in `call.inputs` of the target; None where it has none."""
    known = loss(call.name)
    return None if known is None else _find(call, known.target)


def loss_input(call: FunctionCall) -> int | None:
    """The position in `call.inputs` of the prediction; None for what is no loss."""
    known = loss(call.name)
    return None if known is None else _find(call, known.prediction)
