"""The line that builds a module, with another constructor in it."""

from __future__ import annotations

import ast
import sys

import torch

from shapetrace.records import ModuleInfo, Recording, Source
from shapetrace.source.assignment import definition
from shapetrace.source.line import find


def placed(rec: Recording, info: ModuleInfo, text: str) -> tuple[str, Source | None]:
    """The user's line with `text` in place of the constructor of a module, spelled as
    it was there, and where it is; an assignment by the module's path where the line is
    not known."""
    line = find(definition(rec, info.name))
    if line is None or not isinstance(line.tree, ast.Call):
        return f"{module_path(rec, info.name)} = {text}", None
    own = line.text(line.tree.func)
    made = text.partition("(")[0]
    if own.endswith(info.type) and made == f"nn.{info.type}":
        text = own + text[len(made) :]
    elif own.endswith("." + info.type):
        text = own.removesuffix(info.type) + text.removeprefix("nn.")
    return line.around(text), line.source


def module_path(rec: Recording, name: str) -> str:
    """`model.classifier[1]`, with the user's own name of the model if seen."""
    root = next((r for r in rec.roots if r and name.startswith(r + ".")), "")
    text = "model"
    for call in rec.calls:
        if call.name == root:
            line = find(call.source)
            if line is not None and isinstance(line.tree, ast.Call):
                if isinstance(line.tree.func, (ast.Name, ast.Attribute)):
                    text = line.text(line.tree.func)
            break
    inner = name[len(root) + 1 :] if root else name
    above = root
    for part in inner.split(".") if inner else ():
        info = rec.modules.get(above)
        if part.isdigit() and not _by_key(info):
            text += f"[{part}]"
        elif part.isidentifier():
            text += f".{part}"
        else:  # named by add_module() or a key: no attribute that can be written out
            text += f'["{part}"]' if _by_key(info) else f'._modules["{part}"]'
        above = f"{above}.{part}" if above else part
    return text


def _by_key(info: ModuleInfo | None) -> bool:
    """Whether a module is an nn.ModuleDict: its entries have names, not numbers."""
    home, _, name = info.qualname.rpartition(".") if info is not None else ("", "", "")
    kind = getattr(sys.modules.get(home), name, None)
    return isinstance(kind, type) and issubclass(kind, torch.nn.ModuleDict)
