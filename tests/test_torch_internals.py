"""Each private name of torch's that the package uses is there in this torch.

A new torch that moves one fails this test by its name, before anything else does.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

PACKAGE = Path(__file__).parents[1] / "shapetrace"


def dotted(node: ast.AST) -> str | None:
    """`torch._C._nn` of its syntax tree."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def private(name: str) -> bool:
    parts = name.split(".")
    dunder = any(part.startswith("__") for part in parts)
    return parts[0] == "torch" and not dunder and any(p[:1] == "_" for p in parts)


def names_in(path: Path) -> Iterator[str]:
    """Every private name of torch's that a file spells, imports included."""
    aliases: dict[str, str] = {}
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                aliases[alias.asname or alias.name] = whole
                if private(whole):
                    yield whole
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = dotted(node)
            if name is None:
                continue
            first, _, rest = name.partition(".")
            name = f"{aliases.get(first, first)}.{rest}"
            if private(name):
                yield name


def found(name: str) -> Any:
    """What the name stands for in this torch."""
    parts = name.split(".")
    value: Any = torch
    for at, part in enumerate(parts[1:], 2):
        if not hasattr(value, part):
            importlib.import_module(".".join(parts[:at]))
        value = getattr(value, part)
    return value


NAMES = sorted({name for path in PACKAGE.rglob("*.py") for name in names_in(path)})


@pytest.mark.parametrize("name", NAMES)
def test_this_torch_still_has(name):
    assert found(name) is not None


def test_the_names_are_found_in_every_spelling(tmp_path):
    path = tmp_path / "file.py"
    path.write_text(
        "import torch\n"
        "from torch.utils import _pytree\n"
        "from torch.nn.modules import module as hooks\n"
        "torch._C._nn.gelu\n"
        "hooks._global_forward_hooks\n"
        "torch.nn.Module.__call__\n"
    )
    assert set(names_in(path)) == {
        "torch.utils._pytree",
        "torch._C._nn",
        "torch._C._nn.gelu",
        "torch._C",
        "torch.nn.modules.module._global_forward_hooks",
    }


def test_a_name_that_is_gone_fails():
    with pytest.raises((AttributeError, ImportError)):
        found("torch._C._gone_with_the_next_version")


def test_what_has_a_way_without_goes_it(monkeypatch):
    from shapetrace.recording import torch_internals

    monkeypatch.delattr("torch.distributed.distributed_c10d._get_default_store")
    assert torch_internals.default_store() is None
