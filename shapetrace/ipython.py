"""`%load_ext shapetrace`, then `%%shapetrace model` on a cell: the cell under a trace.

The cell runs in the notebook's own namespace and shows its last expression as ever; the
table appears below it. A failure appears as the cell's own traceback would, with the
explanation under it.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import shlex
from types import TracebackType
from typing import Any, NoReturn

from IPython.core.error import UsageError
from IPython.display import display

from shapetrace.recording import tracebacks
from shapetrace.source.place import cell
from shapetrace.trace import trace


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext shapetrace` calls with IPython's shell."""

    def shapetrace(line: str, code: str) -> Any:
        return _run(shell, _Arguments().parse_args(shlex.split(line)), code)

    shapetrace.__doc__ = _Arguments().format_help()
    shell.register_magic_function(shapetrace, "cell")


class _Arguments(argparse.ArgumentParser):
    """The magic's line. What it cannot read is told as other magics tell it."""

    def __init__(self) -> None:
        super().__init__(
            prog="%%shapetrace",
            description="Run the cell under a trace and show its table.",
            add_help=False,
        )
        self.add_argument(
            "model", nargs="*", help="what to trace; none: every module called"
        )
        self.add_argument(
            "-o", "--output", metavar="NAME", help="keep the trace under this name"
        )
        self.add_argument(
            "--memory", action="store_true", help="account for activations' bytes"
        )
        self.add_argument(
            "--backward", action="store_true", help="time each module's backward"
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"%%shapetrace: {message}")


def _run(shell: Any, given: argparse.Namespace, code: str) -> Any:
    models = [_value(shell, name) for name in given.model]
    t = trace(*models, memory=given.memory, backward=given.backward)
    t._ask = "With -o t, print(t.findings[{number}])"
    if given.output:
        shell.user_ns[given.output] = t
        t._ask, t._kept_as = None, given.output
    value = None
    try:
        # the magic's own line stands for the first, so that the lines' numbers stay
        body, last = _compiled(shell, "\n" + shell.transform_cell(code))
        with t:
            exec(body, shell.user_ns)
            if last is not None:
                value = eval(last, shell.user_ns)
    # the cell's own, which goes on as without us
    except (Exception, KeyboardInterrupt) as error:
        _show_as_the_cells(shell, error)
        raise
    display(t)  # type: ignore[no-untyped-call]
    return value


def _value(shell: Any, name: str) -> Any:
    try:
        return eval(name, shell.user_ns)
    except Exception as error:  # the user's expression may raise anything
        raise UsageError(f"%%shapetrace {name}: {error}") from None


def _compiled(shell: Any, code: str) -> tuple[Any, Any]:
    """The cell's statements, and its last expression (None: there is none to show)."""
    compiler = shell.compile
    file = compiler.cache(code, _number(shell), code)
    tree = compiler.ast_parse(code, file)
    last = None
    shown = not code.rstrip().endswith(";")
    if shown and tree.body and isinstance(tree.body[-1], ast.Expr):
        last = compiler(ast.Expression(tree.body.pop().value), file, "eval")
    return compiler(tree, file, "exec"), last


def _number(shell: Any) -> int:
    """The number of the running cell. IPython 9 counts it before the cell runs, IPython
    8 afterwards; the code that calls the magic bears the number in both."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals is not shell.user_ns:
        frame = frame.f_back
    found = cell(frame.f_code.co_filename) if frame is not None else None
    return found or int(shell.execution_count)


def _show_as_the_cells(shell: Any, error: BaseException) -> None:
    """Have the next traceback shown from the cell's own code on, without the frames of
    the magic that ran it; none where that code is no Python."""
    found = error.__traceback__
    while found is not None and found.tb_frame.f_globals is not shell.user_ns:
        found = found.tb_next
    before = shell.custom_exceptions, shell.CustomTB

    def show(
        shell: Any,
        kind: type[BaseException],
        error: BaseException,
        tb: TracebackType | None,
        tb_offset: int | None = None,
    ) -> None:
        shell.custom_exceptions, shell.CustomTB = before
        if found is None and isinstance(error, SyntaxError):
            shell.showsyntaxerror()
            return
        shell.showtraceback((kind, error, found or tb), tb_offset=0 if found else None)

    tracebacks.clean(error)
    shell.set_custom_exc((type(error),), show)
