"""What of torch is private and used all the same: here alone, each with a way without.

A test names what is missing when a new torch has moved it.
"""

from __future__ import annotations

from typing import Any

import torch


def default_store() -> Any:
    """The store through which the ranks of the default group found each other; None
    where this torch does not hand it out."""
    from torch.distributed import distributed_c10d

    try:
        return distributed_c10d._get_default_store()
    except AttributeError:
        return None


def has_ranks() -> bool:
    """Whether several processes take part, and can be reached."""
    ranks = torch.distributed
    if not (ranks.is_available() and ranks.is_initialized()):
        return False
    return ranks.get_world_size() > 1
