"""What shapes do not tell: values beyond a table, types, devices, containers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.detection.mismatch import Spot
from shapetrace.diagnosis.detection.unlike import at_home
from shapetrace.diagnosis.generate.arguments import places, with_number
from shapetrace.diagnosis.generate.class_rows import class_rows, in_own_loss
from shapetrace.diagnosis.generate.widths import widths_of
from shapetrace.diagnosis.hypothesis import Form, Hypothesis, Repair, Site
from shapetrace.diagnosis.repair import edits
from shapetrace.diagnosis.repair.changes import (
    edited,
    edited_at,
)
from shapetrace.diagnosis.repair.edits import Edit
from shapetrace.diagnosis.repair.rebuilding import rebuilt
from shapetrace.diagnosis.sites import owner, site_of_call, site_of_data, site_of_module
from shapetrace.lineage import Call
from shapetrace.records import FunctionCall, ModuleCall, TensorRef
from shapetrace.signatures import is_loss, module_function
from shapetrace.source.line import find, suffixed

Found = Iterator[Hypothesis | None]
_HEAD = re.compile(r"(args\[\d+\]|kwargs\['\w+'\])(.+)")
_BY_CLASS = ("cross_entropy", "nll_loss")


def values(case: Case) -> Found:
    kind = case.mismatch.kind
    if kind == "range":
        yield from _range(case)
    elif kind in ("dtype", "device"):
        yield from _unlike(case)
    elif kind == "container":
        yield from _container(case)
    if case.call.name in ("getitem", "setitem"):
        yield from _index_types(case)
    if case.target is not None and kind != "range":
        yield from _target_types(case)
    yield from in_own_loss(case)


def _index_types(case: Case) -> Found:
    """An index of bytes, which torch takes for a mask."""
    for ref in case.call.inputs[1:]:
        if ref.dtype == torch.uint8:
            made = edited(case, ref, edits.cast(torch.int64), "values")
            reason = f"has shape {ref.shape} and type uint8: torch reads it as a mask"
            yield made and replace(made, reason=reason)


def _given(case: Case, tensor: int) -> TensorRef:
    """A tensor as the failing call was given it: where it stands there is known."""
    own = (ref for ref in case.call.inputs if ref.id == tensor)
    return next(own, case.graph.tensors[tensor])


def _range(case: Case) -> Found:
    """Indices beyond a table or a number of classes: more of them, or other indices."""
    left, right = case.mismatch.left, case.mismatch.right
    if left is None:
        return
    limit = right.size if right is not None else 0
    span = case.indices or (left.size, left.size)
    if left.tensor is None:
        site = site_of_call(case.graph, case.call)
        yield Hypothesis("values", site, reason=f"asks for index {left.size}")
    else:
        reason = f"holds values from {span[0]} to {span[1]}"
        reason += f", allowed are 0 to {limit - 1}" if limit else ""
        ref = _given(case, left.tensor)
        site = site_of_data(case.graph, left.tensor, target=case.mismatch.loss)
        made = _shifted(case, ref, span, limit)
        base = Hypothesis("values", site, size=left.size)
        base = replace(made, site=site, size=left.size) if made is not None else base
        yield replace(base, reason=reason)
        if case.mismatch.loss and span[0] < 0 and span[1] < limit:
            yield _ignoring(case, span[0], site)
    if span[0] >= 0 and case.layer is not None:
        rows = f"holds index {span[1]}; {limit} rows end at {limit - 1}"
        more = {"num_embeddings": span[1] + 1}
        found = rebuilt(case, case.layer.name, more, "intake", rows)
        reason = f"has num_embeddings={limit}, index {span[1]} is asked for"
        if found is not None:
            yield holding_values(
                replace(found, reason=reason, size=limit, expected=span[1] + 1)
            )
    if span[0] >= 0 and right is not None and right.tensor is None:
        for path, value in places(case.call):
            if value == limit:
                found = with_number(case, case.call, path, value, span[1] + 1)
                # nothing but the meaning tells such a number from the values
                yield holding_values(found and replace(found, form="values"))
    if span[0] >= 0 and right is not None and right.tensor is not None:
        for hypothesis in widths_of(case, right, span[1] + 1):
            yield holding_values(hypothesis)


def holding_values(hypothesis: Hypothesis | None) -> Hypothesis | None:
    """The values fit the new sizes, which zeros could not show."""
    if hypothesis is None or hypothesis.repair is None:
        return hypothesis
    repair = replace(hypothesis.repair, holds_values=True)
    return replace(hypothesis, repair=repair, outcome=None)


def _shifted(
    case: Case, ref: TensorRef, span: tuple[int, int], limit: int
) -> Hypothesis | None:
    """Values that would fit if they began at 0, or if what is below 0 were a row."""
    if span[0] < 0 and not case.mismatch.loss:
        words = f"looks up row 0 for {span[0]}; a row of its own is better"
        edit = Edit("{}.clamp(min=0)", lambda t: t, words, values=True)
    elif span[0] >= 1 and limit and span[1] - span[0] < limit:
        words = "makes the indices start at 0"
        edit = Edit(f"{{}} - {span[0]}", lambda t: t, words, values=True)
    else:
        return None
    made = edited(case, ref, edit, "values")
    return made and replace(made, repair=None, outcome=None)


def _ignoring(case: Case, value: int, site: Site) -> Hypothesis | None:
    """`ignore_index` for a padding value; of the function's call only."""
    line = find(case.call.source)
    code = "" if line is None else line.code
    if line is None or "ignore_index" in code or "cross_entropy(" not in code:
        return None
    text = f"{code.rstrip()[:-1].rstrip().rstrip(',')}, ignore_index={value})"
    words = f"leaves the positions with label {value} out"
    return Hypothesis(
        "values", site, None, 0, line.around(text), line.source, words, size=value
    )


