"""The call that built a module, and the statement with other arguments in it."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from shapetrace.records import ModuleInfo, Source
from shapetrace.source.constructor import parameters
from shapetrace.source.line import keyword
from shapetrace.source.rewrite import Part, rewritten
from shapetrace.source.scope import Expression, Scope, defined_at


@dataclass(frozen=True)
class Construction:
    """The call that built a module. `made.node` is the call, `made.scope` what the
    names in it stand for."""

    info: ModuleInfo
    made: Expression

    @property
    def source(self) -> Source:
        return self.made.source

    @property
    def call(self) -> ast.Call:
        assert isinstance(self.made.node, ast.Call)
        return self.made.node

    def argument(self, name: str) -> Expression | None:
        """The expression of one argument (`in_features`); None where it is not given
        there, or not where that can be seen."""
        for pair in self.call.keywords:
            if pair.arg == name:
                return self.made.at(pair.value)
        names = _argument_names(self.info)
        if name not in names or name in [pair.arg for pair in self.call.keywords]:
            return None
        place = names.index(name)
        values = self.call.args[: place + 1]
        if len(values) <= place or any(isinstance(v, ast.Starred) for v in values):
            return None
        return self.made.at(values[place])

    def changed(self, **values: str) -> tuple[str, Source] | None:
        """The statement with some arguments exchanged or added, the rest as it was
        written, and the lines that it replaces; None where that cannot be written."""
        parts = self.parts(**values)
        if parts is None:
            return None
        return rewritten(self.made.scope.tree, parts, self.call)

    def parts(self, **values: str) -> list[Part] | None:
        """What of the file goes, and what comes in its place, for `changed`."""
        parts: list[Part] = []
        for name, text in values.items():
            given = self.argument(name)
            if given is not None:
                parts.append((given.node, text))
                continue
            added = keyword(self.made.scope.tree, self.call, name, text)
            if added is None or any(isinstance(v, ast.Starred) for v in self.call.args):
                return None
            parts.append(added)
        return parts


def _argument_names(info: ModuleInfo) -> list[str]:
    known = parameters(info.qualname)
    if known is not None:
        return [name for name, _, _ in known]
    found = defined_at(info.inits[0]) if info.inits else None
    if found is None:
        return []
    return [arg.arg for arg in Scope(*found).parameters()][1:]
