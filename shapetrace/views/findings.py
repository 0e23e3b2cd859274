"""What was found, as a tuple that a notebook shows as cards."""

from __future__ import annotations

from shapetrace.records import Diagnosis
from shapetrace.records.printable import printable
from shapetrace.views import words


class Findings(tuple[Diagnosis, ...]):
    """Everything found, the failure first; in a notebook a card for each."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self:
            return "()"
        lines = [
            f"{number}. {found.severity} [{found.code}] {words.headline(found)}"
            for number, found in enumerate(self)
        ]
        lines = [printable(line, keep="") for line in lines]
        return "\n".join(
            [*lines, "print() of one of them, such as .findings[0], explains it."]
        )

    def _repr_html_(self) -> str:
        from shapetrace.views.html import cards

        return cards(self)
