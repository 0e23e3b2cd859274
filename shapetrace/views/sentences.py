"""The sentences around a table: what was traced, and what the table leaves out."""

from __future__ import annotations

from shapetrace.records import Diagnosis, Recording
from shapetrace.views import words
from shapetrace.views.folding import without_parameters
from shapetrace.views.parameters import ParameterCounter, bytes_of
from shapetrace.views.rows import Sheet


def summary(rec: Recording, failure: Diagnosis | None) -> str:
    """`Net: 12 module calls, 20 functions, 3.2 ms, failed at loss:mse_loss`."""
    said = [_module_calls(rec)]
    if rec.has_functions:
        said.append(words.plural(len(rec.functions), "function"))
    if rec.has_timing and rec.calls:
        said.append(f"{words.milliseconds(_outermost_ns(rec), 1)} ms")
    if failure is not None:
        said.append(f"failed at {words.where(failure)}")
    elif rec.error is not None:
        said.append(f"failed with {rec.error.type}")
    return words.one_line(f"{title(rec)}: {', '.join(said)}")


def _module_calls(rec: Recording) -> str:
    said = words.plural(len(rec.calls), "module call")
    if rec.left_out is None:
        return said
    return f"{len(rec.calls):,} of {len(rec.calls) + rec.left_out.calls:,} module calls"


def title(rec: Recording) -> str:
    """The traced modules' types, or those of the outermost calls."""
    types = [rec.modules[root].type for root in rec.roots if root in rec.modules]
    if not types:
        bare = without_parameters(rec)
        outermost = [call for call in rec.calls if call.parent is None]
        models = [call for call in outermost if call.name not in bare]
        types = words.unique(call.type for call in models or outermost)
    if not types:
        return "no module"
    if len(types) > 3:
        types[3:] = [f"{len(types) - 3} more"]
    return ", ".join(types)


def _outermost_ns(rec: Recording) -> int:
    return sum(call.duration_ns for call in rec.calls if call.parent is None)


def totals(rec: Recording, made: Sheet) -> str:
    said = [_module_calls(rec)]
    if rec.modules:
        said.append(words.plural(ParameterCounter(rec).all, "parameter"))
    if rec.has_timing:
        said.append(f"{words.milliseconds(made.context.base_ns)} ms in modules")
    return "Total: " + ", ".join(said)


def closing(rec: Recording, made: Sheet) -> list[str]:
    """The block that closes a table which was asked for: parameters, bytes, work."""
    counter = ParameterCounter(rec)
    every, frozen = counter.all, counter.frozen
    size = bytes_of(one for info in rec.modules.values() for one in info.parameters)
    said = [
        f"Parameters: {every:,} ({every - frozen:,} trainable, {frozen:,} frozen),"
        f" {words.scaled(size, 'B')}"
    ]
    tops = [call for call in rec.calls if call.parent is None]
    above = {call.parent for call in rec.calls}
    leaves = [call for call in rec.calls if call.index not in above]
    came = bytes_of(one for call in tops for one in call.inputs)
    left = bytes_of(one for call in leaves for one in call.outputs or ())
    said.append(
        f"Input: {words.scaled(came, 'B')} · activations: {words.scaled(left, 'B')}"
        " (outputs of the innermost modules)"
    )
    said.append(
        f"Together with the parameters: {words.scaled(size + came + left, 'B')}"
    )
    flops = made.context.costs.flops
    if flops is not None:
        line = f"Mult-adds: {words.scaled(flops / 2)} ({words.scaled(flops)} FLOPs)"
        uncounted = made.context.costs.uncounted
        if uncounted:
            line += f", without {', '.join(uncounted[:_MOST_NAMES])}"
            if len(uncounted) > _MOST_NAMES:
                line += f" and {len(uncounted) - _MOST_NAMES} more"
        said.append(line)
    if rec.live:
        from shapetrace.costs import held

        moments = held(rec, made.context.costs)
        peak = max(sample.activations for sample in moments)
        said.append(f"Peak of live activations: {words.scaled(peak, 'B')}")
    if rec.allocated_peak is not None:
        most = words.scaled(rec.allocated_peak, "B")
        said.append(f"Peak of the accelerator's allocator: {most}")
    return [totals(rec, made), *said]


_MOST_NAMES = 6


#: columns of bytes that one batch holds and the next one holds again
_HELD = ("saved_bytes", "allocated_bytes")


def every_row(name: str | None, in_report: bool = False) -> str:
    """What has all that a table leaves out, for who holds a trace in the variable of
    that name, has a table alone (None) or reads a report."""
    if in_report:
        return "a CSV report"
    return "a trace's to_dataframe()" if name is None else f"{name}.to_dataframe()"


def honesty(made: Sheet, all_of: str, depth: str = "depth=") -> list[str]:
    """What a reader must know of folded and of missing rows: what has all of them, and
    the option that shows them."""
    said = []
    rec = made.context.rec
    if rec.modules and not rec.calls:
        said.append(
            f"{title(rec)} was not called in the block. A copy of it (copy.deepcopy, a"
            " wrapper's, one loaded from a file) is another module: trace that one, or"
            " shapetrace.trace() for every module that is called."
        )
    if made.folded:
        most = [one.title for one in made.columns if one.name in _HELD]
        held = f", {' and '.join(most)} those of the batch with most" if most else ""
        said.append(
            "×N: N alike calls in one row, and in each row below it; times are added"
            f" up, a module's parameters count once{held}"
            f" ({words.plural(made.folded, 'call')} without a row)."
        )
    if made.hidden:
        said.append(
            f"{words.plural(made.hidden, 'call')} left out to stay readable, the"
            f" deepest first; {all_of} has every call."
        )
    if made.levels:
        level, deepest = made.levels
        said.append(
            f"{words.plural(made.deeper, 'call')} below level {level} left out to stay"
            f" readable; {depth} {deepest} shows all."
        )
    elif made.deeper:
        said.append(f"{words.plural(made.deeper, 'call')} deeper than {depth} shows.")
    if made.foreign:
        said.append("↗ a module from elsewhere in the model, by its full name.")
    return said
