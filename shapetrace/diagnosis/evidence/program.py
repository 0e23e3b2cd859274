"""What the program's text says: numbers written out against sizes that follow, code of
the user's against installed packages, attributes that disagree with their tensors."""

from __future__ import annotations

import ast

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.records import FunctionCall, ModuleInfo
from shapetrace.signatures import is_method, kind
from shapetrace.source.line import find
from shapetrace.source.scope import Scope, bound
from shapetrace.source.tree import is_own, last_name

#: what gives a number that is in a tensor
_READS = ("max", "amax", "item", "tolist")
#: which attribute of a layer says which dimension of its weight
_WIDTHS = {
    "out_features": 0,
    "in_features": 1,
    "num_embeddings": 0,
    "embedding_dim": 1,
}


def attribute(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """A module's attribute that says another size than its tensor has: somebody set it
    after the module was built, which changes nothing but the number."""
    if hypothesis.site.kind != "module":
        return None
    info = case.graph.rec.modules.get(hypothesis.site.name)
    told = None if info is None else disagreement(info)
    if info is None or told is None:
        return None
    name, said, real = told
    text = f"its attribute says {name}={said}, but its weight has {real}: setting the "
    text += "attribute does not rebuild the layer"
    weight = next(ref for ref in info.parameters if ref.path == "weight")
    held = case.graph.origin(weight.id)
    if held is not None and held.name != f"{info.name}.weight":
        other = case.graph.said(held.name)
        text = f"its attribute says {name}={said}, but its weight is `{other}`"
    return Fact("attribute disagrees", text=text)


def disagreement(info: ModuleInfo) -> tuple[str, int, int] | None:
    """The attribute of a layer that its weight does not bear out, what it says and what
    the weight has."""
    if not info.qualname.startswith("torch.nn.modules."):
        return None
    weight = next((ref for ref in info.parameters if ref.path == "weight"), None)
    if weight is None or len(weight.shape) != 2:
        return None
    for name, dim in _WIDTHS.items():
        said = info.attributes.get(name)
        if isinstance(said, int) and said != weight.shape[dim]:
            return name, said, weight.shape[dim]
    return None


def mirror(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether one side gets what the program does to the other."""
    return Fact("as was done to the other side") if hypothesis.mirrors else None


def program(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether the change is in code that the user wrote, and of a number that stands
    there."""
    site = hypothesis.site
    if site.kind == "module" and _is_library(case, site.name):
        return Fact("a module in an installed package")
    if site.source is not None and not is_own(site.source):
        return Fact(f"a {site.kind} in an installed package")
    if hypothesis.form == "number" and hypothesis.repair is not None:
        index = next(iter(hypothesis.repair.calls), None)
        if index is not None and 0 <= index < len(case.graph.rec.functions):
            call = case.graph.rec.functions[index]
            return _number(call, hypothesis.size)
    return None


def read_off(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """A size that the code reads off values, `int(batch.max()) + 1`: it is as large as
    what happens to be there."""
    call = case.call_of(hypothesis.site)
    if call is None or kind(call.name) != "fill":
        return None
    line = find(call.source)
    if line is None or not isinstance(line.tree, ast.Call):
        return None
    scope = Scope(line.file, line.file.home(line.node))
    for node in line.tree.args:
        text = _off_values(scope, node)
        if text:
            return Fact("a size read off values", text=f"its size is `{text}`")
    return None


def _off_values(scope: Scope, node: ast.expr, deep: int = 3) -> str:
    """The code of a size that is read off values, in an expression or behind a name."""
    for each in ast.walk(node):
        if isinstance(each, ast.Call) and last_name(each.func) in _READS:
            return scope.tree.text(node)
    if not isinstance(node, ast.Name) or not deep:
        return ""
    values = (one.value for one in bound(scope, node.id) if one.item is None)
    return next(filter(None, (_off_values(scope, v, deep - 1) for v in values)), "")


def _is_library(case: Case, name: str) -> bool:
    """Whether a module is held by one whose class is no code of the user's, nor torch's
    containers."""
    above = name
    while above:
        above = above.rpartition(".")[0]
        info = case.graph.rec.modules.get(above)
        if info is None or info.qualname.startswith("torch.nn.modules."):
            continue
        home = info.qualname.partition(".")[0]
        return home in ("torchvision", "timm", "transformers", "torch")
    return False


def _number(call: FunctionCall, number: int | None) -> Fact | None:
    """Whether a number among a call's arguments is written out there."""
    if number == 1 and kind(call.name) == "repeat":
        return Fact("repeats what is taken once")
    line = find(call.source)
    if line is None or number is None:
        return None
    tree = line.tree
    nodes: list[ast.expr] = []
    if isinstance(tree, ast.Call):
        nodes = [*tree.args, *(keyword.value for keyword in tree.keywords)]
    elif isinstance(tree, ast.Subscript):
        nodes = [tree.slice]
    written = {
        node.value
        for whole in nodes
        for node in ast.walk(whole)
        if isinstance(node, ast.Constant)
    }
    if number in written:
        return Fact("number written out", text=f"{number} is written out there")
    del tree
    return Fact("number computed" if not is_method(call) else "size computed")
