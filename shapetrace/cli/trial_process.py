"""The process in which `--try-fixes` runs a program with one fix: see `fix_trials`."""

from __future__ import annotations

import json
import os
import sys
from importlib.machinery import SourceFileLoader
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from shapetrace.cli import program
from shapetrace.cli.fix_trials import Trial
from shapetrace.cli.script_trace import ScriptTrace
from shapetrace.recording import tracebacks
from shapetrace.recording.events import error_tuple
from shapetrace.source.place import locate


class _Enough(BaseException):
    """The program has gone further than before."""


def _run(trial: Trial) -> dict[str, Any]:
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
    found = program.again(trial.arguments)
    code = found.code
    if os.path.realpath(found.path) == os.path.realpath(trial.file):
        code = compile(trial.text, found.path, "exec", dont_inherit=True)
    register_optimizer_step_post_hook(stepped)
    error, ended = None, "ran to its end"
    t = ScriptTrace.of_script()
    with found.as_main() as module, t:
        try:
            exec(code, module.__dict__)
        # a script that ends itself, whatever it gives for a status, ran to its end
        except SystemExit:
            pass
        except _Enough:
            ended = f"ran: step {taken} was taken"
        except BaseException as raised:  # whatever the script raises is what came of it
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