def _unlike(case: Case) -> Found:
    """One tensor cast or moved to the type or place of the other."""
    left, right, kind = case.mismatch.left, case.mismatch.right, case.mismatch.kind
    if left is not None and right is None and case.mismatch.name == "int64":
        if left.tensor is not None:
            yield from _other_type(case, _given(case, left.tensor), torch.int64)
        return
    by_class = case.call.name in _BY_CLASS
    for spot, other in ((left, right), (right, left)):
        if spot is None or spot.tensor is None:
            continue
        ref = _given(case, spot.tensor)
        if case.graph.is_parameter(ref.id):
            yield _parameters(case, spot, other)
            continue
        if kind == "dtype" and by_class and case.is_target(ref.id):
            yield from _other_type(case, ref, torch.int64)
            continue
        if other is None or other.tensor is None:
            continue
        like = case.graph.tensors[other.tensor]
        if kind == "device":
            yield from _moved(case, ref, like)
        elif like.dtype != ref.dtype and like.dtype.is_floating_point:
            yield from _other_type(case, ref, like.dtype)


def _other_type(case: Case, ref: TensorRef, dtype: torch.dtype) -> Found:
    own, wanted = _short(ref.dtype), _short(dtype)
    edit = edits.cast(dtype)
    giver = _giver(case, ref, "dtype")
    verb = "gives" if giver.kind in ("module", "function") else "is"
    reason = f"{verb} {own}; {wanted} is wanted"
    yield _with_reason(edited(case, ref, edit, "values", giver), reason, giver)
    root = case.root()
    if root is not None and root.inputs and case.layer is not None:
        first = root.inputs[0]
        if first.dtype == ref.dtype and not case.graph.from_model(first.id):
            made = edited_at(case, root, first, edit, "values")
            yield _with_reason(made, reason)
    held = _held(case, ref)
    if held is not None:
        yield Hypothesis("values", held, reason=f"uses a tensor that {reason}")


