"""The page on a check, within the report: it comes with the package, so that it is
there without a network, and wherever the report goes."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from shapetrace.records import Diagnosis
from shapetrace.views.html.markup import element, inline, safe

#: `docs/checks` of the checkout, which the package takes along
_FOLDER = Path(__file__).parents[2] / "pages"
_FENCE = "```"


def about(found: Diagnosis) -> str:
    """What a check's finding means, to be unfolded; empty where there is no page."""
    name = found.code
    # a report may come from anywhere: its codes lead nowhere else
    if not found.page or not re.fullmatch(r"[a-z]+(-[a-z]+)*", name):
        return ""
    path = _FOLDER / f"{name}.md"
    if not path.is_file():
        return ""
    return _shown(name, path.read_text(encoding="utf-8"))


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
