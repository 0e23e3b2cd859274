"""How a size can be written in the user's code: by the names it has there."""

from __future__ import annotations

import ast
import copy
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from shapetrace.records import FunctionCall, ModuleCall, Recording, TensorRef
from shapetrace.source.frames import expression_of
from shapetrace.source.integers import Inits, shape_item, shape_of, value
from shapetrace.source.rewrite import Span, span
from shapetrace.source.scope import Expression, Scope, nodes

Call = FunctionCall | ModuleCall
Tensors = dict[str, TensorRef]
Names = dict[str, tuple[TensorRef, int]]


@dataclass(frozen=True, slots=True)
class Size:
    """One way to write a size: `T`, `self.heads`, `x.size(1)`. `tensor` and `dim` say
    whose dimension it is, where it is one's. `named`: a name of its own stands for it.
    """

    text: str
    size: int
    tensor: int | None = None
    dim: int | None = None
    named: bool = True


def sizes_at(rec: Recording, call: Call) -> list[Size]:
    """All sizes that have a name, or that an expression gives, where a recorded call is
    made: names first, then attributes of the module, then shapes of variables."""
    made = expression_of(rec, call)
    if made is None:
        return []
    tensors, names = _known(rec, call, made)
    found = [
        Size(name, ref.shape[dim], ref.id, dim) for name, (ref, dim) in names.items()
    ]
    owner = made.scope.owner
    if owner is not None and owner in rec.modules:
        for key, number in rec.modules[owner].attributes.items():
            if type(number) is int:
                found.append(Size(f"{made.scope.self_name()}.{key}", number))
    form = _form(made.scope)
    for name, ref in tensors.items():
        for dim, size in enumerate(ref.shape):
            text = form.format(name=name, dim=dim)
            found.append(Size(text, size, ref.id, dim, named=False))
    return found


def tensors_at(rec: Recording, call: Call) -> Tensors:
    """The tensors that have a name where a recorded call is made, by their names."""
    made = expression_of(rec, call)
    return {} if made is None else _known(rec, call, made)[0]


def spelled_size(
    ways: Sequence[Size], size: int, same: Collection[tuple[int, int]] = ()
) -> str | None:
    """The best text for a size. `same` are tensors with a dimension that is known to be
    the wanted one. None where none has that size, or several names have it that are not
    known to be the same, nor for 1, which too many things are by chance."""
    fitting = [way for way in ways if way.size == size > 1]
    exact = [way for way in fitting if (way.tensor, way.dim) in same]
    for some in (exact, [way for way in fitting if way.named], fitting):
        if some is exact and exact:
            return exact[0].text
        places = {
            (way.tensor, way.dim, way.tensor is None and way.text) for way in some
        }
        if len(places) == 1:
            return some[0].text
        if places:
            return None
    return None


def near_size(ways: Sequence[Size], size: int, written: ast.expr) -> str | None:
    """The one text for a size that is next to what is written: another dimension of the
    same tensor, else the same dimension of another one. None where `x.size(0)` is not
    what is written, or several fit."""
    item = shape_item(written)
    if item is None:
        return None
    name, shapes = ast.unparse(item[0]), [way for way in ways if not way.named]
    own = [way for way in shapes if way.text.startswith(f"{name}.")]
    others = [way for way in shapes if way.dim == item[1]]
    for some in (own, others):
        fitting = [way for way in some if way.size == size]
        if fitting:
            return fitting[0].text if len(fitting) == 1 else None
    return None


def _form(scope: Scope) -> str:
    """`x.size(1)` or `x.shape[1]`, as the file has it more often."""
    code = "".join(scope.tree.lines)
    shapes = code.count(".shape[")
    return (
        "{name}.size({dim})" if code.count(".size(") > shapes else "{name}.shape[{dim}]"
    )


def _known(rec: Recording, call: Call, made: Expression) -> tuple[Tensors, Names]:
    """What the variables of a function hold when it comes to a call: tensors, and
    sizes of tensors. The statements before are read in the order of the file."""
    scope = made.scope
    tensors, names = _given(rec, call, scope), Names()
    outputs = _outputs(rec, call)
    last = scope.tree.statement(made.node).lineno
    for target, val in _assignments(scope, last):
        _assign(target, val, outputs, tensors, names)
    return tensors, names


def _given(rec: Recording, call: Call, scope: Scope) -> Tensors:
    """The tensors that a forward was given, by the names of its parameters."""
    if call.parent is None or scope.owner is None:
        return {}
    if getattr(scope.home, "name", "") != "forward":
        return {}
    parameters = [arg.arg for arg in scope.parameters()][1:]
    paths = {f"args[{n}]": name for n, name in enumerate(parameters)}
    paths |= {f"kwargs['{name}']": name for name in parameters}
    inputs = rec.calls[call.parent].inputs
    return {paths[ref.path]: ref for ref in inputs if ref.path in paths}


def _outputs(rec: Recording, call: Call) -> dict[Span, tuple[TensorRef, ...]]:
    """What the calls gave that came before in the same frame, by where they stand."""
    found: dict[Span, tuple[TensorRef, ...]] = {}
    before: list[Call] = [*rec.calls, *rec.functions]
    for other in sorted(before, key=lambda other: other.order):
        if other.order >= call.order:
            break
        place = other.source
        if other.parent != call.parent or place is None or not other.outputs:
            continue
        if place.column is not None and place.end_column is not None:
            end = place.end_line or place.line
            found[place.line, place.column, end, place.end_column] = other.outputs
    return found


