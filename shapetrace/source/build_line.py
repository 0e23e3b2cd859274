"""The line that builds a module, with another constructor in it."""

from __future__ import annotations

from shapetrace.records import ModuleInfo, Recording, Source
from shapetrace.source.called import module_path
from shapetrace.source.finder import Constructions
from shapetrace.source.line import line_of
from shapetrace.source.names import spelled


def placed(rec: Recording, info: ModuleInfo, text: str) -> tuple[str, Source | None]:
    """The user's statement with `text` in place of the constructor of a module, spelled
    as it was there, and where it is; an assignment by the module's path where the line
    is not known or builds others too."""
    finder = Constructions(rec)
    made = finder.of(info.name)
    if made is None or len(finder.built_by(made)) > 1:
        path = module_path(rec, info.name)
        return f"{path} = {_known(rec, text)}", None
    line = line_of(made.made.scope.tree, made.call)
    own = line.text(made.call.func)
    if own.rpartition(".")[2] == info.type and text.startswith(f"nn.{info.type}("):
        text = own + text.removeprefix(f"nn.{info.type}")
    return line.around(line.spelled(text)), line.source


def _known(rec: Recording, text: str) -> str:
    """A constructor with the names that the script has which calls the model."""
    place = next((call.source for call in rec.calls if call.source is not None), None)
    return spelled(text, place.file) if place is not None else text
