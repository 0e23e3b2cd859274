"""The pages on the checks: they come with the package, so that they are there without a
network, and wherever a report goes."""

from __future__ import annotations

from pathlib import Path

#: `docs/checks` of the checkout, which the package takes along
_FOLDER = Path(__file__).parents[1] / "pages"


def page(code: str) -> str | None:
    """The page on a check, in Markdown; None where there is none of that name, which
    may come from anywhere: it leads nowhere else."""
    for path in _FOLDER.glob("*.md"):
        if path.stem == code:
            return path.read_text(encoding="utf-8")
    return None
