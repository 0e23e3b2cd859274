"""How one value is written, the same in every view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from shapetrace.records import CallError, Diagnosis, Source, TensorRef
from shapetrace.source.spoken import spoken

#: the outermost module, where neither the trace nor the script has a name for it
ROOT = "(root)"

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
_SHORT_DTYPES = {
    "float64": "f64",
    "float32": "f32",
    "float16": "f16",
    "bfloat16": "bf16",
    "complex64": "c64",
    "complex128": "c128",
    "int64": "i64",
    "int32": "i32",
    "int16": "i16",
    "int8": "i8",
    "uint8": "u8",
}


def shape(sizes: Sequence[int], times: str = "×") -> str:
    """`2×73`; a tensor of no dimensions is a `scalar`."""
    return times.join(map(str, sizes)) if sizes else "scalar"


def shapes(tensors: Iterable[TensorRef] | None, most: int = 2) -> str:
    """The first shapes and, honestly, how many more there are."""
    if tensors is None:
        return "–"
    written = [shape(tensor.shape) for tensor in tensors]
    if len(written) > most:
        left = len(written) - most
        return f"{', '.join(written[:most])} +{left} more"
    return ", ".join(written)


def dtype(value: torch.dtype, *, short: bool = False) -> str:
    name = str(value).removeprefix("torch.")
    return _SHORT_DTYPES.get(name, name) if short else name


def unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def dtypes(inputs: Sequence[TensorRef], outputs: Sequence[TensorRef] | None) -> str:
    """`f32`, or `i64→f32` where a call changes the type."""
    return _change(
        [dtype(tensor.dtype, short=True) for tensor in inputs],
        [dtype(tensor.dtype, short=True) for tensor in outputs or ()],
    )


def devices(inputs: Sequence[TensorRef], outputs: Sequence[TensorRef] | None) -> str:
    """`cpu`, or `cpu→cuda:0` where a call moves the data."""
    return _change(
        [str(tensor.device) for tensor in inputs],
        [str(tensor.device) for tensor in outputs or ()],
    )


def _change(before: list[str], after: list[str]) -> str:
    came, left = "/".join(unique(before)), "/".join(unique(after))
    if not came or not left or came == left:
        return came or left
    return f"{came}→{left}"


def milliseconds(nanoseconds: int, digits: int = 2) -> str:
    return f"{nanoseconds / 1e6:,.{digits}f}"


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole else ""


def scaled(value: float, unit: str = "") -> str:
    """A quantity to three digits.

    >>> scaled(1_234_000, "B"), scaled(0), scaled(999.6, "B")
    ('1.23 MB', '0', '1 kB')
    """
    step = 0
    while abs(value) >= 999.5 and step < len(_PREFIXES) - 1:
        value /= 1000
        step += 1
    return f"{value:.3g} {_PREFIXES[step]}{unit}".rstrip()


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def one_line(text: str) -> str:
    return " ".join(text.split())


def error(value: CallError | None) -> str | None:
    return None if value is None else one_line(str(value))


def place(source: Source | None) -> str:
    return "" if source is None else str(source)


def where(finding: Diagnosis) -> str:
    """Where it went wrong, with the module as the script calls it."""
    kind, colon, name = finding.where.partition(":")
    if kind == "module":
        name = spoken(finding.called, name) or ROOT
    return f"{kind}{colon}{name}"


def headline(finding: Diagnosis) -> str:
    """A finding in one line: where, in which line of code, and its first sentence."""
    said = where(finding)
    if finding.source is not None:
        said += f" at {finding.source}"
    return one_line(f"{said}: {finding.message}" if said else finding.message)
