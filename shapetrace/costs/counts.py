"""FLOPs and bytes moved of each function call and module call, and what is missing."""

from __future__ import annotations

from collections import ChainMap

from shapetrace.costs.gradients import Need, backwards, tracked
from shapetrace.costs.repeat import repeating
from shapetrace.recording.hidden import TRANSFORMS
from shapetrace.records import FunctionCall, ModuleCall, Recording

Shapes = tuple[tuple[int, ...], ...]

#: what they register is called in a backward, where no function is seen
_HOOKING = {"register_hook", "register_post_accumulate_grad_hook"}


class FunctionCounts:
    """Of each function call, by its index. `ran` says whether a backward was seen."""

    def __init__(self, rec: Recording) -> None:
        needs: dict[int, list[Need]] = {}
        for one in backwards(rec):
            for index, need in one.items():
                needs.setdefault(index, []).append(need)
        self.ran = bool(needs)
        self.forward: list[int | None] = []
        self.backward: list[int | None] = []
        self.moved: list[int] = []
        #: bytes of what it made that it held at a time, where more than what it left
        self.most: list[int] = []
        #: bytes that the nodes of its backward work with, by their names
        self.nodes: list[dict[str, int]] = []
        #: the functions of which some FLOPs are not counted
        self.short: set[int] = set()
        flowing = tracked(rec)
        with repeating() as repeater:
            for call in rec.functions:
                made = repeater.forward(call, flowing)
                ways = needs.get(call.index, ())
                ran = [repeater.backward(call, need) for need in ways]
                self.nodes.append(dict(ChainMap(*(dict(one.nodes) for one in ran))))
                back = [one.backward for one in ran]
                known = [count.flops for count in back]
                self.forward.append(made.forward.flops)
                self.backward.append(
                    None if None in known else sum(one or 0 for one in known)
                )
                self.moved.append(made.moved or 0)
                self.most.append(repeater.most(call, flowing) if rec.live else 0)
                whole = all(count.whole for count in (made.forward, *back))
                if not whole or self.ran and call.name in _HOOKING:
                    self.short.add(call.index)


class CallCounts:
    """Of each module call: what the functions in it, and in the calls in it, cost;
    `missing` names what is not in the figures."""

    def __init__(self, rec: Recording, functions: FunctionCounts) -> None:
        count = len(rec.calls)
        self.forward = [0] * count
        self.backward = [0] * count
        self.moved = [0] * count
        self.missing: list[set[str]] = [set() for _ in rec.calls]
        #: what is not in the figures of the whole trace
        self.missing_in_all: set[str] = set()
        given = {ref.id for call in rec.calls for ref in call.inputs}
        for function in rec.functions:
            at, parent = function.index, function.parent
            names = {function.name} if at in functions.short else set()
            names |= _unseen_inputs(rec, at)
            if parent is None:
                self.missing_in_all |= names
                continue
            self.forward[parent] += functions.forward[at] or 0
            self.backward[parent] += functions.backward[at] or 0
            self.moved[parent] += functions.moved[at]
            self.missing[parent] |= names | _from_nowhere(rec, function, given)
        for at, name in _made_unseen(rec).items():
            self.missing[at].add(name)
        self._unseen(rec)
        for call in reversed(rec.calls):  # what is inside a call comes after it
            if call.parent is not None and not call.recomputed:
                self._add(call.index, call.parent)
        self._recomputed(rec)
        for call in rec.calls:
            if call.parent is None:
                self.missing_in_all |= self.missing[call.index]
        if rec.dropped_calls:
            self.missing_in_all.add("dropped calls")

    def _unseen(self, rec: Recording) -> None:
        """What torch.func hides in a call it hides in all calls inside it."""
        said: dict[int | None, set[str]] = {}
        for one in rec.unseen:
            said.setdefault(one.call, set()).add(one.name)
        self.missing_in_all |= said.get(None, set())
        inherited: list[set[str]] = []
        for call in rec.calls:
            above = set() if call.parent is None else inherited[call.parent]
            own = said.get(call.index, set())
            inherited.append(above | own.intersection(TRANSFORMS))
            self.missing[call.index] |= above | own

    def _recomputed(self, rec: Recording) -> None:
        """Checkpointing runs forwards again inside a backward, where no function is
        seen: a call that came to its end costs what the same call did before."""
        firsts: dict[tuple[str, Shapes], int] = {}
        for call in rec.calls:
            if not call.recomputed and call.outputs is not None:
                firsts.setdefault((call.name, _shapes(call)), call.index)
        inside: dict[int, list[int]] = {}
        for call in rec.calls:
            if call.recomputed and call.parent is not None:
                inside.setdefault(call.parent, []).append(call.index)
        for call in reversed(rec.calls):
            if not call.recomputed:
                continue
            twin = firsts.get((call.name, _shapes(call)))
            if twin is not None and call.outputs is not None:
                self.forward[call.index] = self.forward[twin]
                self.moved[call.index] = self.moved[twin]
                self.missing[call.index] = set(self.missing[twin])
                if self.forward[twin] and not self.backward[twin]:
                    # reentrant: the backward ran through what nobody saw
                    self.missing[call.index].add("backward of a recomputation")
                continue
            for child in inside.get(call.index, ()):
                self._add(child, call.index)
            self.missing[call.index].add("recomputation")

    def _add(self, at: int, parent: int) -> None:
        self.forward[parent] += self.forward[at]
        self.backward[parent] += self.backward[at]
        self.moved[parent] += self.moved[at]
        self.missing[parent] |= self.missing[at]


def _shapes(call: ModuleCall) -> Shapes:
    return tuple(ref.shape for ref in call.inputs)


def _unseen_inputs(rec: Recording, at: int) -> set[str]:
    """Tensors that something made in the block which nobody saw at work. One without a
    name was made by a call that `max_calls` dropped."""
    origins = (rec.origins.get(ref.id) for ref in rec.functions[at].inputs)
    unseen = {one.name for one in origins if one and one.kind == "unseen"}
    return unseen - {""}


def _from_nowhere(rec: Recording, function: FunctionCall, given: set[int]) -> set[str]:
    """A tensor that a forward takes, that no call was given and nobody made, and that
    is gone by the end: code made it there that cannot be seen, such as a kernel that
    is none of torch's functions, or a thread."""
    for ref in function.inputs:
        origin = rec.origins.get(ref.id)
        known = origin is None or not origin.gone or ref.id in given
        if not known and 0 not in ref.shape:  # one of no elements is no work
            return {f"unseen input of {function.name}"}
    return set()


def _made_unseen(rec: Recording) -> dict[int, str]:
    """The innermost module calls that gave a tensor which no recorded function made:
    scripted code, extensions, calls in threads other than the traced one."""
    seen = {ref.id for call in rec.functions for ref in call.outputs or ()}
    seen.update(rec.origins)
    found: dict[int, str] = {}
    for call in reversed(rec.calls):
        if not rec.has_functions or call.recomputed:
            continue
        for ref in call.outputs or ():
            if ref.id not in seen:
                seen.add(ref.id)
                found[call.index] = call.type
    return found
