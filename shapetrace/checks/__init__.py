"""What PyTorch does not tell: a registry of small rules over a trace."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from shapetrace.checks.attention import (  # noqa: F401
    scaling,
    weights,
)
from shapetrace.checks.broadcasting import silent_broadcast  # noqa: F401
from shapetrace.checks.dimensions import (  # noqa: F401
    batch,
    batch_statistics,
    drawing,
    normalised_over_one,
    normalising,
    softmax,
)
from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.mending import Trials
from shapetrace.checks.finding.registry import CHECKS, Check
from shapetrace.checks.gradients import (  # noqa: F401
    cut_inside,
    cut_off,
    dead_loss,
    detaching,
    zero_gradient,
)
from shapetrace.checks.losses import (  # noqa: F401
    activations,
    argmax_over_one,
    class_counts,
    classes,
    compared_with_itself,
    expectations,
    penalties,
    reductions,
    targets,
    unbounded,
    variances,
)
from shapetrace.checks.masks import (  # noqa: F401
    extremes,
    ignoring,
    masks,
    padding,
)
from shapetrace.checks.modules import (  # noqa: F401
    attributes,
    never_called,
    registration,
    renewed,
    replaced,
    sharing,
)
from shapetrace.checks.order import (  # noqa: F401
    cell_states,
    forgotten_states,
    grids,
    pairing,
    positions,
    reads_ahead,
    recurrent,
    shifting,
)
from shapetrace.checks.reshaping import (  # noqa: F401
    heads,
    view_as_permute,
)
from shapetrace.checks.results import (  # noqa: F401
    added_twice,
    conversions,
    discarded,
    in_place,
    parts,
    unread_names,
    unused,
)
from shapetrace.checks.training import (  # noqa: F401
    accumulation,
    freezing,
    incomplete,
    left_behind,
    lost_gradients,
    modes,
    optimizers,
    same_network,
    teachers,
)
from shapetrace.errors import ShapeTraceWarning, UsageError
from shapetrace.lineage import Graph
from shapetrace.records import Diagnosis, Source
from shapetrace.records.garbage import uncollected
from shapetrace.source.place import lines_of

__all__ = ["CHECKS", "Check", "chosen", "run_checks", "warn"]

#: other places of one mistake that are listed
_PLACES = 4
#: findings whose fixes are tried
_TRIED = 4
#: functions that are walked again for it, over all fixes: some two seconds
_WALKED = 48_000
_GRAVITY = {"error": 0, "warning": 1, "note": 2}
_IGNORE = re.compile(r"#\s*shapetrace:\s*ignore(?:\[([^\]]*)\])?")


def chosen(codes: bool | Collection[str]) -> tuple[Check, ...]:
    """The checks of these codes; all for True, none for False.

    Raises:
        UsageError: if a code is unknown; the message lists those there are.

    Examples:
        >>> [check.code for check in chosen({"class-dim"})]
        ['class-dim']
    """
    if isinstance(codes, bool):
        return tuple(CHECKS.values()) if codes else ()
    if isinstance(codes, str):
        raise UsageError(
            f"checks={codes!r}: give a set of codes, checks={{{codes!r}}}, or False."
        )
    if not isinstance(codes, Collection):
        raise UsageError(f"checks={codes!r}: give True, False or a set of codes.")
    unknown = [code for code in codes if code not in CHECKS]
    if unknown:
        names = ", ".join(sorted(map(repr, unknown)))
        raise UsageError(
            f"checks= was given {names}, which no check is called. The codes are: "
            f"{', '.join(sorted(CHECKS))}."
        )
    return tuple(check for code, check in CHECKS.items() if code in codes)


@uncollected()
def run_checks(
    graph: Graph, codes: bool | Collection[str] = True
) -> tuple[Diagnosis, ...]:
    """The findings of the chosen checks, most severe first: one for a site and code,
    and one for all sites where the same code meets what one layer or line has made."""
    if not graph.rec.has_functions:
        return ()  # modules alone do not tell what went between them
    context, found = _all(graph, codes)
    ranked = sorted(found, key=lambda one: _GRAVITY[one.severity])
    causes: list[list[Diagnosis]] = []
    known: dict[object, list[Diagnosis]] = {}
    for one in ranked:
        keys = [*_elsewhere(one), _cause(one)]
        own = next((known[key] for key in keys if key in known), None)
        if own is None:
            causes.append(own := [])
        own.append(one)
        for key in keys:
            known.setdefault(key, own)
    trials = Trials(context, found, lambda rec: _all(Graph(rec), codes, asks=False))
    walked, shown = 0, []
    for count, (first, *same) in enumerate(causes):
        walked += len(first.fixes) * len(graph.rec.functions)
        if count < _TRIED and walked <= _WALKED:
            first = trials.of(first, same)
        shown.append(_with_places(first, same))
    return tuple(shown)


def _all(
    graph: Graph, codes: bool | Collection[str], asks: bool = True
) -> tuple[CheckContext, list[Diagnosis]]:
    """All findings of the chosen checks, one for a site and code."""
    context = CheckContext(graph, asks)
    found: dict[tuple[str, str, Source | None], Diagnosis] = {}
    for check in chosen(codes):
        for one in _found(context, check):
            if not _ignored(one):
                found.setdefault((one.code, one.where, one.source), one)
    return context, list(found.values())


def _elsewhere(found: Diagnosis) -> Iterator[object]:
    """The fixes of a finding on other lines than its own: what they mend besides is the
    same mistake."""
    for fix in found.fixes:
        if fix.where is not None and found.source is not None:
            if (fix.where.file, fix.where.line) != (
                found.source.file,
                found.source.line,
            ):
                yield found.code, fix.line, fix.where


def _cause(found: Diagnosis) -> object:
    """What two findings of one mistake have in common where no one line mends both: the
    likeliest culprit; of a tensor of the user's, the line that made it, else the
    finding's."""
    who = found.culprits[0] if found.culprits else None
    if who is None or found.source is None:
        return id(found)
    if who.kind not in ("module", "function"):
        made = who.source or found.source
        return found.code, who.name, made.file, made.line
    place = None
    if who.kind == "function" and who.source is not None:
        place = who.source.file, who.source.line
    return found.code, who.kind, who.name, who.dim, place


