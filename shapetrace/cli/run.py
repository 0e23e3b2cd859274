"""`shapetrace run`: a script under a trace, and its report whatever becomes of it.

The script runs as Python would run it: as `__main__`, with its own arguments, its
directory first on `sys.path`, its exit status, and a traceback that starts in it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from shapetrace.cli import output, program, torchrun
from shapetrace.cli.console import INTERRUPTED, say, show, waiting
from shapetrace.cli.fix_trials import Tried, try_fixes
from shapetrace.cli.processes import Processes
from shapetrace.cli.script_trace import ScriptTrace
from shapetrace.cli.stuck import Terminated
from shapetrace.cli.training_steps import Steps
from shapetrace.recording import tracebacks
from shapetrace.records.garbage import uncollected
from shapetrace.trace import Trace
from shapetrace.views.words import plural

#: `--try-fixes` gives a fix as many seconds, and three times as long as the script took
PATIENCE = 60
#: `--memory` and `--backward` need every call, so that they end after so many steps
FEW_STEPS = 10


def run(options: argparse.Namespace) -> int:
    """Run the script, write the files, print the report; the script's exit status."""
    found = program.find(options)
    output.check_columns(options)
    files = output.paths(options, "csv", "json", "html")
    whole = os.path.abspath(options.json) if options.json else None
    everything = options.memory or options.backward
    count = options.steps or (FEW_STEPS if everything else None)
    t = ScriptTrace.of_script(
        options.functions,
        options.checks,
        options.memory,
        options.backward,
        everything=count is not None,
    )
    steps = Steps(t, options.first or 1, count)
    processes, own = Processes(), os.getpid()
    error: BaseException | None = None

    def so_far(waits: str) -> None:
        """The report of a rank that is to end, and waits where it cannot."""
        output.so_far(t, files, waits)
        if whole is not None:
            output.merge(whole)

    if whole is not None and torchrun.rank() is not None:
        torchrun.begin(whole)
    with found.as_main() as module, torchrun.InOrder(so_far) as order:
        processes.watch()
        began = time.monotonic()
        try:
            try:
                steps.begin()
                exec(found.code, module.__dict__)
            finally:
                order.script_ended()
        except BaseException as raised:  # whatever it is, the report comes first
            error = raised
        if os.getpid() != own:  # a process that the script has forked: it has no report
            return 0 if error is None else _pass_on(error)
        processes.ignore()
        left = isinstance(error, SystemExit) and not isinstance(error, Terminated)
        failed = None if left else error
        with uncollected():  # of an epoch's report a third of the time
            try:
                with waiting("reading what was recorded"):
                    steps.end(failed)
            except KeyboardInterrupt:
                # of patience with this, not with the report: `_report` asks again for
                # what was not read, says that it takes long, and a second one leaves
                # it out
                pass
            took = time.monotonic() - began
            try:
                status = _report(t, files, options, failed)
            except KeyboardInterrupt:
                say("interrupted: the report ends here")
                status = INTERRUPTED
        if whole is not None:
            output.merge(whole)
        _remark(steps, processes, options, failed)
        tried = _try_fixes(t, found, steps.taken, took) if options.try_fixes else ()
        if error is None:
            return status
        if isinstance(failed, Exception):
            show("")  # between the report and the traceback
            output.fit(failed, t.failure, tried)
        return _pass_on(error)


def _report(
    t: ScriptTrace,
    files: dict[str, str],
    options: argparse.Namespace,
    failed: BaseException | None,
) -> int:
    """Files, table and explanations. Ctrl-C leaves out what takes so long, not all."""
    made: Trace = t
    try:
        with waiting(f"explaining {plural(len(t.calls), 'module call')}; Ctrl-C skips"):
            findings = t.findings
    except KeyboardInterrupt:
        say("interrupted: the report is without findings")
        made, findings = t.without_findings(), ()
    status = output.write(made, files)
    number = torchrun.rank()
    # apart from what the script has printed, the last line of which may be open
    title = "\n" if number is None else f"\n[rank {number}]\n"
    output.table(made, options, title)
    # an exception that leaves the script bears its explanation; one that it caught
    # has taken the explanation along
    said = {"failure"} if isinstance(failed, Exception) else set()
    output.explain(one for one in findings if one.code not in said)
    return status


def _remark(
    steps: Steps,
    processes: Processes,
    options: argparse.Namespace,
    failed: BaseException | None,
) -> None:
    """What a reader must know of what is not in the report."""
    taken = plural(steps.taken, "step")
    if not steps.begun:
        say(f"--from {options.first}: the script took {taken}, so nothing was traced")
    elif steps.over and options.steps is None:
        say(
            f"--memory and --backward trace {FEW_STEPS} steps of {steps.taken}, unless "
            "--steps says otherwise"
        )
    if steps.over and isinstance(failed, Exception):
        say(f"the script failed after the traced steps: --from {steps.taken + 1}")
    if processes.started:
        say(
            "the script started other processes (data loaders' workers are some): what "
            "runs there is not in this report"
        )


def _try_fixes(
    t: Trace, found: program.Program, taken: int, took: float
) -> Sequence[Tried]:
    serious = [one for one in t.findings if one.severity != "note" and one.fixes]
    if not serious:
        say("--try-fixes: there is no fix to try")
        return ()
    show("\nTried on a copy of the script:")
    made = []
    for tried in try_fixes(serious, found.arguments, taken, PATIENCE + 3 * took):
        show(f"  {str(tried.fix).strip()}\n    {tried.said}")
        made.append(tried)
    return made


def _pass_on(error: BaseException) -> int:
    """Let the script's exception end the command as it would have ended the script."""
    if isinstance(error, SystemExit):
        raise error
    tracebacks.clean(error)
    sys.excepthook(type(error), error, error.__traceback__)
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
