"""Names of modules as a reader of the script knows them: `agent.actor`, not `Linear`.

A recording names a root by its class, or not at all. Names stay so in the data; texts
and tables call it what the script calls it, wherever that is one thing alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from shapetrace.records import ModuleCall, Recording, ScriptName, Source, Step
from shapetrace.source.called import called_in

#: an expression that is longer says less than the name of the class
_LONGEST = 40


def script_names(rec: Recording) -> tuple[ScriptName, ...]:
    """What the script calls each root that its lines name; not where it calls two
    alike, as a loop over layers does."""
    known: dict[str, str] = {}
    lines: dict[Source | None, str] = {}
    for call in rec.calls:
        if call.parent is not None or call.name in known:
            continue
        if call.source not in lines:
            called = called_in(rec, call)
            lines[call.source] = called.code if called is not None else ""
        code = lines[call.source]
        if 0 < len(code) <= _LONGEST:
            known[call.name] = code
    counts = Counter(known.values())
    return tuple(
        ScriptName(name, code) for name, code in known.items() if counts[code] == 1
    )


def spoken(called: Iterable[ScriptName], name: str) -> str:
    """A module's name with its root's as the script has it; the name itself where the
    script tells nothing."""
    for root in called:
        if name == root.name:
            return root.code
        if not root.name:
            return f"{root.code}.{name}"
        if name.startswith(f"{root.name}."):
            return root.code + name.removeprefix(root.name)
    return name


def said_step(called: Iterable[ScriptName], step: Step) -> str:
    """What a text calls a step of a lineage."""
    if step.type == "function" or step.module is None:
        return step.name
    return spoken(called, step.module) or step.name


def spoken_in(recordings: Iterable[Recording], call: ModuleCall) -> str:
    """What the scripts of all these recordings call the module of a call; where they
    differ or tell nothing its name, else its class."""
    return spoken_alike(recordings, call.name) or call.type


def spoken_alike(recordings: Iterable[Recording], name: str) -> str:
    """What the scripts of all these recordings call a module; its name where they
    differ or tell nothing."""
    names = {spoken(rec.called, name) for rec in recordings}
    return names.pop() if len(names) == 1 else name