def _moved(case: Case, ref: TensorRef, like: TensorRef) -> Found:
    device = like.device
    edit = Edit(f'{{}}.to("{device}")', lambda t: t, f"moves it to {device}", device)
    reason = f"is on {ref.device}, {device} is wanted"
    held = _held(case, ref)
    if held is not None:
        said = (
            f"uses a tensor that {reason}; it is neither parameter nor buffer (but an "
            "attribute, or of a layer in a plain list): .to() does not reach it"
        )
        yield Hypothesis("values", held, reason=said)
        yield _with_reason(edited(case, ref, edit, "values", held), said)
        return
    giver = _giver(case, ref, "device")
    yield _with_reason(edited(case, ref, edit, "values", giver), reason, giver)


def _with_reason(
    hypothesis: Hypothesis | None, reason: str, site: Site | None = None
) -> Hypothesis | None:
    """Told why; where no line can be written, whoever it is at least."""
    if hypothesis is None:
        return None if site is None else Hypothesis("values", site, reason=reason)
    return replace(hypothesis, reason=reason)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _giver(case: Case, ref: TensorRef, kind: str) -> Site:
    """The oldest call of the unbroken run that has the odd type or device, or the data
    that came with it."""
    value = getattr(ref, kind)
    found: Call | None = None
    for made, call in case.graph.chain(ref.id):
        if getattr(case.graph.tensors[made], kind) != value:
            break
        found = call
    target = case.is_target(ref.id)
    if found is None or not found.inputs:
        return site_of_data(case.graph, ref.id, target=target)
    if any(
        getattr(other, kind) == value and case.graph.producer(other.id) is None
        for other in found.inputs
        if not case.graph.is_parameter(other.id)
    ):
        return site_of_data(case.graph, ref.id, target=target)
    outside = isinstance(found, FunctionCall) and found.parent is None
    if outside and not case.graph.from_model(ref.id):
        return site_of_data(case.graph, ref.id, target=target)
    return site_of_call(case.graph, found)


def _held(case: Case, ref: TensorRef) -> Site | None:
    """The module that seems to hold a tensor as a plain attribute: it descends from one
    that came from outside the trace, and not through the module's inputs."""
    module = case.graph.module_of(case.call)
    if module is None or case.layer is not None:
        return None
    start = ref.id
    for _, call in case.graph.chain(start):
        if call.inputs and not case.graph.is_parameter(call.inputs[0].id):
            start = call.inputs[0].id
    given = {other.id for call in case.graph.rec.calls for other in call.inputs}
    origin = case.graph.origin(start)
    if origin is not None and origin.kind == "outside" and start not in given:
        return site_of_module(module)
    return None


def _parameters(case: Case, spot: Spot, other: Spot | None) -> Hypothesis | None:
    """The layer whose parameters are of another type, or elsewhere."""
    if spot.tensor is None or other is None or other.tensor is None:
        return None
    kind = case.mismatch.kind
    own = getattr(case.graph.tensors[spot.tensor], kind)
    wanted = getattr(case.graph.tensors[other.tensor], kind)
    name = owner(case.graph, spot.tensor) or ""
    calls = case.replay.calls_of.get(name)
    source = calls[-1].source if calls else None
    own, wanted = (str(one).removeprefix("torch.") for one in (own, wanted))
    text = f'{case.path(name)}.to("{wanted}")'
    if kind == "dtype":
        text = f"{case.path(name)}.to(torch.{wanted})"
    site = Site("module", name, name, source)
    home = at_home(case.graph, spot.tensor, kind)
    said = "" if home else ", as those of the rest of the model are not"
    reason = f"holds {own} parameters, gets {wanted}{said}"
    return Hypothesis("values", site, None, 0, text, None, reason=reason)


