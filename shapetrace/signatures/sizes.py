"""Which attribute of a layer is which dimension of which tensor.

The signature of the layer's function says it already: its `in_features` and
`out_features` are the layer's attributes of that name. So a layer has no line of its
own here, but for those whose function has no line in the table.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from shapetrace.records import ModuleInfo
from shapetrace.signatures.language import DimSpec, Signature, parse
from shapetrace.signatures.layers import LAYERS
from shapetrace.signatures.table import signatures

_RECURRENT = """{}(input, weight_ih_l0, weight_hh_l0)
    *shape input_size, gates input_size, gates hidden_size -> *shape hidden_size"""
_OTHER = {
    **{name: _RECURRENT.format(name) for name in ("RNN", "LSTM", "GRU")},
    "MultiheadAttention": """MultiheadAttention(query, key, value)
        *shape embed_dim, *keys kdim, *keys vdim -> *shape embed_dim""",
    **{
        f"InstanceNorm{n}d": f"""InstanceNorm{n}d(input, running_mean, running_var,
        weight, bias)  [batch] num_features {"space " * n}, num_features, num_features,
        num_features, num_features -> [batch] num_features {"space " * n}"""
        for n in (1, 2, 3)
    },
}


class Place(NamedTuple):
    """A dimension of a tensor of a layer's: `input`, `output`, or a parameter's name.

    `dim` counts from the end where what stands before it may vary; None is all of the
    shape, or what is left of it. The size there is the attribute's, divided by the
    attribute `over`.
    """

    tensor: str
    dim: int | None
    over: str | None = None


@functools.cache
def sizes(layer: str) -> dict[str, tuple[Place, ...]]:
    """The places of each size of a type of layer, those of the input first; {} for
    what is no layer of torch's.

    >>> sizes("Linear")["out_features"][-1]
    Place(tensor='output', dim=-1, over=None)
    """
    signature = _signature(layer)
    if signature is None:
        return {}
    found: dict[str, list[Place]] = {}
    for count, operand in enumerate(signature.operands):
        if not operand.argument:
            _add(found, operand.param if count else "input", operand.dims)
    for dims in signature.outputs[:1]:
        _add(found, "output", dims)
    return {name: tuple(places) for name, places in found.items()}


def _signature(layer: str) -> Signature | None:
    if layer in _OTHER:
        return parse(_OTHER[layer].replace("\n", " "))
    known = LAYERS.get(layer)
    lines = signatures(known.function) if known is not None else ()
    return lines[0] if lines else None


def _add(found: dict[str, list[Place]], tensor: str, dims: tuple[DimSpec, ...]) -> None:
    many = [place for place, dim in enumerate(dims) if dim.kind in _VARYING]
    for place, dim in enumerate(dims):
        if dim.kind == "star":
            if place == len(dims) - 1:
                found.setdefault(dim.name, []).append(Place(tensor, None))
        elif dim.kind in ("name", "quotient"):
            at = place if not many or place < many[0] else place - len(dims)
            over = dim.arg or None
            found.setdefault(dim.name, []).append(Place(tensor, at, over))


#: dimensions of which there may be none, or several
_VARYING = ("star", "optional", "ellipsis")


def size_taken(info: ModuleInfo, shape: tuple[int, ...]) -> tuple[str, int] | None:
    """The attribute that says what a layer takes, and the size that it is given.

    >>> info = ModuleInfo("fc", "Linear", "torch.nn.modules.linear.Linear",
    ...                   attributes={"in_features": 8, "out_features": 2})
    >>> size_taken(info, (4, 7))
    ('in_features', 7)
    """
    for name, places in sizes(info.type).items():
        tensor, dim, _ = places[0]
        if tensor not in ("input", "query") or name not in info.attributes:
            continue
        if dim is None:
            wanted = info.attributes[name]
            return (name, shape[-1]) if len(wanted) == 1 and shape else None
        if -len(shape) <= dim < len(shape):
            return name, shape[dim]
    return None


def size_given(layer: str) -> str | None:
    """The attribute of a type of layer that sets how many features it makes; None for
    what only hands on the features that it takes.

    >>> size_given("Conv2d"), size_given("BatchNorm2d"), size_given("LSTM")
    ('out_channels', None, 'hidden_size')
    """
    for name, places in sizes(layer).items():
        if places[-1].tensor == "output" and places[0].tensor not in ("input", "query"):
            return name
    return None
