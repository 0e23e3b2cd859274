"""Fixes of a finding that are called verified: with which it is gone, wherever the same
mistake stands, and nothing new is found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.trying import joined, mended
from shapetrace.diagnosis.hypothesis import Repair
from shapetrace.diagnosis.words.text import replaced, told
from shapetrace.records import Diagnosis, Fix, Recording, Source
from shapetrace.source.rewrite import merged, spanning

#: the code of an alarm, and the line that it is about
Alarms: TypeAlias = set[tuple[str, Source | None]]

#: lines over which statements are mended in one piece
_PIECE = 12


def alarms(found: Iterable[Diagnosis]) -> Alarms:
    return {(one.code, one.source) for one in found if one.severity != "note"}


class Trials:
    """The fixes of what was found, tried in the recording of the mended program.

    `judge` tells what is found in a recording.
    """

    def __init__(
        self,
        context: CheckContext,
        found: Sequence[Diagnosis],
        judge: Callable[[Recording], tuple[CheckContext, list[Diagnosis]]],
    ) -> None:
        self._context = context
        self._rec = context.graph.rec
        self._found = found
        self._judge = judge

    def of(self, first: Diagnosis, same: Sequence[Diagnosis]) -> Diagnosis:
        """A finding with its fixes tried. `same` are those of the same cause."""
        tried = [(fix, self._tried(fix, first, same)) for fix in first.fixes]
        repairs, blamed = self._context.repairs, self._context.blamed
        if any(fix.status == "verified" for _, fix in tried):
            # beside it, one that was tried and does not help is none
            tried = [
                (old, fix)
                for old, fix in tried
                if fix.status != "untried" or (old.line, old.where) not in repairs
            ]
        fixes = tuple(fix for _, fix in tried)
        if fixes == first.fixes:
            return first
        mended = [blamed.get((old.line, old.where)) for old, _ in tried[:1]]
        who = tuple(sorted(first.culprits, key=lambda one: one not in mended))
        first = replace(first, culprits=who)
        return told(self._rec, replace(first, fixes=fixes))

    def _tried(self, fix: Fix, first: Diagnosis, same: Sequence[Diagnosis]) -> Fix:
        """The fix, verified, where the finding is gone and no alarm but those of other
        causes is left. Where the same mistake is left elsewhere, it is mended there
        too: of three views in a row one alone would be mended."""
        rec = self._mended(self._context, [fix])
        if rec is None:
            return fix
        own = alarms([first])
        others = alarms(self._found) - alarms([first, *same])
        context, found = self._judge(rec)
        after = alarms(found)
        left = [one for one in self._left(first, same) if alarms([one]) & after - own]
        if not left and after <= others:
            return replace(fix, status="verified")
        if not left:
            new = [one for one in found if alarms([one]) - others]
            return self._undone_later(fix, first, context, new)
        fixes = [self._like(fix, one) for one in left]
        rec = self._mended(self._context, [fix, *fixes])
        if rec is None:
            return fix
        after = alarms(self._judge(rec)[1])
        if after & alarms(left) or not after <= others:
            return fix
        return _joined(fix, [other for other in fixes if other is not None])

    def _undone_later(
        self,
        fix: Fix,
        first: Diagnosis,
        context: CheckContext,
        new: Sequence[Diagnosis],
    ) -> Fix:
        """The fix with those of what is found only then: of a view that was taken for a
        permute and a later one that undid it, both are mended together."""
        others = alarms(self._found) - alarms([first])
        fixes = [one.fixes[0] for one in new if one.code == first.code and one.fixes]
        if len(fixes) < len(new):
            return fix
        changed = self._mended(context, fixes)
        if changed is None or not alarms(self._judge(changed)[1]) <= others:
            return fix
        return _joined(fix, fixes)

    def _left(self, first: Diagnosis, same: Sequence[Diagnosis]) -> Iterator[Diagnosis]:
        """The other findings of the same cause, or of the same code in the function."""
        place = None if first.source is None else first.source.function
        for one in self._found:
            if one.code == first.code and one is not first and one.source is not None:
                if one in same or one.source.function == place:
                    yield one

    def _mended(
        self, context: CheckContext, fixes: Sequence[Fix | None]
    ) -> Recording | None:
        """The recording of a context with all of these fixes."""
        repairs: list[Repair] = []
        for fix in fixes:
            repair = fix and context.repairs.get((fix.line, fix.where))
            if not isinstance(repair, Repair):
                return None
            repairs.append(repair)
        return mended(context.graph, joined(repairs))

    def _like(self, fix: Fix, other: Diagnosis) -> Fix | None:
        """The fix of another finding that does the same, or else its first that can be
        tried."""
        repairs = self._context.repairs
        asked = _does(repairs.get((fix.line, fix.where)))
        known = [(one, repairs.get((one.line, one.where))) for one in other.fixes]
        alike = [one for one, repair in known if asked and _does(repair) == asked]
        return next(iter(alike + [one for one, repair in known if repair]), None)


def _does(repair: Repair | None) -> set[object]:
    """What a repair does, wherever that is."""
    if repair is None:
        return set()
    edits = {one.edit.text for one in repair.taken}
    return edits | {(call.name, repr(call.kwargs)) for call in repair.calls.values()}


def _joined(fix: Fix, others: Sequence[Fix]) -> Fix:
    """One fix of what several do: verified where it can be pasted in one piece, else
    moved, with the places that are left."""
    whole = in_one([fix, *others])
    if whole is not None:
        return replace(fix, line=whole[0], where=whole[1], old="", status="verified")
    known = _texts([fix, *others])
    if known is None or fix.where is None:
        return fix
    places = ", ".join(str(place) for place in known if place != fix.where)
    return replace(fix, status="moved", detail=f"the same is left at {places}")


def in_one(fixes: Sequence[Fix]) -> tuple[str, Source] | None:
    """What several fixes do as one text to paste, and where; None where their places
    are too far apart."""
    known = _texts(fixes)
    if not known:
        return None
    if len(known) == 1:
        ((place, text),) = known.items()
        return text, place
    return spanning(known, _PIECE)


def _texts(fixes: Sequence[Fix]) -> dict[Source, str] | None:
    """What is to stand at each place; None where two fixes of a place overlap."""
    lines: dict[Source, list[str]] = {}
    for one in fixes:
        if one.where is None:
            return None
        lines.setdefault(one.where, []).append(one.line)
    olds = {one.where: replaced(one) for one in fixes}
    texts = {place: merged(olds[place], new) for place, new in lines.items()}
    known = {place: text for place, text in texts.items() if text is not None}
    return known if len(known) == len(texts) else None
