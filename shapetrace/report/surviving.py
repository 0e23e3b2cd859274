"""Views that still work where a fault of ours has left nonsense in a recording."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from shapetrace.errors import ShapeTraceError
from shapetrace.records import Recording
from shapetrace.records.soundness import Unsound, sound

if TYPE_CHECKING:
    from shapetrace.report.answers import Answers

A = TypeVar("A", bound="Answers")
P = ParamSpec("P")
R = TypeVar("R")


def surviving(view: Callable[Concatenate[A, P], R]) -> Callable[Concatenate[A, P], R]:
    """The view; where it fails, and the recording holds what no record may hold, the
    view of a recording without that. What is raised on purpose is the user's."""

    @wraps(view)
    def shown(self: A, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return view(self, *args, **kwargs)
        except Exception as fault:
            # of any kind: what a fault of ours left in a recording breaks a view
            # anywhere; it is mended once, and what is no such fault leaves as it is
            if isinstance(fault, ShapeTraceError) or not self._mend(fault):
                raise
        return view(self, *args, **kwargs)

    return shown


def mended(recording: Recording) -> Recording:
    """The recording itself where it is sound; else what of it is."""
    from shapetrace.views.json.coherence import check_coherence
    from shapetrace.views.json.nested import Damage

    try:
        if not isinstance(recording, Recording):
            raise Unsound
        made = sound(recording)
        if made is not recording:
            check_coherence(made, ())
        return made
    except (Unsound, Damage):
        return Recording((), (), {}, {})
