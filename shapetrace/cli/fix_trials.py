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
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.machinery import SourceFileLoader
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from shapetrace.recording import tracebacks
from shapetrace.recording.events import error_tuple
from shapetrace.records import Diagnosis, Fix
from shapetrace.source.place import locate

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
) -> Iterable[str]:
    """One line for each fix: what the program did with it.

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
                said = "not tried: it has no place in the script's files"
            else:
                trial = Trial(arguments, fix.where.file, text, steps + 1)
                said = _came_of(trial, finding, seconds)
            yield f"{fix.line.strip()}\n    {said}"


def _came_of(trial: Trial, finding: Diagnosis, seconds: float) -> str:
    with tempfile.TemporaryDirectory() as folder:
        told = os.path.join(folder, "trial.json")
        with open(told, "w", encoding="utf-8") as file:
            json.dump(asdict(trial), file)
        command = [sys.executable, "-m", "shapetrace.cli.fix_trials", told]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"ran for {seconds:.0f} seconds without failing, and was ended"
        with open(told, encoding="utf-8") as file:
            result = json.load(file)
    if "ended" not in result:
        return f"the process ended by itself, with status {done.returncode}"
    if result["error"] is not None:
        return f"failed at {result['place']}: {result['error']}"
    if finding.code != "failure" and finding.code in result["findings"]:
        return f"ran, and {finding.code} is still there"
    return str(result["ended"])


# -- in the process of the trial -----------------------------------------------------


class _Enough(BaseException):
    """The program has gone further than before."""


def _run(trial: Trial) -> dict[str, Any]:
    from shapetrace.cli import program
    from shapetrace.cli.parser import run_options
    from shapetrace.cli.run import ScriptTrace

    taken = 0

    def stepped(*given: Any) -> None:
        nonlocal taken
        taken += 1
        if taken >= trial.steps:
            raise _Enough

    read = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, name: str) -> Any:
        if os.path.realpath(self.path) == os.path.realpath(trial.file):
            return compile(trial.text, self.path, "exec", dont_inherit=True)
        return read(self, name)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]
    found = program.find(run_options(trial.arguments))
    code = found.code
    if os.path.realpath(found.path) == os.path.realpath(trial.file):
        code = compile(trial.text, found.path, "exec", dont_inherit=True)
    register_optimizer_step_post_hook(stepped)
    error, ended = None, "ran to its end"
    t = ScriptTrace.of_script()
    with found.as_main() as module, t:
        try:
            exec(code, module.__dict__)
        except SystemExit:
            pass
        except _Enough:
            ended = f"ran: step {taken} was taken"
        except BaseException as raised:
            tracebacks.clean(raised)
            error = raised
    place = None
    if error is not None and (at := error_tuple(error)[3]) is not None:
        place = str(locate(*at))
    return {
        "ended": ended,
        "error": None if error is None else f"{type(error).__name__}: {error}",
        "place": place,
        "findings": [] if error else [found.code for found in t.findings],
    }


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as given:
        result = _run(Trial(**json.load(given)))
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        json.dump(result, out)
