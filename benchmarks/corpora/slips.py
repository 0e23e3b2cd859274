"""Correct training scripts with one slip each, as `slips.jsonl` lists them.

A line of the table is one slip in one script of `scripts/`: where, what was written
instead, what it is called, who is to blame, and what it does with each choice of
sizes. `python benchmarks/write_slips.py` finds them anew.

- `distinct`: every size of the script is another number, and has a name;
- `literal`: the same sizes as plain numbers, as most scripts have them;
- `equal`: all sizes that can be are the same number. Who is to blame is the same;
- `single`: as `distinct`, with a batch of one.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .case import Case, held_out, place

SCRIPTS = Path(__file__).with_name("scripts")
TABLE = Path(__file__).with_name("slips.jsonl")
#: data of another size: whether they or the model are to be changed stays open
OPEN = ("last short batch", "data of another size", "swapped sizes of data")
SIZES = ("distinct", "literal", "equal")


def names_of(tree: ast.Module) -> ast.Assign:
    """The line with the sizes: `BATCH, HIDDEN = 4, 16`."""
    return next(node for node in tree.body if isinstance(node, ast.Assign))


def sized(text: str, which: str) -> str:
    """The script with one of its choices of sizes."""
    tree = ast.parse(text)
    line = names_of(tree)
    target = line.targets[0]
    assert isinstance(target, ast.Tuple)
    names = [ast.unparse(name) for name in target.elts]
    numbers = dict(zip(names, ast.literal_eval(line.value), strict=True))
    body, _, equal = text.partition("\n\n\nEQUAL = dict")
    if which == "equal":
        numbers = eval(f"dict{equal}", {"__builtins__": {"dict": dict}})
    if which == "single":
        numbers["BATCH"] = 1
    lines = body.split("\n")
    if which == "literal":
        for node in sorted(
            (n for n in ast.walk(ast.parse(body)) if isinstance(n, ast.Name)),
            key=lambda n: (-n.lineno, -n.col_offset),
        ):
            if node.id in numbers and node.lineno != line.lineno:
                old = lines[node.lineno - 1]
                number = str(numbers[node.id])
                end = node.end_col_offset
                lines[node.lineno - 1] = old[: node.col_offset] + number + old[end:]
        del lines[line.lineno - 1 : line.lineno + 2]
    else:
        values = ", ".join(str(numbers[name]) for name in names)
        lines[line.lineno - 1] = f"{', '.join(names)} = {values}"
    return "\n".join(lines) + "\n"


def table() -> list[dict[str, Any]]:
    if not TABLE.exists():
        return []
    return [json.loads(line) for line in TABLE.read_text("utf-8").splitlines()]


def broken(row: dict[str, Any], text: str) -> str:
    """The script with the slip of a row, sizes and all."""
    start, old = row["start"], row["old"]
    if text[start : start + len(old)] != old:
        raise ValueError(f"{row['script']} has changed: write the table anew")
    return text[:start] + row["new"] + text[start + len(old) :]


def slips() -> Iterator[Case]:
    texts = {path.stem: path.read_text("utf-8") for path in SCRIPTS.glob("*.py")}
    for row in table():
        text = texts[row["script"]]
        line = text.count("\n", 0, row["start"]) + 1
        column = row["start"] - text.rfind("\n", 0, row["start"])
        position = f"{row['script']}:{line}:{column}"
        for sizes, category in row["sizes"].items():
            if (
                sizes == "distinct"
                and place(row["script"], row["new"], row["kind"]) < 0.5
            ):
                sizes = "literal"
            yield Case(
                "slips",
                row["script"],
                f"{position} {row['kind']}, {row['new']} ({sizes})",
                category,
                sized(broken(row, text), sizes),
                not held_out(row["script"]),
                frozenset(row["culprits"]),
                None if row["kind"] in OPEN else sized(text, sizes),
                kind=row["kind"],
            )


def scripts() -> Iterator[Case]:
    """The scripts as they are: correct."""
    for path in sorted(SCRIPTS.glob("*.py")):
        for sizes in SIZES:
            text = sized(path.read_text("utf-8"), sizes)
            name = f"{path.stem} ({sizes})"
            yield Case("scripts", path.stem, name, "correct", text, False)
