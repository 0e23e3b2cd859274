"""Shape signatures: what each torch function does to the dimensions of its inputs."""

from __future__ import annotations

from shapetrace.signatures.coverage import Coverage, coverage
from shapetrace.signatures.elementwise import is_elementwise
from shapetrace.signatures.engine import (
    argument_name,
    broadcasts,
    conflicts,
    predict,
    relate,
)
from shapetrace.signatures.layers import inner_function, module_function, relate_module
from shapetrace.signatures.losses import is_loss, loss_input, loss_target
from shapetrace.signatures.relation import Conflict, DimOrigin, How, Relation, Side

__all__ = [
    "Conflict",
    "Coverage",
    "DimOrigin",
    "How",
    "Relation",
    "Side",
    "argument_name",
    "broadcasts",
    "conflicts",
    "coverage",
    "inner_function",
    "is_elementwise",
    "is_loss",
    "loss_input",
    "loss_target",
    "module_function",
    "predict",
    "relate",
    "relate_module",
]
