"""The line that builds a module, with another constructor in it."""

from __future__ import annotations

import ast

from shapetrace.diagnosis.definition import definition
from shapetrace.diagnosis.rewrite import find
from shapetrace.lineage import Graph
from shapetrace.records import ModuleInfo, Source


def placed(graph: Graph, info: ModuleInfo, text: str) -> tuple[str, Source | None]:
    """The user's line with `text` in place of the constructor of a module, spelled as
    it was there, and where it is; an assignment by the module's path where the line is
    not known."""
    line = find(definition(graph, info.name))
    if line is None or not isinstance(line.tree, ast.Call):
        return f"{module_path(graph, info.name)} = {text}", None
    own = line.text(line.tree.func)
    made = text.partition("(")[0]
    if own.endswith(info.type) and made == f"nn.{info.type}":
        text = own + text[len(made) :]
    elif own.endswith("." + info.type):
        text = own.removesuffix(info.type) + text.removeprefix("nn.")
    return line.around(text), line.source


def module_path(graph: Graph, name: str) -> str:
    """`model.classifier[1]`, with the user's own name of the model if seen."""
    root = next((r for r in graph.rec.roots if r and name.startswith(r + ".")), "")
    text = "model"
    for call in graph.rec.calls:
        if call.name == root:
            line = find(call.source)
            if line is not None and isinstance(line.tree, ast.Call):
                if isinstance(line.tree.func, (ast.Name, ast.Attribute)):
                    text = line.text(line.tree.func)
            break
    inner = name[len(root) + 1 :] if root else name
    for part in inner.split("."):
        text += f"[{part}]" if part.isdigit() else f".{part}"
    return text