def _assignments(
    scope: Scope, last: int
) -> Iterator[tuple[ast.expr, ast.expr | ast.stmt]]:
    for node, _ in nodes(scope.home):
        if isinstance(node, ast.stmt) and node.lineno >= last:
            continue
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield target, node.value
        elif isinstance(node, ast.AugAssign):
            yield node.target, node
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield node.target, node.value


def _assign(
    target: ast.expr,
    val: ast.expr | ast.stmt,
    outputs: dict[Span, tuple[TensorRef, ...]],
    tensors: Tensors,
    names: Names,
) -> None:
    """One assignment, of which what is not understood makes its names unknown."""
    targets = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
    if isinstance(val, ast.Tuple) and len(val.elts) == len(targets) > 1:
        for one, each in zip(targets, val.elts, strict=True):
            _assign(one, each, outputs, tensors, names)
        return
    ids = [each.id if isinstance(each, ast.Name) else "" for each in targets]
    held = tensors.get(val.id) if isinstance(val, ast.Name) else None
    # a tensor that is unpacked is unbound where the names stand
    made = outputs.get(span(val), outputs.get(span(target), ()))
    shape = shape_of(val) if isinstance(val, ast.expr) else None
    of = tensors.get(shape.id) if isinstance(shape, ast.Name) else None
    item = shape_item(val) if isinstance(val, ast.expr) else None
    for name in ids:
        tensors.pop(name, None)
        names.pop(name, None)
    if of is not None and len(targets) > 1:
        stars = [n for n, each in enumerate(targets) if isinstance(each, ast.Starred)]
        for n, name in enumerate(ids):
            behind = bool(stars) and n > stars[0]
            dim = n - len(ids) + len(of.shape) if behind else n
            if name and name != "_" and dim < len(of.shape):
                names[name] = (of, dim)
    elif item is not None and len(targets) == 1 and ids[0]:
        holder = tensors.get(item[0].id) if isinstance(item[0], ast.Name) else None
        if holder is not None and -len(holder.shape) <= item[1] < len(holder.shape):
            names[ids[0]] = (holder, item[1] % len(holder.shape))
    elif held is not None and len(targets) == 1:
        tensors[ids[0]] = held
    elif len(made) >= len(targets):
        for name, ref in zip(ids, made, strict=False):
            if name:
                tensors[name] = ref
    tensors.pop("", None)


# -- sizes in a constructor ------------------------------------------------------------


def integers_in(scope: Scope, inits: Inits, before: int) -> dict[str, int]:
    """The names in a function whose numbers are written out in the source, and which
    it has before a line."""
    names = [arg.arg for arg in scope.parameters()]
    me = scope.self_name()
    for node, _ in nodes(scope.home):
        if isinstance(node, ast.expr) and node.lineno >= before:
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == me:
                names.append(f"{me}.{node.attr}")
    found = {}
    for name in dict.fromkeys(names):
        node = ast.parse(name, mode="eval").body
        number = value(Expression(node, scope), inits)
        if number is not None:
            found[name] = number
    return found


def reworded(old: Expression, wanted: int, inits: Inits) -> str:
    """Another number in place of an expression, in the names that it is made of: one of
    them exchanged for another, a multiple, or one more or fewer; a plain number where
    none fits."""
    leaves = [
        node
        for node in ast.walk(old.node)
        if isinstance(node, ast.Name | ast.Attribute)
        and value(old.at(node), inits) is not None
    ]
    if not leaves:
        return str(wanted)
    first = old.scope.tree.statement(old.node).lineno
    options = {
        _with(old, leaf, name)
        for name, number in integers_in(old.scope, inits, first).items()
        for leaf in leaves
        if _reckoned(old, leaf, number, inits) == wanted
    }
    if len(options) == 1:
        return options.pop()
    now = value(old, inits)
    if now and wanted % now == 0 and 1 < wanted // now <= _MULTIPLE:
        inner = f"({old.code})" if isinstance(old.node, ast.BinOp) else old.code
        return f"{wanted // now} * {inner}"
    if now and abs(wanted - now) == 1:  # a class token, a background, a padding index
        return f"{old.code} {'+' if wanted > now else '-'} 1"
    return str(wanted)


_MULTIPLE = 4  # directions, gates, parts of a join: more is no plain multiple


def _with(old: Expression, leaf: ast.expr, text: str) -> str:
    """The code of an expression with one of its names exchanged."""
    line, column, _, _ = span(old.node)
    here, begin, _, end = span(leaf)
    raw = [part.encode() for part in old.code.split("\n")]
    shift = column if here == line else 0
    row = raw[here - line]
    raw[here - line] = row[: begin - shift] + text.encode() + row[end - shift :]
    return b"\n".join(raw).decode()


def _reckoned(old: Expression, leaf: ast.expr, number: int, inits: Inits) -> int | None:
    """What an expression gives with a number in place of one of its names."""

    class Exchange(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if (type(node), getattr(node, "lineno", 0)) == (type(leaf), leaf.lineno):
                assert isinstance(node, ast.expr)
                if span(node) == span(leaf):
                    return ast.copy_location(ast.Constant(number), node)
            return super().generic_visit(node)

    changed = Exchange().visit(copy.deepcopy(old.node))
    assert isinstance(changed, ast.expr)
    return value(old.at(changed), inits)
