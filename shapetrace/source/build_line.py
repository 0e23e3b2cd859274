"""The line that builds a module, with another constructor in it."""

from __future__ import annotations

import ast

from shapetrace.records import ModuleInfo, Recording, Source
from shapetrace.source.called import module_path, root_of, unnamed
from shapetrace.source.construction import Construction
from shapetrace.source.constructor import constructor, parameters
from shapetrace.source.finder import Constructions
from shapetrace.source.line import line_of
from shapetrace.source.names import spelled
from shapetrace.source.sizes import reworded
from shapetrace.source.tree import last_name


def placed(
    finder: Constructions, info: ModuleInfo, text: str
) -> tuple[str, Source | None]:
    """The user's statement with `text` in place of the constructor of a module, and the
    lines that it replaces; arguments that stay the same stay as they are written. An
    assignment by the module's path where the line is not known or builds others too; ""
    where no name leads to the module, `Net()(x)`."""
    rec = finder.rec
    made = finder.of(info.name)
    if made is None or len(finder.built_by(made)) > 1:
        if unnamed(rec, root_of(rec, info.name)):
            return "", None
        path = module_path(rec, info.name)
        return f"{path} = {_known(rec, text)}", None
    changes = _changes(info, text)
    if changes is not None:
        values = {}
        for name, value in changes.items():
            given = made.argument(name)
            if given is not None and value.isdigit():
                value = reworded(given, int(value), finder.scopes)
            values[name] = value
        changed = made.changed(**values)
        if changed is not None:
            return changed
    line = line_of(made.made.scope.tree, made.call)
    own = line.text(made.call.func)
    if own.rpartition(".")[2] == info.type and text.startswith(f"nn.{info.type}("):
        text = own + text.removeprefix(f"nn.{info.type}")
    return line.around(line.spelled(text)), line.source


def with_arguments(
    finder: Constructions, name: str, **values: str
) -> tuple[str, Source] | None:
    """The user's statement that builds a module, or the layer that a stack of torch's
    was given to copy, with some arguments exchanged or added, the rest as it was
    written, and the lines that it replaces; None where the call is not known."""
    made = finder.of(name)
    if made is None:
        return None
    taken = [each for each, _, _ in parameters(made.info.qualname) or ()]
    if taken and not set(values) <= set(taken):
        made = _copied(finder, made, taken[0])
    return None if made is None else made.changed(**values)


def _copied(
    finder: Constructions, stack: Construction, argument: str
) -> Construction | None:
    """The call that built what a stack was given as its first argument."""
    given = stack.argument(argument)
    calls = finder.settle(given) if given is not None else []
    if len(calls) != 1 or not isinstance(calls[0].node, ast.Call):
        return None
    kind = last_name(calls[0].node.func)
    for name, info in finder.rec.modules.items():
        if name.startswith(f"{stack.info.name}.") and info.type == kind:
            return Construction(info, calls[0])
    return None


def _changes(info: ModuleInfo, text: str) -> dict[str, str] | None:
    """The arguments that a constructor's text has otherwise than the module was built;
    None for another class, and where one is left out."""
    built = constructor(info)
    if built is None or not text.startswith(f"nn.{info.type}("):
        return None
    now, then = _arguments(info, built), _arguments(info, text)
    if not set(now) <= set(then):
        return None
    return {name: value for name, value in then.items() if now.get(name) != value}


def _arguments(info: ModuleInfo, text: str) -> dict[str, str]:
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    names = [name for name, _, _ in parameters(info.qualname) or ()]
    found = {n: ast.unparse(v) for n, v in zip(names, call.args, strict=False)}
    return found | {k.arg: ast.unparse(k.value) for k in call.keywords if k.arg}


def _known(rec: Recording, text: str) -> str:
    """A constructor with the names that the script has which calls the model."""
    place = next((call.source for call in rec.calls if call.source is not None), None)
    return spelled(text, place.file) if place is not None else text
