"""Lines in which a loss is another one, or has an option set."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

from shapetrace.checks.finding.context import CheckContext
from shapetrace.checks.fixes.lines import at, built, with_argument
from shapetrace.records import Fix, FunctionCall
from shapetrace.source.line import Line, find, suffixed
from shapetrace.source.tree import last_name

#: the layers of losses that another one may stand for
_LAYERS = {"binary_cross_entropy_with_logits": "BCEWithLogitsLoss"}
#: what a loss does where it is told nothing
_DEFAULTS = {
    "weight": None,
    "ignore_index": -100,
    "reduction": "mean",
    "label_smoothing": 0.0,
}


def with_option(
    context: CheckContext, loss: FunctionCall, name: str, value: int | str
) -> Fix | None:
    """A loss with one of its options set, where its layer is built or it is called."""
    layer, said = context.layer(loss), f"{name}={json.dumps(value)}"
    if layer is not None:
        changes: dict[str, Any] = {name: value}
        return built(context, layer.name, **changes)
    line = find(loss.source)
    if line is not None and isinstance(line.tree, ast.Call) and len(loss.inputs) == 2:
        if last_name(line.tree.func) != loss.name and len(line.tree.args) == 2:
            if not _is_plain(loss, name):
                return None
            # a layer that the trace has not met
            given = ", ".join(map(line.text, line.tree.args))
            new = line.around(line.spelled(f"F.{loss.name}({given}, {said})"))
            return Fix(new, where=line.source)
    usual = _DEFAULTS.get(name)
    return with_argument(loss, said, absent=loss.kwargs.get(name, usual) == usual)


def another_loss(
    context: CheckContext,
    loss: FunctionCall,
    name: str,
    changes: Mapping[str, str] = {},
) -> Fix | None:
    """Another function in the place of a loss that is told nothing but what it
    compares. `changes` are templates for its tensors, by their paths."""
    line = find(loss.source)
    if line is None or not _is_plain(loss):
        return None
    layer = context.layer(loss)
    if layer is not None and not changes:
        return built(context, layer.name, f"nn.{_LAYERS[name]}()")
    if not isinstance(line.tree, ast.Call) or line.tree.keywords:
        return None
    given = [(ref, at(loss, ref.path)[1]) for ref in loss.inputs]
    if len(line.tree.args) != len(given):
        return None
    texts = [
        suffixed(line.text(node), node, changes.get(ref.path, "{}"))
        for ref, node in given
        if node is not None
    ]
    if len(texts) < len(given):
        return None
    new = f"{_spelled(line, loss, name)}({', '.join(texts)})"
    return Fix(line.around(new), where=line.source)


def _is_plain(loss: FunctionCall, but: str = "") -> bool:
    """Whether a loss is told nothing that another call of it would lose."""
    return all(
        loss.kwargs.get(option, usual) == usual
        for option, usual in _DEFAULTS.items()
        if option != but
    )


def _spelled(line: Line, loss: FunctionCall, name: str) -> str:
    """A function of the module that the loss is called of, where it is one."""
    assert isinstance(line.tree, ast.Call)
    func = line.tree.func
    if isinstance(func, ast.Attribute) and func.attr == loss.name:
        return f"{line.text(func.value)}.{name}"
    return line.spelled(f"F.{name}")
