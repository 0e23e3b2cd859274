"""A correct step that the programs beside this file end with."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F


def classified(
    m: nn.Module, x: torch.Tensor, classes: int = 3
) -> tuple[nn.Module, Callable[[], torch.Tensor]]:
    """A model, and the step that tells the classes of a batch."""
    y = torch.randint(0, classes, x.shape[:1])
    return (m, lambda: F.cross_entropy(m(x), y))
