"""An einsum whose letters name an operand's dimensions in another order than it has."""

from __future__ import annotations

from itertools import permutations

from shapetrace.records import FunctionCall

#: dimensions of an operand whose orders are all tried
_MOST = 6


def relettered(call: FunctionCall) -> tuple[int, str, str] | None:
    """Which operand's letters would fit in another order, what they are, and what they
    would be; None where no single operand is to blame."""
    equation = call.args[0] if call.args else None
    if call.name != "einsum" or not isinstance(equation, str):
        return None
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    shapes = [ref.shape for ref in call.inputs]
    if [len(term) for term in terms] != [len(shape) for shape in shapes]:
        return None
    for position in reversed(range(len(terms))):
        known: dict[str, set[int]] = {}
        for other, (term, shape) in enumerate(zip(terms, shapes)):
            if other != position:
                for letter, size in zip(term, shape):
                    known.setdefault(letter, set()).add(size)
        term, shape = terms[position], shapes[position]
        if len(term) > _MOST or any(len(sizes) > 1 for sizes in known.values()):
            continue
        fitting = [
            "".join(order)
            for order in permutations(term)
            if all(known.get(c, {n}) == {n} for c, n in zip(order, shape))
        ]
        if fitting and term not in fitting:
            return position, term, min(fitting, key=lambda new: _moved(term, new))
    return None


def _moved(old: str, new: str) -> int:
    return sum(a != b for a, b in zip(old, new))
