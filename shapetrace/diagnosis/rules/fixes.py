"""Lines to paste: proposed from the kind of clash, tried, the best first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from shapetrace.diagnosis.rules.desk import Candidate, Desk
from shapetrace.diagnosis.rules.fixes_function import for_function
from shapetrace.diagnosis.rules.fixes_layer import for_layer
from shapetrace.diagnosis.rules.fixes_loss import for_loss

_MOST = 4
_RANK = {"verified": 0, "untried": 1, "moved": 2}


def candidates(desk: Desk) -> Iterator[Candidate]:
    """All proposals; one that cannot be worked out costs no other."""
    problem = desk.problem
    makers: list[Callable[[Desk], Iterable[Candidate | None]]] = [for_function]
    if problem.loss:
        makers = [for_loss, for_function]
    elif problem.layer is not None:
        makers = [for_layer]
    for maker in makers:
        try:
            for candidate in maker(desk):
                if candidate is not None:
                    yield candidate
        except Exception:  # odd records: the other proposals still stand
            continue
