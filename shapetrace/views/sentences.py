"""The sentences around a table: what was traced, and what the table leaves out."""

from __future__ import annotations

from shapetrace.records import Diagnosis, Recording
from shapetrace.views import words
from shapetrace.views.parameters import all_parameters
from shapetrace.views.rows import Sheet, root_ns


def summary(rec: Recording, failure: Diagnosis | None) -> str:
    """`Net: 12 module calls, 20 functions, 3.2 ms, failed at loss:mse_loss`."""
    said = [words.plural(len(rec.calls), "module call")]
    if rec.has_functions:
        said.append(words.plural(len(rec.functions), "function"))
    if rec.has_timing and rec.calls:
        said.append(f"{words.milliseconds(root_ns(rec), 1)} ms")
    if failure is not None:
        said.append(f"failed at {failure.where}")
    elif rec.error is not None:
        said.append(f"failed with {rec.error.type}")
    return words.one_line(f"{title(rec)}: {', '.join(said)}")


def title(rec: Recording) -> str:
    """The traced modules' types, or those of the outermost calls."""
    types = [rec.modules[root].type for root in rec.roots if root in rec.modules]
    if not types:
        types = words.unique(call.type for call in rec.calls if call.parent is None)
    if not types:
        return "no module"
    if len(types) > 3:
        types[3:] = [f"{len(types) - 3} more"]
    return ", ".join(types)


def totals(rec: Recording, made: Sheet) -> str:
    said = [words.plural(len(rec.calls), "module call")]
    parameters = all_parameters(rec)
    if rec.modules:
        said.append(words.plural(parameters, "parameter"))
    if rec.has_timing:
        said.append(f"{words.milliseconds(made.base_ns)} ms in modules")
    return "Total: " + ", ".join(said)


def honesty(made: Sheet) -> list[str]:
    """What a reader must know of folded and of missing rows."""
    said = []
    if made.folded:
        said.append(
            f"×N: N alike calls in one row, times added up; the rows below it are the"
            f" first one's ({words.plural(made.folded, 'call')} without a row)."
        )
    if made.hidden:
        said.append(
            f"{words.plural(made.hidden, 'call')} left out to stay readable, the"
            f" deepest first; t.to_dataframe() has every call."
        )
    if made.foreign:
        said.append("↗ a module from elsewhere in the model, by its full name.")
    return said
