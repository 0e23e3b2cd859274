"""Pages and notebook fragments: a table, cards of what was found, charts."""

from __future__ import annotations

from shapetrace.views.html.card import card, cards
from shapetrace.views.html.page import fragment, page

__all__ = ["card", "cards", "fragment", "page"]
