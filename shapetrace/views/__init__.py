"""What a trace looks like: each view reads plain data and returns its format."""

from __future__ import annotations

from shapetrace.records import Diagnosis


def _card(found: Diagnosis) -> str:
    from shapetrace.views.html import card

    return card(found)


setattr(Diagnosis, "card", staticmethod(_card))
