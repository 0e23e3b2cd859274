"""What an explanation states, held against the recording that it is about: numbers,
names, attributes, lines. Reads the text as a reader does."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator
from math import prod

from shapetrace.records import Diagnosis, ModuleInfo, Recording
from shapetrace.signatures import argument_name
from shapetrace.source.spoken import spoken

EQUATION = re.compile(
    r"(?<![\w.·])(?<![+·*/-] )(\d+) = (\d+(?: ?[·+*/-] ?\d+|\)|\(| ?// ?\d+)*)(?![\w.])"
)
FACTORS = re.compile(r"^(\d+(?:·\d+)+|\d+(?: \+ \d+)+)(?::|$)")
SIDE = re.compile(r"dim (\d+) of the (\w+(?: operand)?) is (\d+)")
OWN = re.compile(r"its (\w+) is (\d+)")
GIVEN = re.compile(r"(?<![\w(, ])\b(\w+)=(\d+)\b")
TICKED = re.compile(r"`([^`\n]+)`")
LINE = re.compile(r"\blines? (\d+)")


def false_statements(found: Diagnosis, rec: Recording) -> Iterator[str]:
    """Everything in an explanation that the recording contradicts."""
    said = [found.message, *found.remarks, *(c.reason for c in found.culprits)]
    said += [operand.origin for operand in found.operands]
    for text in said:
        for left, right in EQUATION.findall(text):
            if reckoned(right) not in (None, int(left)):
                yield f"{left} = {right}"
    yield from _steps(found)
    yield from _operands(found, rec)
    yield from _names(found, rec)
    yield from _attributes(found, rec)
    yield from _lines(found)


def reckoned(formula: str) -> int | None:
    """The number that a formula of whole numbers gives, rounded down as torch does."""
    try:
        return int(eval(formula.replace("·", "*").replace(" / ", " // "), {}))
    except (SyntaxError, ZeroDivisionError):
        return None


def _steps(found: Diagnosis) -> Iterator[str]:
    for step in found.lineage:
        factors = FACTORS.match(step.how)
        if factors and step.dim is not None and " of " not in step.how:
            if reckoned(factors[1]) != step.shape[step.dim]:
                yield f"{step.name}: {step.shape[step.dim]} is not {factors[1]}"
        elif re.fullmatch(r"[\d\s+()/*-]+", step.how) and step.dim is not None:
            if reckoned(step.how) not in (None, step.shape[step.dim]):
                yield f"{step.name}: {step.shape[step.dim]} is not {step.how}"


def _operands(found: Diagnosis, rec: Recording) -> Iterator[str]:
    shapes = {operand.label: operand.shape for operand in found.operands}
    for dim, label, size in SIDE.findall(found.message):
        shape = shapes.get(label)
        if shape is None:
            continue
        if int(dim) >= len(shape) or shape[int(dim)] != int(size):
            factor = f"{size}, times" in found.message
            if not factor:
                yield f"dim {dim} of the {label} {shape} is not {size}"
    kinds = {
        origin.name: origin.kind
        for origin in rec.origins.values()
        if origin.kind in ("parameter", "buffer")
    }
    for operand in found.operands:
        name = TICKED.fullmatch(operand.origin)
        if name and kinds.get(name[1], operand.label) != operand.label:
            yield f"{name[1]} is a {kinds[name[1]]}, not a {operand.label}"
    for text in (found.message, *(c.reason for c in found.culprits)):
        for kind, name in re.findall(r"\b(parameter|buffer|weight) `([\w.]+)`", text):
            wanted = "parameter" if kind == "weight" else kind
            if kinds.get(name, wanted) != wanted:
                yield f"{name} is a {kinds[name]}, not a {kind}"


def _names(found: Diagnosis, rec: Recording) -> Iterator[str]:
    """Every name in backticks is a module's, a tensor's, a function's or the code's."""
    known = set(rec.modules) | {info.type for info in rec.modules.values()}
    known |= {origin.name for origin in rec.origins.values()}
    known |= {spoken(rec.called, name) for name in (*rec.modules, *known)}
    known |= {call.name for call in rec.functions} | {call.type for call in rec.calls}
    for info in rec.modules.values():
        known |= set(info.attributes)
        known |= {ref.path for ref in (*info.parameters, *info.buffers)}
    known |= {operand.label for operand in found.operands}
    for call in rec.functions:  # `mat2`: what torch calls an argument
        known |= {argument_name(call, n) or "" for n in range(len(call.inputs))}
    code = _code(found, rec) + "".join(fix.line for fix in found.fixes)
    for text in (found.message, *(c.reason for c in found.culprits)):
        for name in TICKED.findall(text):
            words = name.strip("`")
            if words in known or re.sub(r"\s", "", words) in code:
                continue
            if words.replace("[", ".").replace("]", "") in known:
                continue
            yield f"`{words}` is nowhere"


def _code(found: Diagnosis, rec: Recording) -> str:
    """The files that the recording and the explanation speak of, without spaces."""
    places = [call.source for call in (*rec.calls, *rec.functions)]
    files = {place.file for place in places if place is not None}
    text = "".join(line for file in files for line in linecache.getlines(file))
    return re.sub(r"\s", "", text)


def _attributes(found: Diagnosis, rec: Recording) -> Iterator[str]:
    for culprit in found.culprits:
        info = rec.modules.get(culprit.name) if culprit.kind == "module" else None
        if info is None:
            continue
        for name, value in GIVEN.findall(f" {culprit.reason}"):
            yield from _attribute(info, name, int(value))
    failed = rec.modules.get(found.where.removeprefix("module:"))
    if failed is not None and found.where.startswith("module:"):
        for name, value in OWN.findall(found.message):
            yield from _attribute(failed, name, int(value))


def _attribute(info: ModuleInfo, name: str, value: int) -> Iterator[str]:
    """Held against the attribute, and what the tensors of the module say of it."""
    have = info.attributes.get(name)
    if have is None:
        tensors = [ref.shape for ref in (*info.parameters, *info.buffers)]
        if not any(value in shape or prod(shape) == value for shape in tensors):
            yield f"{info.name} ({info.type}) has no {name}"
    elif isinstance(have, int) and have != value and type(have) is not bool:
        if not any(value in ref.shape for ref in info.parameters):
            yield f"{info.name}.{name} is {have}, not {value}"


def _lines(found: Diagnosis) -> Iterator[str]:
    if found.source is None or not linecache.getlines(found.source.file):
        return
    last = len(linecache.getlines(found.source.file))
    for number in LINE.findall(found.text):
        if int(number) > last:
            yield f"line {number} of {last}"
