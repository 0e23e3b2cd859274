"""`--try-fixes`: what comes of a fix when the script really runs with it.

The changed text is compiled in place of the file's, in a process of its own; the file
is not touched. What the script writes elsewhere, it writes again.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace

from shapetrace.records import Diagnosis, Fix

#: fixes of one finding that are tried
MOST_FIXES = 3


@dataclass(frozen=True, slots=True)
class Trial:
    """What to run: the command line of the program, the file to change, and after how
    many steps of training it is known that the change has helped."""

    arguments: list[str]
    file: str
    text: str
    steps: int


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a fix, in words; `ran` is None where it was not tried."""

    fix: Fix
    said: str
    ran: bool | None = None

    @property
    def mended(self) -> Fix:
        """The fix with what is known of it now."""
        if self.ran is None:
            return self.fix
        if self.ran:
            return replace(self.fix, status="verified")
        return replace(self.fix, status="moved", detail=self.said)


def changed(fix: Fix) -> str | None:
    """The text of the fix's file with the fix in it; None where it has no place."""
    source = fix.where
    if source is None or not os.path.isfile(source.file):
        return None
    with open(source.file, encoding="utf-8") as file:
        text = file.read()
    around = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.stmt) and node.lineno <= source.line <= _end(node)
    ]
    if not around:
        return None
    statement = max(around, key=lambda node: node.lineno)
    lines = text.splitlines(keepends=True)
    first = lines[statement.lineno - 1]
    indent = first[: len(first) - len(first.lstrip())]
    new = "".join(f"{indent}{line}\n" for line in fix.line.splitlines())
    lines[statement.lineno - 1 : _end(statement)] = [new]
    return "".join(lines)


def _end(node: ast.stmt) -> int:
    """The last line of a statement; of one that has a body, of its head."""
    body = getattr(node, "body", None)
    if body:
        return max(node.lineno, int(body[0].lineno) - 1)
    return node.end_lineno or node.lineno


def try_fixes(
    findings: Iterable[Diagnosis], arguments: list[str], steps: int, seconds: float
) -> Iterator[Tried]:
    """Each fix, and what the program did with it.

    Args:
        findings: whose fixes are to be tried.
        arguments: the command line of the program, `["train.py", "--epochs", "1"]`.
        steps: the program is to take one training step more than these, or to end.
        seconds: how long to wait for it.
    """
    for finding in findings:
        for fix in finding.fixes[:MOST_FIXES]:
            text = changed(fix)
            if text is None or fix.where is None:
                yield Tried(fix, "not tried: it has no place in the script's files")
            else:
                trial = Trial(arguments, fix.where.file, text, steps + 1)
                yield Tried(fix, *_came_of(trial, finding, seconds))


def _came_of(
    trial: Trial, finding: Diagnosis, seconds: float
) -> tuple[str, bool | None]:
    with tempfile.TemporaryDirectory() as folder:
        told = os.path.join(folder, "trial.json")
        with open(told, "w", encoding="utf-8") as file:
            json.dump(asdict(trial), file)
        command = [sys.executable, "-m", "shapetrace.cli.trial_process", told]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            said = f"ran for {seconds:.0f} seconds without failing, and was ended"
            return said, None
        with open(told, encoding="utf-8") as file:
            result = json.load(file)
    if "ended" not in result:
        return f"the process ended by itself, with status {done.returncode}", None
    if result["error"] is not None:
        return f"failed at {result['place']}: {result['error']}", False
    if finding.code != "failure" and finding.code in result["findings"]:
        return f"ran, and {finding.code} is still there", False
    return str(result["ended"]), True
