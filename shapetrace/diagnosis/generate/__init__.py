"""Generators: each thinks of one kind of repair, and decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.generate.arguments import dims, numbers
from shapetrace.diagnosis.generate.batches import batches
from shapetrace.diagnosis.generate.counterparts import counterparts
from shapetrace.diagnosis.generate.data import data
from shapetrace.diagnosis.generate.entries import entries
from shapetrace.diagnosis.generate.exchanges import exchanges
from shapetrace.diagnosis.generate.factories import factories
from shapetrace.diagnosis.generate.gathered import gathered
from shapetrace.diagnosis.generate.indices import beyond, indices
from shapetrace.diagnosis.generate.joined_classes import joined_classes
from shapetrace.diagnosis.generate.masks import masks
from shapetrace.diagnosis.generate.omissions import omissions, unflattened
from shapetrace.diagnosis.generate.operands import earlier, inputs, operands, results
from shapetrace.diagnosis.generate.origins import origins
from shapetrace.diagnosis.generate.pairs import pairs
from shapetrace.diagnosis.generate.poolings import poolings
from shapetrace.diagnosis.generate.raised import raised
from shapetrace.diagnosis.generate.selections import selections
from shapetrace.diagnosis.generate.settings import settings
from shapetrace.diagnosis.generate.slices import slices
from shapetrace.diagnosis.generate.swapped import swapped
from shapetrace.diagnosis.generate.unread import unread
from shapetrace.diagnosis.generate.values import values
from shapetrace.diagnosis.generate.widths import widths
from shapetrace.diagnosis.generate.windows import windows
from shapetrace.diagnosis.hypothesis import Hypothesis

Generator = Callable[[Case], Iterator[Hypothesis | None]]

#: the cheap and the likely first: trying ends where its budget does
GENERATORS: tuple[Generator, ...] = (
    raised,
    origins,
    batches,
    values,
    widths,
    factories,
    indices,
    beyond,
    masks,
    gathered,
    pairs,
    joined_classes,
    operands,
    selections,
    slices,
    entries,
    unflattened,
    omissions,
    numbers,
    dims,
    exchanges,
    swapped,
    unread,
    settings,
    data,
    windows,
    counterparts,
    poolings,
    inputs,
    earlier,
    results,
)

#: where PyTorch did not mind: what brings operands to one shape, and who could
STRETCHED: tuple[Generator, ...] = (
    origins,
    widths,
    factories,
    operands,
    omissions,
    numbers,
    dims,
    results,
)


def generate(case: Case) -> Iterator[Hypothesis]:
    """All hypotheses; the fault of a generator is told, and costs no other."""
    generators = GENERATORS
    if case.mismatch.kind == "other":
        # where it is not known what disagrees, no repair can be told from another
        generators = (raised,)
    elif case.mismatch.silent:
        generators = STRETCHED
    elif case.mismatch.is_of_values:
        generators = (raised, values)
    elif case.mismatch.is_of_words:
        generators = (origins, data)
    for generator in generators:
        try:
            for hypothesis in generator(case):
                if hypothesis is not None:
                    yield hypothesis
        except Exception as fault:
            # of any kind: a mistake of ours in one generator is told with the
            # explanation, which the others still make
            case.fault(f"the hypotheses `{generator.__name__}`", fault)
