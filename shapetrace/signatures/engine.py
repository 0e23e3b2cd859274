"""The public questions: how do the dimensions of one call relate, which disagree."""

from __future__ import annotations

from functools import lru_cache

from shapetrace.errors import costs_an_answer
from shapetrace.records import FunctionCall, TensorRef
from shapetrace.signatures import (  # noqa: F401 - importing registers the rules
    attention,
    axes,
    elementwise,
    factories,
    indexing,
    join,
    losses,
    picking,
    products,
    recurrent,
    reduce,
    reshape,
    spatial,
)
from shapetrace.signatures.answer import Answer, Dim, NoSuchDim, Unknown, out_of_range
from shapetrace.signatures.binding import Bound, Shape
from shapetrace.signatures.guess import guess
from shapetrace.signatures.language import Signature
from shapetrace.signatures.loss_facts import is_loss
from shapetrace.signatures.match import match_best
from shapetrace.signatures.names import home_and_name
from shapetrace.signatures.probe import probe
from shapetrace.signatures.registry import RULES, Entry
from shapetrace.signatures.relation import Conflict, DimOrigin, Relation
from shapetrace.signatures.table import signatures

#: where torch keeps functions of one and the same meaning under one name
_HOMES = frozenset(
    {
        "torch",
        "torch.Tensor",
        "torch.nn.functional",
        "torch.functional",
        "torch.special",
        "torch._C._nn",
        "torch._VF",
        "",
    }
)


def _match_line(b: Bound) -> Answer:
    """The rule of every function that has lines in the table."""
    found = match_best(_rows(b.name), b)
    if b.name.endswith("_with_indices") or b.flag("return_indices"):
        found.outputs *= 2
    return found


def _rows(name: str) -> tuple[Signature, ...]:
    """The table's lines; a pooling that gives its indices as well has the same."""
    return signatures(name.removesuffix("_with_indices"))


def _entry(name: str) -> Entry | None:
    """The rule of that name: in Python, or else in the table."""
    entry = RULES.get(name)
    if entry is not None:
        return entry
    rows = _rows(name)
    return Entry(rows[0].params, _match_line) if rows else None


def rule_name(call: FunctionCall) -> tuple[str, bool] | None:
    """The name under which the call's rule stands, and whether it works in place;
    None when there is no rule."""
    return _rule_of(call.name, call.qualname)


@lru_cache(maxsize=512)
def _rule_of(name: str, qualname: str) -> tuple[str, bool] | None:
    home, last = home_and_name(qualname)
    if name == "__get__":
        name = last
    if last == "__rmatmul__":
        return None  # its operands are the other way round
    if home == "torch.nn.init":
        return "clone", True  # all of them fill a tensor in place
    if home not in _HOMES:
        if not home.startswith("torch."):
            return None
        name = f"{home[6:]}.{last}"
    inplace = last.startswith("__i") and last not in ("__invert__", "__index__")
    for known in (name, last):
        if _entry(known) is not None:
            return known, inplace or known.endswith("_")
        if known.endswith("_") and _entry(known[:-1]) is not None:
            return known[:-1], True
        if inplace and known.startswith("i") and _entry(known[1:]) is not None:
            return known[1:], True
        if home not in _HOMES:
            break
    return None


def answer(call: FunctionCall, shapes: tuple[Shape, ...]) -> Answer | None:
    """What the call's rule says; None where it has none or it cannot say."""
    found = rule_name(call)
    if found is None:
        return None
    name, inplace = found
    entry = _entry(name)
    if entry is None:
        return None
    try:
        return entry.run(Bound(call, shapes, entry.params, name, inplace))
    except NoSuchDim as error:
        if not shapes or len(shapes[0]) != error.rank:
            return None  # of another tensor than the first
        return Answer(conflicts=[out_of_range("input", 0, error.dim, error.rank)])
    except (Unknown, ZeroDivisionError):  # no groups, a stride of 0: torch says so
        return None
    except Exception as fault:
        # of any kind: arguments that torch accepts and no rule foresaw cost this answer
        costs_an_answer("where some sizes come from", fault)
        return None


def _shapes(call: FunctionCall) -> tuple[Shape, ...]:
    return tuple([ref.shape for ref in call.inputs])


def argument_name(call: FunctionCall, position: int) -> str | None:
    """The name of the parameter that takes `call.inputs[position]`, where it is known.

    >>> from shapetrace.records import FunctionCall, TensorRef
    >>> import torch
    >>> x = TensorRef("args[0]", 1, (2, 3), torch.float32, torch.device("cpu"))
    >>> argument_name(FunctionCall(0, None, "relu", "torch.relu", (x,), None), 0)
    'input'
    """
    path = call.inputs[position].path
    if path.startswith("kwargs['"):
        return path[8:].partition("'")[0]
    found = rule_name(call)
    entry = _entry(found[0]) if found is not None else None
    if entry is None or not path.startswith("args["):
        return None
    place, _, rest = path[5:].partition("]")
    for name, index in entry.params.items():
        if str(index) == place:
            return name + rest
    return None


