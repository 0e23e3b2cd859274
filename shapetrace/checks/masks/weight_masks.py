"""Masks of a layer's weights that a module keeps and never reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.finding.registry import Check
from shapetrace.checks.finding.report import finding
from shapetrace.checks.fixes.lines import operand
from shapetrace.records import Culprit, Diagnosis, FunctionCall, ModuleInfo, TensorRef
from shapetrace.source.tree import tree

#: what a buffer is called that says which weights there are
_MASK = re.compile(r"mask|adjacen|connect|sparsity", re.IGNORECASE)


def unread_masks(context: CheckContext, rule: Check) -> Iterator[Diagnosis]:
    """A buffer of the shape of a weight, which no call takes: the weights were masked
    once, when they were made, and their gradients are not."""
    if not context.by_name.get("backward"):
        return
    for info in context.graph.rec.modules.values():
        for mask in info.buffers:
            if not _MASK.search(mask.path) or len(mask.shape) < 2:
                continue
            found = _taken(context, info, mask)
            if found is None or _is_read(context, info, mask):
                continue
            if not _masks_gradients(info):
                yield _unread(context, rule, info, mask, *found)


def _taken(
    context: CheckContext, info: ModuleInfo, mask: TensorRef
) -> tuple[FunctionCall, TensorRef] | None:
    """The first call that learns with the parameter of the module that has the mask's
    shape, as it is."""
    alike = [ref for ref in info.parameters if ref.shape == mask.shape]
    if len(alike) != 1:
        return None
    name = f"{info.name}.{alike[0].path}".removeprefix(".")
    for call in context.functions:
        if not call.grad:
            continue
        for ref in call.inputs:
            origin = context.graph.origin(ref.id)
            if origin is not None and origin.name == name and origin.requires_grad:
                return call, ref
    return None


def _is_read(context: CheckContext, info: ModuleInfo, mask: TensorRef) -> bool:
    """Whether any call takes the mask, in a forward, in a hook or beside a step."""
    name = f"{info.name}.{mask.path}".removeprefix(".")
    origins = context.graph.rec.origins
    held = {one for one, origin in origins.items() if origin.name == name}
    return any(context.graph.users.get(one) for one in held | {mask.id})


def _masks_gradients(info: ModuleInfo) -> bool:
    """Whether the code that builds a module puts a hook on a tensor: what that does to
    gradients runs within backward, and is not recorded."""
    for init in info.inits:
        file = tree(init.file)
        home = file.defined_at(init.line) if file is not None else None
        for node in ast.walk(home) if home is not None else ():
            if isinstance(node, ast.Attribute) and "hook" in node.attr:
                return True
    return False


def _unread(
    context: CheckContext,
    rule: Check,
    info: ModuleInfo,
    mask: TensorRef,
    call: FunctionCall,
    weight: TensorRef,
) -> Diagnosis:
    said = context.graph.said(info.name)
    reason = f"never reads its `{mask.path}`"
    return finding(
        context,
        rule,
        call,
        f"`{mask.path}` of {said} has the shape of its weight, {mask.shape}, and no "
        f"call takes it: {call.name} uses the weight as it is, and after the first "
        "step no weight is 0 any more.",
        culprits=[Culprit("module", info.name, source=call.source, reason=reason)],
        fixes=[
            (
                operand(call, weight, f"{{}} * self.{mask.path}")
                if call.direct
                else "multiply the weight by its mask in every forward"
            )
        ],
        shapes=[("weight", weight, None), ("mask", mask, None)],
        way=(call.inputs[0].id, None),
    )
