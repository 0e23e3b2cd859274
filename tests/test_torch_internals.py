"""Each private name of torch's that the package uses is there in this torch, and
without it a step is traced all the same.

A new torch that moves one fails this test by its name, before anything else does.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import shapetrace.torch_internals as torch_internals

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


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def instances() -> list[tuple[Any, str]]:
    """Objects of torch's, and what of theirs is private."""
    layer = nn.Linear(2, 2)
    made = layer(torch.ones(1, 2))
    add = torch.ops.aten.add.Tensor
    hooks = [f"_{kind}_hooks" for kind in ("forward", "forward_pre", "backward")]
    return [
        *((layer, name) for name in ("_parameters", "_buffers", "_modules", *hooks)),
        (layer, "_backward_pre_hooks"),
        (layer._replicate_for_data_parallel(), "_is_replica"),
        (made.untyped_storage(), "_cdata"),
        (made.grad_fn, "_sequence_nr"),
        (Square.apply(made).grad_fn, "_forward_cls"),
        (add, "_overloadpacket"),
        (add, "_can_decompose"),
    ]


@pytest.mark.parametrize("name", torch_internals.NAMES)
def test_this_torch_still_has(name):
    assert found(name) is not None


@pytest.mark.parametrize(
    "name",
    [
        "torch._subclasses.fake_tensor.FakeTensorMode",
        "torch._dynamo.eval_frame._stance",
        "torch.distributed.distributed_c10d._get_default_store",
    ],
)
def test_this_torch_still_has_what_is_imported_when_it_is_needed(name):
    assert found(name) is not None


@pytest.mark.parametrize("at", range(len(instances())))
def test_objects_of_this_torch_still_have(at):
    owner, name = instances()[at]
    assert hasattr(owner, name), f"{type(owner).__name__}.{name}"


def test_no_other_file_spells_a_private_name():
    private_of_objects = {name for _, name in instances()}
    for path in PACKAGE.rglob("*.py"):
        if path.name == "torch_internals.py":
            continue
        text = path.read_text()
        assert list(names_in(path)) == [], path
        attributes = {
            node.attr
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Attribute) and dotted(node.value) != "self"
        }
        assert attributes & private_of_objects == set(), path


#: trains a model under each option and with none, where `ABSENT` are not in torch
WITHOUT = """
import builtins, sys
ABSENT = set(sys.argv[1:])
real = builtins.getattr
def getattr_(value, name, *default):
    if real(sys._getframe(1), "f_code").co_name == "_found" and name in ABSENT:
        raise AttributeError(name)
    return real(value, name, *default)
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
import torch.utils._pytree, torch.utils._python_dispatch
builtins.getattr = getattr_
import shapetrace
from shapetrace import torch_internals
builtins.getattr = real
if "DisableTorchFunction" in ABSENT:
    assert torch_internals.unseen_by_modes is __import__("contextlib").nullcontext
if "_push_on_torch_function_stack" in ABSENT:
    assert not torch_internals.has_mode_stack
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(8, 6), nn.Linear(6, 4)
    def forward(self, x):
        return self.fc2(checkpoint(self.fc1, x.relu(), use_reentrant=False))
def run(trace, **options):
    torch.manual_seed(0)
    model = Net()
    x, y = torch.randn(5, 8), torch.tensor([0, 1, 2, 3, 0])
    if trace:
        with shapetrace.trace(model, **options) as t:
            nn.functional.cross_entropy(model(x), y).backward()
        assert [c.name for c in t.calls][:3] == ["", "fc1", "fc2"], t.calls
        assert [loss.name for loss in t.losses] == ["cross_entropy"] * bool(t.functions)
        str(t), t.to_dataframe(), t.costs, t.explain(), t._repr_html_()
        try:
            with shapetrace.trace(model, **options) as t:
                model(x[:, :7])
        except RuntimeError as error:
            assert t.failure is None or "7" in error.__notes__[0]
    else:
        nn.functional.cross_entropy(model(x), y).backward()
    return [p.grad for p in model.parameters()]
plain = run(False)
for options in ({}, {"functions": False}, {"memory": True, "backward": True}):
    grads = run(True, **options)
    assert all(map(torch.equal, plain, grads)), options
    assert not torch.overrides._get_current_function_mode_stack()
    assert not torch.nn.modules.module._global_forward_hooks
    assert not torch.nn.modules.module._global_forward_pre_hooks
print("as without")
"""


def run_without(*names):
    last = [name.rpartition(".")[2] for name in names]
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT, *last]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout == "as without\n", done.stderr[-3000:]


def test_a_step_is_traced_where_torch_has_none_of_the_names():
    run_without(*torch_internals.NAMES)


#: these are of use together only: one without the others is a case of its own
STACK = [name for name in torch_internals.NAMES if "function_stack" in name]


@pytest.mark.zoo
@pytest.mark.parametrize("name", STACK)
def test_a_step_is_traced_where_torch_has_moved(name):
    run_without(name)


@pytest.mark.zoo
def test_a_step_is_traced_where_torch_has_a_stack_of_modes_and_nothing_else():
    run_without(*(name for name in torch_internals.NAMES if name not in STACK))


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
    monkeypatch.delattr("torch.distributed.distributed_c10d._get_default_store")
    assert torch_internals.default_store() is None
