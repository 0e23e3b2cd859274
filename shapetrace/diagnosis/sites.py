"""Who a repair is about: the module, the call at its line, or the birth of the data."""

from __future__ import annotations

from collections import deque

from shapetrace.diagnosis.hypothesis import Site
from shapetrace.diagnosis.made_between import made_between
from shapetrace.diagnosis.sizes.factory_size import takes_shape
from shapetrace.lineage import Call, Graph
from shapetrace.records import Culprit, FunctionCall, ModuleCall
from shapetrace.signatures import is_elementwise, kind
from shapetrace.source.library_calls import called_around, handed_out, looped_over
from shapetrace.source.tree import is_own, node_at, package_of

#: calls that keep a shape and are passed over, at most
_LONGEST = 64
#: what may give the same shape with its dimensions in another order
_ORDERING = ("permute", "transpose", "swapaxes", "movedim", "t", "view", "reshape")


def site_of_call(graph: Graph, call: Call) -> Site:
    """Torch's own layer by its name, the data that the call's statement makes, else the
    function at its place."""
    layer = graph.layer_of(call)
    if layer is not None:
        return site_of_module(layer)
    assert isinstance(call, FunctionCall)
    if _is_birth(graph, call):
        assert call.outputs
        return site_of_data(graph, call.outputs[0].id)
    place = (call.name, call.source) if call.source is not None else call.index
    return Site("function", call.name, place, call.source)


def site_of_module(module: ModuleCall) -> Site:
    return Site("module", module.name, module.name, module.source)


def site_of_data(graph: Graph, tensor: int, *, target: bool = False) -> Site:
    """The target of a loss, else the input; what a factory call inside a forward made,
    or between the modules, is code, and the function is named."""
    call = beginning(graph, tensor)
    if call is not None and (call.parent is not None or made_between(graph, call)):
        return site_of_call(graph, call)
    kind = "target" if target else "input"
    first: object = tensor
    for made, behind in graph.chain(tensor):
        if graph.library_data(made) is not None:
            first = behind.source
            break
        first = behind.inputs[0].id if behind.inputs else made
    source = call.source if call is not None else None
    name = f"{kind} {data_name(graph, tensor)}"
    return Site("target" if target else "input", name, first, source)


def shaped_at(graph: Graph, tensor: int) -> int:
    """The tensor that has the shape of this one first: casts, activations and
    whatever else takes one tensor and keeps its shape are passed over."""
    for _ in range(_LONGEST):
        made = graph.producer(tensor)
        if made is None or made.index < 0 or not made.outputs:
            break
        if isinstance(made, FunctionCall) and made.name == "setitem":
            tensor = made.inputs[0].id  # what is written into it does not shape it
            continue
        given = [ref for ref in made.inputs if not graph.is_parameter(ref.id)]
        if len(given) != 1 or given[0].shape != graph.tensors[tensor].shape:
            break
        if len(given) != len(made.inputs):  # a layer with parameters made it anew
            break
        if isinstance(made, FunctionCall) and made.name in _ORDERING:
            break
        tensor = given[0].id
    return tensor


def stretched_since(graph: Graph, tensor: int) -> int:
    """The nearest tensor behind this one of which the shape was made: calls that take
    one entry of each operand at a time, and have the shape of an operand, are passed
    over."""
    shape, todo, seen = graph.tensors[tensor].shape, deque([tensor]), {tensor}
    while todo:
        tensor = todo.popleft()
        made = graph.producer(tensor)
        if not isinstance(made, FunctionCall) or not is_elementwise(made.name):
            return tensor
        same = [ref.id for ref in made.inputs if ref.shape == shape]
        if not same:
            return tensor
        todo += [one for one in same if one not in seen]
        seen |= {*same}
    return tensor


def unsliced(graph: Graph, tensor: int) -> int:
    """The tensor that this one is a part of, with as many dimensions: which of them
    stands where was so before."""
    while True:
        made = graph.producer(tensor)
        if not isinstance(made, FunctionCall) or made.name != "getitem":
            return tensor
        before = made.inputs[0]
        if len(before.shape) != len(graph.tensors[tensor].shape):
            return tensor
        tensor = before.id


def maker_of_one(graph: Graph, tensor: int, dim: int) -> Call | None:
    """Who gave a tensor a dimension of size 1: what is taken by an index has it of the
    index, but is made by who takes it. None where it came with data."""
    trail = graph.trail(tensor, dim)
    for hop in trail.hops:
        given = [hop.call.inputs[at].shape[n] for at, n in hop.origin.sources]
        passed = given and max(given) == 1 and kind(hop.call.name) != "pick"
        if not passed and hop.call.inputs:
            return hop.call
    return trail.end.call if trail.end.kind == "parameter" else None


