"""The page on a check, within the report."""

from __future__ import annotations

import functools
import re

from shapetrace.records import Diagnosis
from shapetrace.views.html.markup import element, inline, safe
from shapetrace.views.pages import page

_FENCE = "```"


def about(found: Diagnosis) -> str:
    """What a check's finding means, to be unfolded; empty where there is no page."""
    text = page(found.code) if found.page else None
    return "" if text is None else _shown(found.code, text)


@functools.lru_cache(maxsize=64)
def _shown(name: str, text: str) -> str:
    place = element("small", f"docs/checks/{safe(name)}.md")
    said = element("summary", f"What {element('code', safe(name))} means {place}")
    return element("details", said + _html(text.partition("\n")[2]), "st-text")


def _html(text: str) -> str:
    """Headings, paragraphs and code of a page: it has nothing else."""
    made = []
    for at, part in enumerate(text.split(_FENCE)):
        if at % 2:  # within a fence, whose first line names the language
            made.append(element("pre", safe(part.partition("\n")[2].rstrip())))
            continue
        for block in filter(None, map(str.strip, part.split("\n\n"))):
            if block.startswith("#"):
                made.append(element("h5", safe(block.lstrip("# "))))
            else:
                words = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", " ".join(block.split()))
                made.append(element("p", inline(words)))
    return "".join(made)