def _target_types(case: Case) -> Found:
    """A target of another type, or one-hot rows as the numbers of their classes."""
    prediction, target = case.prediction, case.target
    if prediction is None or target is None:
        return
    by_class = case.call.name in _BY_CLASS
    menu: list[tuple[Form, Edit]] = []
    if by_class and prediction.shape == target.shape and len(target.shape) > 1:
        menu.append(("values", edits.argmax(1)))
        if not target.dtype.is_floating_point and case.call.name == "cross_entropy":
            menu.append(("values", edits.cast(torch.float32)))
    elif by_class and len(prediction.shape) == len(target.shape) > 1:
        if target.shape[-1] == prediction.shape[1]:
            menu.append(("values", edits.argmax(len(target.shape) - 1)))
    wanted = torch.int64 if by_class else prediction.dtype
    if target.dtype != wanted and wanted.is_floating_point != by_class:
        menu.append(("values", edits.cast(wanted)))
        if len(target.shape) > 1 and target.shape[1] == 1 and by_class:
            cast = edits.cast(wanted)
            both = Edit(
                "{}.squeeze(1)" + cast.text.removeprefix("{}"),
                lambda t: cast.act(t.squeeze(1)),
                "drops the dimension of size 1 and casts it",
            )
            menu.append(("values", both))
    for form, edit in menu:
        reason = f"is {_short(target.dtype)} of shape {target.shape}"
        yield _with_reason(edited(case, target, edit, form), reason)
    if is_loss(case.call.name) and not by_class:
        yield class_rows(case, target, prediction)


def _container(case: Case) -> Found:
    """One tensor of the container that was handed on whole."""
    given = case.call.inputs if case.layer is None else case.layer.inputs
    parts: dict[str, list[tuple[TensorRef, str]]] = {}
    for ref in given:
        match = _HEAD.fullmatch(ref.path)
        if match is not None:
            parts.setdefault(match[1], []).append((ref, match[2]))
    for head, refs in parts.items():
        giver = _gave(case, [ref.id for ref, _ in refs])
        for ref, rest in refs[:3]:
            yield _part(case, given, head, ref, rest, giver)


def _gave(case: Case, tensors: list[int]) -> ModuleCall | None:
    """The module whose whole output was passed on."""
    for module in sorted(case.graph.rec.calls, key=lambda call: -call.end_order):
        ids = {ref.id for ref in module.outputs or ()}
        if module.output_type != "Tensor" and ids & set(tensors):
            return module
    return None


def _part(
    case: Case,
    given: tuple[TensorRef, ...],
    head: str,
    ref: TensorRef,
    rest: str,
    giver: ModuleCall | None,
) -> Hypothesis | None:
    call, layer = case.call, case.layer
    site = site_of_module(giver) if giver is not None else case.site_of(ref.id)
    reason = f"returns {giver.output_type}, not one tensor" if giver is not None else ""
    line = find(call.source)
    node = None if line is None else line.argument(head)
    bare = Hypothesis("values", site, reason=reason)
    if line is None or node is None:
        return bare
    if layer is not None and not case.names_its_input(layer, ref.id):
        return bare
    one = replace(ref, path=head)
    others = tuple(r for r in given if not r.path.startswith(head))
    new = _single(call, one, others)
    if layer is not None:
        info = case.graph.rec.modules.get(layer.name)
        whole = replace(layer, inputs=(one, *others))
        made = None if info is None else module_function(whole, info)
        if made is None:
            return bare
        new = replace(made, index=call.index)
    access = rest.replace("'", '"')
    kind = giver.output_type.partition("(")[0] if giver is not None else ""
    if kind not in ("dict", "OrderedDict", "defaultdict"):
        access = re.sub(r'^\["(\w+)"\]', r".\1", access)
    text = line.with_part(node, suffixed(line.text(node), node, "{}" + access))
    words = f"hands on {access.lstrip('.')} of it, a tensor {ref.shape}"
    return replace(
        bare,
        repair=Repair(calls={call.index: new}),
        line=text,
        where=line.source,
        words=words,
    )


def _single(
    call: FunctionCall, one: TensorRef, others: tuple[TensorRef, ...]
) -> FunctionCall:
    """A function's call with the one tensor where its container was."""
    args = list(call.args)
    kwargs: dict[str, Any] = dict(call.kwargs)
    if one.path.startswith("args"):
        args[int(one.path[5:-1])] = one
    else:
        kwargs[one.path[8:-2]] = one
    return replace(call, inputs=(one, *others), args=tuple(args), kwargs=kwargs)
