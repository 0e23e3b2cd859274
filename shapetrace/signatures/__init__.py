"""Shape signatures: what each torch function does to the dimensions of its inputs."""

from __future__ import annotations

from shapetrace.signatures.elementwise import is_elementwise
from shapetrace.signatures.engine import (
    argument_name,
    broadcasts,
    conflicts,
    foresee,
    is_method,
    parameter_of,
    parameters,
    predict,
    relate,
)
from shapetrace.signatures.kinds import gives, kind, named, takes_no_numbers
from shapetrace.signatures.layers import (
    inner_function,
    layers_of,
    module_function,
    relate_module,
)
from shapetrace.signatures.loss_facts import (
    Loss,
    index_losses,
    is_loss,
    loss,
    loss_input,
    loss_target,
    losses_that,
)
from shapetrace.signatures.relation import Conflict, DimOrigin, How, Relation, Side
from shapetrace.signatures.sizes import size_given, size_taken
from shapetrace.signatures.training_mode import (
    drops,
    recurrent_setting,
    takes_statistics,
)

__all__ = [
    "Conflict",
    "DimOrigin",
    "How",
    "Loss",
    "Relation",
    "Side",
    "argument_name",
    "is_method",
    "parameter_of",
    "broadcasts",
    "conflicts",
    "foresee",
    "drops",
    "gives",
    "index_losses",
    "inner_function",
    "is_elementwise",
    "is_loss",
    "kind",
    "layers_of",
    "loss",
    "loss_input",
    "loss_target",
    "losses_that",
    "module_function",
    "named",
    "parameters",
    "predict",
    "recurrent_setting",
    "relate",
    "relate_module",
    "size_given",
    "size_taken",
    "takes_no_numbers",
    "takes_statistics",
]
