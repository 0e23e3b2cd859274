"""Programs that lie in files, each with `build`, `step`, `TRUTH`, perhaps `MENDED`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .case import Case


def constants(text: str) -> dict[str, Any]:
    """The plain values that a program assigns at its top, without running it."""
    found: dict[str, Any] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value
            if isinstance(value, ast.Call) and not value.args:  # TRUTH = dict(...)
                keys: list[ast.expr | None] = [
                    ast.Constant(word.arg) for word in value.keywords
                ]
                value = ast.Dict(keys, [word.value for word in value.keywords])
            try:
                found[node.targets[0].id] = ast.literal_eval(value)
            except ValueError:
                continue
    return found


def mended(text: str, pairs: list[tuple[str, str]] | None) -> str | None:
    """The program with the pairs of old and new text exchanged."""
    if not pairs:
        return None
    good = text.partition("\nMENDED")[0]
    for old, new in pairs:
        if old not in good:
            raise ValueError(f"not in the program: {old}")
        good = good.replace(old, new)
    return good + "\n"


def programs(folder: Path, corpus: str, fitted: bool = False) -> Iterator[Case]:
    """All programs of a folder; those of one report are a family."""
    for path in sorted(folder.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        values = constants(text)
        if "TRUTH" not in values:
            continue
        truth = values["TRUTH"]
        named = {c.replace("op:", "function:").rstrip("_") for c in truth["culprits"]}
        yield Case(
            corpus,
            values.get("SOURCE", path.stem).partition(" ")[0],
            path.stem,
            values["CATEGORY"],
            text,
            fitted,
            frozenset(named),
            mended(text, values.get("MENDED")),
        )