def site_of_tensor(graph: Graph, tensor: int, *, target: bool = False) -> Site:
    """Whoever gave a tensor its shape: a function of the user's, a layer, the data."""
    tensor = shaped_at(graph, tensor)
    made = graph.producer(tensor)
    if made is not None and made.inputs and made.index >= 0:
        if isinstance(made, ModuleCall) or graph.layer_of(made) is not None:
            return site_of_call(graph, made)
        told = graph.library_data(tensor) is not None or is_loaded(graph, tensor)
        if made.direct and not told:
            return site_of_maker(graph, made)
    return site_of_data(graph, tensor, target=target)


def _is_birth(graph: Graph, call: FunctionCall) -> bool:
    """Whether a call stretches data in the statement that makes it: `rand(1, 1, 8, 8)`
    and its `expand(-1, 3, -1, -1)` are one thought."""
    if call.parent is not None or kind(call.name) != "expand" or not call.outputs:
        return False
    made = call.outputs[0].id
    first = None if graph.from_model(made) else beginning(graph, made)
    if first is None or first.inputs or made_between(graph, first):
        return False
    places = node_at(first.source), node_at(call.source)
    if places[0] is None or places[1] is None or places[0][0] is not places[1][0]:
        return False
    file = places[0][0]
    return file.statement(places[0][1]) is file.statement(places[1][1])


def without_lost(graph: Graph, tensor: int) -> int:
    """The tensor behind one of data that already had too few dimensions: whatever took
    none away is passed over."""
    for made, call in graph.chain(tensor):
        rank = len(graph.tensors[made].shape)
        before = call.inputs[0].shape if call.inputs else ()
        if call.parent is not None or call.index < 0 or rank < len(before):
            return made
        tensor = call.inputs[0].id if call.inputs else made
    return tensor


def site_of_maker(graph: Graph, call: Call) -> Site:
    """A layer, or the function of the user's; what was called inside of an installed
    package's module is that module, as the user's own code called it."""
    module = None
    if graph.layer_of(call) is None and not is_own(call.source):
        module = graph.module_of(call)
    while module is not None and not is_own(module.source):
        module = None if module.parent is None else graph.rec.calls[module.parent]
    return site_of_call(graph, call) if module is None else site_of_module(module)


def beginning(graph: Graph, tensor: int) -> FunctionCall | None:
    """The function that began a tensor of data: the oldest call behind it, on a line of
    the user's where there is one; None where that is in a forward, which was given a
    tensor from outside the trace."""
    made: FunctionCall | None = None
    own: FunctionCall | None = None
    for each, call in graph.chain(tensor):
        if isinstance(call, FunctionCall):
            made = call
            own = own if handed_out(call) else call
            if graph.library_data(each) is not None:
                return made
    if made is not None and made.parent is not None and not takes_shape(made):
        if any(graph.producer(ref.id) is None for ref in made.inputs):
            return None
    return own or made


def is_loaded(graph: Graph, tensor: int) -> bool:
    """Whether it is data that a loader or a library of the user's put together."""
    made = graph.producer(tensor)
    if not isinstance(made, FunctionCall) or made.parent is not None:
        return False
    return handed_out(made) and not graph.from_model(tensor)


def data_name(graph: Graph, tensor: int) -> str:
    """Where data was made, in words."""
    call = beginning(graph, tensor)
    if call is None:
        return "that came in from outside the trace"
    source = call.source
    if source is None or not handed_out(call):
        return f"made by {called_around(call) or call.name} at {source}"
    if is_own(source):
        return f"from `{looped_over(source)}` at {source}"
    return f"that came out of {package_of(source)} ({source})"


def owner(graph: Graph, tensor: int) -> str | None:
    """The qualified name of the module that holds a parameter or buffer."""
    origin = graph.origin(tensor)
    if origin is None:  # of a model that was not there when the trace began
        return next(
            (
                name
                for name, info in graph.rec.modules.items()
                if any(ref.id == tensor for ref in (*info.parameters, *info.buffers))
            ),
            None,
        )
    if origin.kind not in ("parameter", "buffer"):
        return None
    return origin.name.rpartition(".")[0]


def culprit_of_call(
    graph: Graph,
    call: Call,
    *,
    dim: int | None = None,
    size: int | None = None,
    expected: int | None = None,
    reason: str = "",
) -> Culprit:
    """The call as a culprit: torch's own layer by its name, else the function."""
    return _culprit(site_of_call(graph, call), dim, size, expected, reason)


def culprit_of_data(
    graph: Graph,
    tensor: int,
    *,
    target: bool = False,
    dim: int | None = None,
    size: int | None = None,
    expected: int | None = None,
    reason: str = "",
) -> Culprit:
    site = site_of_data(graph, tensor, target=target)
    return _culprit(site, dim, size, expected, reason)


def culprit_of_module(
    module: ModuleCall,
    *,
    dim: int | None = None,
    size: int | None = None,
    reason: str = "",
) -> Culprit:
    return _culprit(site_of_module(module), dim, size, None, reason)


def _culprit(
    site: Site, dim: int | None, size: int | None, expected: int | None, reason: str
) -> Culprit:
    return Culprit(site.kind, site.name, dim, size, expected, site.source, reason)
