"""An explanation as lines of styled pieces: for plain text, a terminal and HTML alike.

Always in one order: what failed, the line of code with a mark under the expression, the
tensors, the way back, the culprits, the fixes as changed lines, remarks.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal, TypeAlias

from shapetrace.lineage.steps import PASSES, of_the_user
from shapetrace.records import Culprit, Diagnosis, Fix, Operand, Source, Step
from shapetrace.records.printable import printable
from shapetrace.source.place import segment
from shapetrace.source.spoken import said_step, spoken
from shapetrace.source.tree import package_of

Style = Literal[
    "message", "place", "code", "mark", "odd", "heading", "culprit", "old", "new", ""
]
Piece: TypeAlias = tuple[Style, str]
Line: TypeAlias = list[Piece]

#: lines of a whole explanation
_LINES = 25
_NARROWEST = 40


@dataclass(frozen=True, slots=True)
class _Room:
    """How much of each part is shown."""

    steps: int
    fixes: int
    #: of so many fixes the old lines too
    old: int
    code: int


#: from all that is useful to what must not be missing
_ROOMS = (
    _Room(steps=8, fixes=3, old=3, code=3),
    _Room(steps=6, fixes=3, old=1, code=2),
    _Room(steps=4, fixes=2, old=1, code=2),
    _Room(steps=3, fixes=1, old=0, code=1),
)


def pieces(diagnosis: Diagnosis, width: int = 100) -> list[Line]:
    """The lines of an explanation, each a list of (style, text).

    >>> found = Diagnosis("failure", "error", "`add` failed: 2 is not 3.", "")
    >>> pieces(found)
    [[('message', '`add` failed: 2 is not 3.')]]
    """
    made: list[Line] = []
    for room in _ROOMS:
        made = list(_Page(diagnosis, max(width, _NARROWEST), room).lines())
        if len(made) <= _LINES:
            break
    return [[(style, printable(text)) for style, text in line] for line in made]


def marked(shape: Sequence[int], dim: int | None) -> str:
    """A shape with one dimension marked: `(2, >73<)`."""
    sizes = [f">{n}<" if i == dim else str(n) for i, n in enumerate(shape)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


class _Page:
    """One explanation at one width. The file of the call that it is about is named
    once, then its lines alone."""

    def __init__(self, diagnosis: Diagnosis, width: int, room: _Room) -> None:
        self._of = diagnosis
        self._width = width
        self._room = room
        at = diagnosis.source
        self._file = at.file if at is not None and at.cell is None else None

    def lines(self) -> Iterator[Line]:
        of = self._of
        yield from self._wrapped([("message", of.message)])
        yield from self._code()
        yield from self._tensors(of.operands)
        yield from self._way(of.lineage)
        if of.severity != "note":
            yield from self._culprits(of.culprits)
        yield from self._fixes(of.fixes)
        for remark in of.remarks:
            yield from self._wrapped([("", self._plain(remark))], most=2)
        if of.page:
            more = f"See {of.page}, or: shapetrace explain {of.code}"
            yield from self._wrapped([("", more)])

    # -- places -----------------------------------------------------------------------

    def _place(self, source: Source | None) -> str:
        if source is None:
            return ""
        return f"line {source.line}" if source.file == self._file else str(source)

    def _plain(self, text: str) -> str:
        """Words in which the file that is named already is not named again."""
        if self._file is None:
            return text
        name = re.escape(os.path.basename(self._file))
        return re.sub(rf"(?<![\w./\\-]){name}:(\d+)", r"line \1", text)

    # -- the line of code -------------------------------------------------------------

    def _code(self) -> Iterator[Line]:
        source = self._of.source
        if source is None:
            return
        inside = source.function.replace(".<locals>", "")
        where = f" in {inside}" if inside and inside[0] != "<" else ""
        package = package_of(source)
        if package != os.path.basename(source.file):
            where += f" ({package})"
        lines = [line.rstrip() for line in self._of.excerpt]
        if not any(lines):
            yield [("place", f"  --> {source}{where}")]
            return
        wide = len(str(source.line + len(lines) - 1))
        yield [("place", f"{'':{wide}}--> {source}{where}")]
        margin = min(len(line) - len(line.lstrip()) for line in lines if line)
        for number, line in enumerate(lines[: self._room.code]):
            begin, end = columns(source, line, number, len(lines))
            text, begin, end = _cropped(
                line[margin:], begin - margin, end - margin, self._width - wide - 3
            )
            yield [("place", f"{source.line + number:{wide}} | "), ("code", text)]
            if end > begin and number == 0:
                before = f"{'':{wide}} | "
                marks = "^" * (end - begin)
                yield [("place", before), ("", " " * begin), ("mark", marks)]

    # -- tensors ----------------------------------------------------------------------

    def _tensors(self, operands: Sequence[Operand]) -> Iterator[Line]:
        rows = [
            (each.label, marked(each.shape, each.dim), each.dtype, self._origin(each))
            for each in operands[:5]
        ]
        yield from self._table(rows)

    def _origin(self, operand: Operand) -> str:
        place, origin = self._place(operand.source), self._plain(operand.origin)
        return f"{origin} at {place}" if place else origin

    def _table(self, rows: Sequence[tuple[str, ...]]) -> Iterator[Line]:
        """Rows in columns; a last cell for which there is no room goes below."""
        if not rows:
            return
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
        for row in rows:
            cells = [cell.ljust(w) for cell, w in zip(row, widths, strict=False)]
            head = "  " + "  ".join(cells)
            line = f"{head}  {row[-1]}".rstrip()
            if len(line) <= self._width:
                yield _with_odd(line)
                continue
            if len(head.rstrip()) > self._width:
                yield from self._wrapped(
                    [("", "  ".join(cell for cell in row if cell))]
                )
                continue
            yield _with_odd(head.rstrip())
            for part in textwrap.wrap(row[-1], self._width - 6, max_lines=2):
                yield [("", f"      {part}")]

    # -- the way back -----------------------------------------------------------------

    def _way(self, steps: Sequence[Step]) -> Iterator[Line]:
        if not steps:
            return
        first = steps[0]
        odd = f" of the {first.shape[first.dim]}" if first.dim is not None else ""
        yield [("heading", f"Way back{odd}, newest first:")]
        kept, left_out = of_the_user(steps)
        rows: list[tuple[str, ...]] = []
        for step, count in folded(kept, self._room.steps):
            if count:
                rows.append((f"… {count} more", "", "", "", ""))
                continue
            how = "" if step.how == PASSES else self._plain(step.how)
            how += "" if step.sure else " (a guess)"
            name, shape = said_step(self._of.called, step), marked(step.shape, step.dim)
            rows.append((name, step.type, shape, self._place(step.source), how))
        yield from self._table(rows)
        if left_out:
            names = dict.fromkeys(
                package_of(step.source) for step in left_out if step.source is not None
            )
            calls = f"{len(left_out)} call{'s' * (len(left_out) > 1)}"
            yield [("", f"  … {calls} inside {', '.join(names)}")]

    # -- culprits ---------------------------------------------------------------------

    def _culprits(self, culprits: Sequence[Culprit]) -> Iterator[Line]:
        for lead, culprit in zip(leads(culprits), culprits, strict=True):
            reason, expected = self._plain(culprit.reason).rstrip("."), culprit.expected
            said = f" {reason}" if reason else ""
            if expected is not None and not re.search(rf"\b{expected}\b", reason):
                said += f"{';' if reason else ','} {expected} would fit"
            name = self._name(culprit)
            yield from self._wrapped(
                [("heading", f"{lead} "), ("culprit", name), ("", f"{said}.")], most=3
            )

    def _name(self, culprit: Culprit) -> str:
        if culprit.kind in ("target", "input"):
            return f"the {self._plain(culprit.name)}"
        if culprit.kind == "module":
            name = spoken(self._of.called, culprit.name)
            return f"`{name}`" if name else "the model itself"
        place = self._place(culprit.source)
        code = segment(culprit.source) if culprit.source != self._of.source else ""
        name = code if 0 < len(code) <= _CODE else culprit.name
        return f"`{name}`" + (f" at {place}" if place else "")

    # -- fixes ------------------------------------------------------------------------

    def _fixes(self, fixes: Sequence[Fix]) -> Iterator[Line]:
        for number, fix in enumerate(fixes[: self._room.fixes]):
            place = self._place(fix.where)
            last = fix.where.end_line if fix.where is not None else None
            if fix.where is not None and last not in (None, fix.where.line):
                place = f"{place.replace('line', 'lines')}-{last}"
            where = f", {place}" if place else ", a line to add"
            said = [self._plain(fix.detail)] if fix.detail else []
            said += [f"loses {self._plain(fix.loses)}"] if fix.loses else []
            head = f"{'Or' if number else 'Fix'} ({fix.status}){where}"
            note = f": {'; '.join(said)}" if said else ":"
            yield from self._wrapped([("heading", head), ("", note)], most=2)
            old, new = changed_lines(fix)
            for line in old if number < self._room.old else ():
                yield from self._pasted("old", "  - ", line)
            for line in new:
                yield from self._pasted("new", "  + ", line)
        more = len(fixes) - self._room.fixes
        if more > 0:
            yield [("", f"… and {more} more fix{'es' * (more > 1)}")]

    def _pasted(self, style: Style, sign: str, line: str) -> Iterator[Line]:
        parts = textwrap.wrap(
            line,
            self._width - 4,
            subsequent_indent="    ",
            drop_whitespace=False,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for number, part in enumerate(parts or [""]):
            yield [(style, (sign if number == 0 else "    ") + part)]

    # -- words ------------------------------------------------------------------------

    def _wrapped(self, said: Line, *, most: int = 4) -> Iterator[Line]:
        """Pieces that follow one another, broken at the width."""
        words = re.sub(r"\s", " ", "".join(part for _, part in said))
        styles = [style for style, part in said for _ in part]
        rows = textwrap.wrap(
            words,
            self._width,
            subsequent_indent="  ",
            max_lines=most,
            placeholder=_CUT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        at = 0
        for number, row in enumerate(rows):
            body = row[2:] if number else row
            cut = body.endswith(_CUT)
            body = body.removesuffix(_CUT)
            start = words.index(body, at)
            at = start + len(body)
            made: Line = [("", "  ")] if number else []
            for style, run in groupby(range(start, at), styles.__getitem__):
                made.append((style, "".join(words[i] for i in run)))
            yield [*made, ("", _CUT)] if cut else made


_CUT = " …"
_CODE = 50  # characters of the user's code within a sentence


def leads(culprits: Sequence[Culprit]) -> list[str]:
    """How each culprit is introduced, by how likely it is."""
    if not culprits:
        return []
    first = culprits[0].probability
    several = len(culprits) > 1
    if not first:
        rest = ["Or:"] * (len(culprits) - 1)
        return ["Most likely:" if several else "Culprit:", *rest]
    if several and first - culprits[1].probability < _ALIKE:
        return ["Either:", *["Or:"] * (len(culprits) - 1)]
    if first >= _CERTAIN:
        lead = "Almost certainly"
    else:
        lead = "Most likely" if first >= 0.5 else "Perhaps"
    words = [lead, *["Or"] * (len(culprits) - 1)]
    return [
        f"{word} ({percent(each.probability)}):" for word, each in zip(words, culprits)
    ]


_ALIKE = 0.1
_CERTAIN = 0.9


def percent(probability: float) -> str:
    """A probability in words: what is not certain is neither 0 nor 100 %."""
    number = round(100 * probability)
    return "< 1 %" if number < 1 else f"{min(number, 99)} %"


def changed_lines(fix: Fix) -> tuple[list[str], list[str]]:
    """The old and the new lines of a fix, those left out that stay as they are."""
    new = fix.line.split("\n")
    if not fix.old:
        return [], new
    old = fix.old.split("\n")
    gone: list[str] = []
    come: list[str] = []
    for tag, a, b, c, d in SequenceMatcher(None, old, new, False).get_opcodes():
        if tag != "equal":
            gone += old[a:b]
            come += new[c:d]
    margin = min((len(t) - len(t.lstrip()) for t in (*gone, *come) if t), default=0)
    return [line[margin:] for line in gone], [line[margin:] for line in come]


def folded(steps: Sequence[Step], most: int) -> list[tuple[Step, int]]:
    """Steps to show, with (step, n) standing for n in a row that are left out."""
    if len(steps) <= most:
        return [(step, 0) for step in steps]
    telling = [
        i
        for i, step in enumerate(steps)
        if i in (0, len(steps) - 1) or (step.dim is not None and step.how != PASSES)
    ]
    lines = max(most - 2, 2)  # between any two a line may count what is left out
    if len(telling) > lines:
        telling = [*telling[: lines - 1], telling[-1]]
    elif len(telling) < 3 <= lines:
        telling = sorted({*range(lines - 1), *telling})
    shown: list[tuple[Step, int]] = []
    before = -1
    for i in telling:
        if i - before == 2:  # the one left out takes no more room than "1 more"
            shown.append((steps[i - 1], 0))
        elif i - before > 2:
            shown.append((steps[i], i - before - 1))
        shown.append((steps[i], 0))
        before = i
    return shown


def columns(source: Source, line: str, number: int, count: int) -> tuple[int, int]:
    """From which character to which a line of an excerpt is marked."""
    if source.column is None or source.end_column is None:
        return 0, 0
    raw = line.encode("utf-8", "surrogatepass")
    begin = len(raw[: source.column].decode(errors="replace"))
    end = len(raw[: source.end_column].decode(errors="replace"))
    if number > 0:
        begin = len(line) - len(line.lstrip())
    return begin, end if number == count - 1 else len(line)


def _cropped(text: str, begin: int, end: int, room: int) -> tuple[str, int, int]:
    """A line that is longer than there is room, around what is marked in it."""
    if len(text) <= room:
        return text, begin, end
    first = min(max(0, begin - 4), len(text) - room + 1) if end > room - 1 else 0
    cut = text[first : first + room - 2]
    head, tail = "…" * (first > 0), "…" * (first + room - 2 < len(text))
    begin, end = begin - first + len(head), end - first + len(head)
    return f"{head}{cut}{tail}", begin, min(end, len(head) + len(cut))


def _with_odd(line: str) -> Line:
    """A line of a table, the marked dimensions in a style of their own."""
    made: Line = []
    for part in re.split(r"(>\d+<)", line):
        if part:
            made.append(("odd" if re.fullmatch(r">\d+<", part) else "", part))
    return made