def parameter_of(call: FunctionCall, ref: TensorRef) -> str | None:
    """The name of the parameter that takes a tensor."""
    for position, other in enumerate(call.inputs):
        if other.path == ref.path:
            return argument_name(call, position)
    return None


def is_method(call: FunctionCall) -> bool:
    """Whether a tensor's method was called: its object is then the first argument.

    >>> from shapetrace.records import FunctionCall, TensorRef
    >>> is_method(FunctionCall(0, None, "view", "torch.Tensor.view", (), None))
    True
    """
    return call.qualname.startswith("torch.Tensor.")


def relate(call: FunctionCall) -> Relation:
    """Where each dimension of each output comes from, and the inputs' roles.

    For a call that raised, of the outputs it would have had, if its shapes allow any.
    Never raises; what contradicts the recorded outputs becomes a guess.
    """
    shapes = _shapes(call)
    found = answer(call, shapes)
    if call.outputs is None:
        if found is None:
            return Relation((), {}, True)
        outputs = () if found.conflicts else found.outputs
        return Relation(tuple(_origins(dims) for dims in outputs), found.roles)
    roles = {} if found is None else found.roles
    known = [] if found is None else found.outputs
    related: list[tuple[DimOrigin, ...]] = []
    missed = False
    for place, ref in enumerate(call.outputs):
        dims = known[place] if place < len(known) else None
        if dims is not None and _agrees(dims, ref.shape):
            related.append(_origins(dims))
        else:
            missed = True
            related.append(())
    if missed:
        _fill(call, shapes, related)
    return Relation(tuple(related), roles, found is None)


def _fill(
    call: FunctionCall, shapes: tuple[Shape, ...], related: list[tuple[DimOrigin, ...]]
) -> None:
    """Probe, then guess, for the outputs that no rule explained."""
    outputs = call.outputs or ()
    probed = probe(call)
    for place, ref in enumerate(outputs):
        if related[place] or not ref.shape:
            continue
        if probed is not None:
            related[place] = probed[place]
        else:
            related[place] = guess(shapes, ref.shape)


def _origins(dims: list[Dim]) -> tuple[DimOrigin, ...]:
    return tuple([dim[0] for dim in dims])


def _agrees(dims: list[Dim], shape: Shape) -> bool:
    """Whether computed sizes are those recorded."""
    if len(dims) != len(shape):
        return False
    for dim, size in zip(dims, shape):
        if dim[1] != size and dim[1] is not None:
            return False
    return True


def conflicts(call: FunctionCall) -> tuple[Conflict, ...]:
    """The dimensions that disagree, most telling first; () when all agree."""
    found = answer(call, _shapes(call))
    return () if found is None else tuple(found.conflicts)


#: what takes its operands element by element beside the elementwise functions
_COMPARES = frozenset(
    "setitem cosine_similarity pairwise_distance masked_select".split()
)


def broadcasts(call: FunctionCall) -> tuple[tuple[int, int, int], ...]:
    """The implicit expansions of an elementwise function, an assignment or a loss.

    Each is (position of the input stretched, result dimension, size stretched to); a
    leading dimension that an operand lacks is stretched too.
    """
    found = rule_name(call)
    if found is None or not _expands(found[0]):
        return ()
    result = answer(call, _shapes(call))
    return () if result is None or result.conflicts else tuple(result.stretched)


def _expands(name: str) -> bool:
    """Whether broadcasting in that function is implicit expansion, not its purpose."""
    entry = RULES.get(name)
    if entry is not None and entry.run is elementwise.broadcasting:
        return True
    return name in _COMPARES or is_loss(name)


def predict(call: FunctionCall, shapes: tuple[Shape, ...]) -> tuple[Shape, ...] | None:
    """The outputs' shapes, had the inputs these; None where the rule cannot say."""
    if len(shapes) != len(call.inputs):
        return None
    return _sizes(answer(call, shapes))


def foresee(
    call: FunctionCall,
) -> tuple[tuple[Conflict, ...], tuple[Shape, ...] | None]:
    """What disagrees in a call, and the shapes that it gives where nothing does and the
    rule can say: `conflicts` and `predict` in one."""
    found = answer(call, _shapes(call))
    return () if found is None else tuple(found.conflicts), _sizes(found)


def _sizes(found: Answer | None) -> tuple[Shape, ...] | None:
    """The shapes of an answer's outputs, where it knows them all."""
    if found is None or found.conflicts:
        return None
    result: list[Shape] = []
    for dims in found.outputs:
        sizes = [size for _, size in dims if size is not None]
        if len(sizes) != len(dims):
            return None
        result.append(tuple(sizes))
    return tuple(result)


def parameters(call: FunctionCall) -> dict[str, int]:
    """The names of a call's parameters and their places; {} where it has no rule."""
    found = rule_name(call)
    entry = _entry(found[0]) if found is not None else None
    return {} if entry is None else entry.params
