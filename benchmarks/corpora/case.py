"""One program of a corpus, and what is known of its mistake."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

Category = Literal["loss", "layer", "silent", "correct"]


@dataclass(frozen=True, slots=True)
class Case:
    """A program as text, with `build()` and `step(model)`, and the truth about it.

    `culprits` are the accepted ones, spelled as `label` does; None: not known.
    `mended` is the whole program without the mistake. `wanted` is what the first fix
    must say, where that alone is known. `fitted`: weights may be fitted on it.
    """

    corpus: str
    family: str
    name: str
    category: Category
    text: str
    fitted: bool
    culprits: frozenset[str] | None = None
    mended: str | None = None
    wanted: str | None = None
    #: what kind of slip it is, where it was injected
    kind: str = ""


def label(culprit: Any) -> str:
    """A `Culprit` as truths spell it: `fc2`, `function:view`, `target`, `input`."""
    if culprit.kind == "module":
        return str(culprit.name)
    if culprit.kind == "function":
        return "function:" + culprit.name.rstrip("_")
    return str(culprit.kind)


def place(*words: str) -> float:
    """A number from 0 to 1 that depends on the words alone: samples and splits that
    stay as they are when a corpus grows."""
    digest = hashlib.sha256("/".join(words).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def held_out(family: str) -> bool:
    """A third of the families is kept from the fitting: whole families, since the
    mutants of one program are too much alike."""
    return place(family) < 1 / 3
