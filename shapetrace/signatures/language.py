"""The language of shape signatures, and its parser.

A line names a function, its parameters, the shape of each tensor among them, in the
order of the parameters, and the shapes of the outputs::

    linear(input, weight, bias)  *batch in_features, out_features in_features,
        out_features -> *batch out_features

A shape is a row of dimensions, separated by spaces:

=============  ===================================================================
`classes`      one dimension; the same name means the same size everywhere
`*batch`       any number of dimensions
`[batch]`      one dimension, or none
`...`          any number of dimensions that broadcast against each other
`1`            a dimension of exactly that size
`a/groups`     the size of `a` divided by the argument `groups`
`height'`      in an output: computed from `height` by the function's own arithmetic
`(*shape)`     a whole operand in parentheses is an argument of ints, not a tensor
`_`            a whole operand: an argument with no shape to state
=============  ===================================================================

A name in an output that no operand has is an argument: `*index num_classes`. The
arrow `=>` is that of a loss: a scalar unless `reduction="none"`, then the shape given.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Kind = Literal["name", "star", "optional", "ellipsis", "literal", "quotient", "window"]

_HEAD = re.compile(r"\s*([\w.]+)\s*\(([^()]*)\)\s*(.*)", re.DOTALL)
_DIMS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("literal", re.compile(r"(\d+)()")),
    ("name", re.compile(r"([a-z]\w*)()")),
    ("star", re.compile(r"\*([a-z]\w*)()")),
    ("optional", re.compile(r"\[([a-z]\w*)\]()")),
    ("ellipsis", re.compile(r"(\.\.\.)()")),
    ("quotient", re.compile(r"([a-z]\w*)/([a-z]\w*)")),
    ("window", re.compile(r"([a-z]\w*)'()")),
)
#: parameters that hold learned or running numbers, not data
LEARNED = re.compile(r"weight|bias|running_|linear_")


class SignatureError(ValueError):
    """A line of the signature language that cannot be read; it says what to write."""


class DimSpec(NamedTuple):
    """One dimension of a signature. `value` is a literal's size, `arg` a divisor."""

    kind: Kind
    name: str
    arg: str = ""
    value: int = 0


class OperandSpec(NamedTuple):
    """The shape of one operand."""

    param: str
    dims: tuple[DimSpec, ...]
    learned: bool = False
    argument: bool = False
    #: its number of dimensions; -1 where that is not fixed
    rank: int = -1


class Signature(NamedTuple):
    """One line of the table."""

    name: str
    params: dict[str, int]
    operands: tuple[OperandSpec, ...]
    outputs: tuple[tuple[DimSpec, ...], ...]
    loss: bool


def parse(line: str) -> Signature:
    """Reads one signature.

    Raises SignatureError, whose message quotes the part that cannot be read.

    >>> parse("dot(input, other)  n, n -> ").operands[1].dims[0].name
    'n'
    """
    head = _HEAD.fullmatch(line)
    if head is None:
        raise SignatureError(
            f"{line.strip()!r}: write name(parameter, parameter)  shape, shape -> shape"
        )
    name, listed, body = head.groups()
    params = [param.strip() for param in listed.split(",") if param.strip()]
    if len(set(params)) != len(params):
        raise SignatureError(f"{name}: a parameter is listed twice in ({listed})")
    arrow = "=>" if "=>" in body else "->"
    if body.count("->") + body.count("=>") != 1:
        raise SignatureError(f"{name}: write exactly one arrow (-> or =>)")
    left, right = body.split(arrow)
    shapes = left.split(",") if left.strip() else []
    if len(shapes) > len(params):
        raise SignatureError(
            f"{name}: {len(shapes)} shapes for {len(params)} parameters; name every "
            f"parameter that has a shape: {name}({listed.strip()}, ...)"
        )
    operands = tuple(
        spec
        for param, shape in zip(params, shapes)
        if shape.strip() != "_"
        for spec in (_operand(name, param, shape),)
    )
    outputs = tuple(_dims(name, shape, output=True) for shape in right.split(","))
    if arrow == "=>" and len(outputs) != 1:
        raise SignatureError(f"{name}: a loss (=>) has exactly one output")
    index = {param: i for i, param in enumerate(params)}
    _check_names(name, operands, outputs, index)
    return Signature(name, index, operands, outputs, arrow == "=>")


def _operand(name: str, param: str, shape: str) -> OperandSpec:
    """One operand: a tensor's shape, or an argument in parentheses."""
    text = shape.strip()
    argument = text.startswith("(") and text.endswith(")")
    if argument:
        text = text[1:-1]
    dims = _dims(name, text)
    rank = len(dims)
    if argument or any(d.kind in ("star", "optional", "ellipsis") for d in dims):
        rank = -1
    return OperandSpec(param, dims, bool(LEARNED.search(param)), argument, rank)


def _dims(name: str, shape: str, output: bool = False) -> tuple[DimSpec, ...]:
    """The dimensions of one shape."""
    return tuple(_dim(name, word, output) for word in shape.split())


def _dim(name: str, word: str, output: bool) -> DimSpec:
    """One dimension."""
    for kind, pattern in _DIMS:
        found = pattern.fullmatch(word)
        if found is None:
            continue
        if kind == "window" and not output:
            raise SignatureError(
                f"{name}: {word!r} stands for a computed size, so only an output "
                f"can have it; write {found[1]!r}"
            )
        if kind == "literal":
            return DimSpec(kind, word, "", int(word))
        return DimSpec(kind, found[1], found[2])
    raise SignatureError(
        f"{name}: {word!r} is no dimension; write a name, *names, [name], ..., "
        f"a number, name/argument or name'"
    )


def _check_names(
    name: str,
    operands: tuple[OperandSpec, ...],
    outputs: tuple[tuple[DimSpec, ...], ...],
    params: dict[str, int],
) -> None:
    """Every name in an output must come from somewhere."""
    known = {dim.name for spec in operands for dim in spec.dims}
    for dims in outputs:
        for dim in dims:
            if dim.kind == "literal" or dim.name in known:
                continue
            if dim.kind == "name" and dim.name in params:
                continue
            raise SignatureError(
                f"{name}: {dim.name!r} stands in an output, but is a dimension of no "
                f"operand and no parameter"
            )
