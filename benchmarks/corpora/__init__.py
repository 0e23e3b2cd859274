"""Broken and correct programs by which explanations are judged, and weights fitted.

`CORPORA[name]()` gives the `Case`s of a corpus. `Case.fitted` tells those that weights
may be fitted on; the split goes by family, never by case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from .case import Case
from .files import programs
from .own import own
from .slips import scripts, slips
from .zoo import zoo

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]

CORPORA: dict[str, Callable[[], Iterable[Case]]] = {
    "own": own,
    # real reports, beside the checkout where there are any
    "reports": partial(
        programs, CHECKOUT.parent / "shared/cases/programs", "reports", True
    ),
    # public reports, rebuilt; those that are held out were never looked at
    "rebuilt": partial(programs, HERE / "rebuilt", "rebuilt", True),
    "unseen": partial(programs, HERE / "rebuilt_held_out", "unseen"),
    "zoo": zoo,
    "slips": slips,
    "scripts": scripts,
}

__all__ = ["CORPORA", "Case", "programs"]