def _with_places(found: Diagnosis, same: list[Diagnosis]) -> Diagnosis:
    """The finding, and where else the same mistake shows."""
    places = dict.fromkeys(str(one.source) for one in same if one.source is not None)
    places.pop(str(found.source), None)
    if not places:
        return found
    said = ", ".join([*places][:_PLACES]) + (", …" if len(places) > _PLACES else "")
    return replace(found, text=f"{found}\nThe same at {said}.")


def _found(context: CheckContext, check: Check) -> list[Diagnosis]:
    """What one check finds; a fault of its own is a note, and costs no other check."""
    try:
        return list(check.run(context, check))
    except Exception as fault:
        # of any kind: a mistake of ours in one check, at the end of the user's block,
        # must neither end their program nor hide what the other checks found
        message = (
            f"The check {check.code} could not judge this batch: "
            f"{type(fault).__name__}: {fault}"
        )
        return [Diagnosis(check.code, "note", message, where="")]


def _ignored(found: Diagnosis) -> bool:
    """Whether a comment on the line says `# shapetrace: ignore[code]`."""
    source = found.source
    if source is None:
        return False
    for line in lines_of(source):
        said = _IGNORE.search(line)
        if said is not None:
            codes = said[1]
            if codes is None or found.code in re.split(r"[\s,]+", codes.strip()):
                return True
    return False


def warn(findings: Iterable[Diagnosis], ask: str) -> None:
    """One Python warning for each site and code that is an alarm; notes are quiet. A
    failure that the user's code caught is no news to it. `ask` says how a reader sees
    the finding of a number in full."""
    seen: set[tuple[str, Source | None]] = set()
    for number, one in enumerate(findings):
        if one.code == "failure":
            continue
        if one.severity == "note" or (one.code, one.source) in seen:
            continue
        seen.add((one.code, one.source))
        source = one.source
        try:
            warnings.warn_explicit(
                f"{one.code}: {one.message} {ask.format(number=number)} tells the way"
                " back and the fix.",
                ShapeTraceWarning,
                source.file if source is not None else "<unknown>",
                source.line if source is not None else 0,
            )
        except ShapeTraceWarning as error:  # who made it an error has no trace to ask
            error.add_note(f"\n{one}")
            raise
