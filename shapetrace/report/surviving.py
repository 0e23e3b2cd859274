"""Views that still work where a fault of ours has left nonsense in a recording, and
that say what is the matter where they cannot."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from shapetrace.errors import ReportError, telling
from shapetrace.recording.faults import is_meant, is_users
from shapetrace.records import Recording
from shapetrace.records.soundness import Unsound, sound

if TYPE_CHECKING:
    from shapetrace.report.answers import Answers

A = TypeVar("A", bound="Answers")
P = ParamSpec("P")
R = TypeVar("R")
View = Callable[Concatenate[A, P], R]


def surviving(view: View[A, P, R]) -> View[A, P, R]:
    """The view; where it fails, and the recording holds what no record may hold, the
    view of a recording without that; else a ReportError: who asks for rows or a file
    must not go on without. What is raised on purpose is the user's."""

    @wraps(view)
    def shown(self: A, /, *args: P.args, **kwargs: P.kwargs) -> R:
        __tracebackhide__ = True  # pytest and IPython end at the user's line
        try:
            with telling(self._faults.add):
                return view(self, *args, **kwargs)
        except Exception as fault:
            # of any kind: what is ours is mended, or told as ours
            if is_meant(fault):
                raise
            return _mended_or(_refused, view, fault, self, *args, **kwargs)

    return shown


def surviving_text(
    made: Callable[[str], R],
) -> Callable[[View[A, P, R]], View[A, P, R]]:
    """As `surviving`, of a view that is looked at: in its place stands what the matter
    is, which is warned of too."""

    def instead(self: Any, view: View[A, P, R], fault: Exception) -> R:
        self._faults.add("a view", fault)
        name = type(fault).__name__
        return made(f"<Trace: a fault of shapetrace's own ({name}) keeps it from view>")

    def decorate(view: View[A, P, R]) -> View[A, P, R]:
        @wraps(view)
        def shown(self: A, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                with telling(self._faults.add):
                    return view(self, *args, **kwargs)
            except Exception as fault:
                # of any kind: what is ours is mended, or told in the text's place
                if is_meant(fault):
                    raise
                return _mended_or(instead, view, fault, self, *args, **kwargs)

        return shown

    return decorate


def _refused(self: Any, view: View[A, P, R], fault: Exception) -> R:
    lost = f"the answer of `{view.__name__}()`"
    raise ReportError(self._faults.words(lost, fault)) from fault


def _mended_or(
    instead: Callable[[Any, View[A, P, R], Exception], R],
    view: View[A, P, R],
    fault: Exception,
    self: A,
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Of any kind: what a fault of ours left in a recording breaks a view anywhere. It
    is mended once."""
    if is_users(fault):
        raise fault
    try:
        if self._mend(fault):
            with telling(self._faults.add):
                return view(self, *args, **kwargs)
    except Exception as again:
        # of any kind, once more: a second mending would be no better
        if is_meant(again) or is_users(again):
            raise
        fault = again
    return instead(self, view, fault)


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
