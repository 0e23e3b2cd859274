"""The tree of calls as few rows: alike neighbours folded, the rest capped, honestly.

Everything here walks with an explicit stack: a model may be thousands deep.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shapetrace.records import Recording, TensorRef
from shapetrace.views.marks import Marks

#: with more rows than that, about a screen of them, the calls of a module are put
#: together wherever they are
MOST_IN_ORDER = 30
#: the longest pattern of neighbours (fc, relu, norm, …) that is looked for
LONGEST_PATTERN = 12
_NUMBER = re.compile(r"\d+")


@dataclass(slots=True)
class Node:
    """One row to be. `members` are positions: a call's, or `len(calls)` + a function's.

    A folded row has several members, and so have all rows below it: each stands for
    the calls of all rounds. `shown` are those that it names, of the first round above
    it; `pattern` is how many of them make one round of a repeated pattern (1: the same
    call again and again).
    """

    members: list[int]
    shown: list[int]
    depth: int
    parent: int | None
    pattern: int = 1
    hidden: bool = False


@dataclass(slots=True)
class Plan:
    """Nodes in the order of their rows; `sizes` counts module calls in each subtree."""

    nodes: list[Node]
    sizes: list[int]
    parents: list[int | None]


def relative(name: str, parent: str | None) -> str:
    """A module's name as seen from the module that called it."""
    return name.removeprefix(f"{parent}.") if parent else name


def make_plan(rec: Recording, marks: Marks) -> Plan:
    """The tree of calls (and of the functions to be shown), neighbours folded.

    Of many batches the tree in the order of the calls is too long to read: the calls of
    one module then share a row, whatever their order and their shapes.
    """
    position = {call.index: at for at, call in enumerate(rec.calls)}
    parents: list[int | None] = [
        None if call.parent is None else position.get(call.parent) for call in rec.calls
    ]
    children: dict[int, list[int]] = {}
    tops: list[int] = []
    for at, above in enumerate(parents):
        (tops if above is None else children.setdefault(above, [])).append(at)
    _add_functions(rec, marks, position, children, tops)
    keys, sizes = _keys(rec, marks, children)
    tree = _Tree(rec, children, keys)
    nodes = _in_order(tree, tops)
    batches = len(tops) > len({tree.who(top, None) for top in tops})
    if batches and len(nodes) > MOST_IN_ORDER:
        merged = _by_module(tree, tops)
        if 2 * len(merged) < len(nodes):
            nodes = merged
    return Plan(nodes, sizes, parents)


class _Tree:
    """The calls below each call, and which of them are alike."""

    def __init__(
        self, rec: Recording, children: dict[int, list[int]], keys: list[int]
    ) -> None:
        self._children = children
        self._calls = rec.calls
        self._without = without_parameters(rec)
        self._keys = keys
        self._names: dict[str, str] = {}

    def below(self, node: int) -> list[int]:
        return self._children.get(node, []) if node < len(self._calls) else []

    def token(self, node: int) -> Hashable:
        """Equal for calls that may share a row beside each other."""
        if node >= len(self._calls):
            return ("function", node)
        name = self._calls[node].name
        if name not in self._names:
            self._names[name] = _NUMBER.sub("#", name)
        return self._keys[node], self._names[name]

    def who(self, node: int, above: int | None) -> Hashable:
        """Equal for the calls of one module, or of one in alike places, without any
        remark. A loss or a transform that is made anew for each batch is another
        module each time, and of one kind."""
        if node >= len(self._calls) or self._keys[node] < 0:
            return ("alone", node)
        call = self._calls[node]
        if above is not None:
            return relative(call.name, self._calls[above].name)
        return call.type if call.name in self._without else call.name


def without_parameters(rec: Recording) -> set[str]:
    """The outermost modules that have none: losses, transforms."""
    outermost = {call.name for call in rec.calls if call.parent is None}
    trained = {
        name.partition(".")[0] for name, one in rec.modules.items() if one.parameters
    }
    return {name for name in outermost if name and name not in trained}


#: one call in each round of a fold above, or of each call of the module above
Twins = list[int]


class _Row(NamedTuple):
    """Of a `Node` its members, those shown and the pattern; and who are below it."""

    members: list[int]
    shown: list[int]
    below: list[Twins]
    pattern: int = 1


def _grown(
    tops: list[int], rows: Callable[[list[Twins], int | None], list[_Row]]
) -> list[Node]:
    """From the top down. `rows` puts siblings below a call, or at the top, in rows."""
    nodes: list[Node] = []
    stack: list[tuple[Node, list[Twins]]] = []

    def push(siblings: list[Twins], depth: int, parent: int | None) -> None:
        above = None if parent is None else nodes[parent].members[0]
        for row in reversed(rows(siblings, above)):
            node = Node(row.members, row.shown, depth, parent, row.pattern)
            stack.append((node, row.below))

    push([[top] for top in tops], 0, None)
    while stack:
        node, below = stack.pop()
        nodes.append(node)
        if below:
            push(below, node.depth + 1, len(nodes) - 1)
    return nodes


def _in_order(tree: _Tree, tops: list[int]) -> list[Node]:
    """Neighbours that are alike share a row."""

    def rows(siblings: list[Twins], above: int | None) -> list[_Row]:
        found = []
        for group, pattern in _fold(siblings, lambda twins: tree.token(twins[0])):
            members = [member for twins in group for member in twins]
            if pattern > 1:
                rounds = [group[at::pattern] for at in range(pattern)]
                below = [[one for twins in of for one in twins] for of in rounds]
            else:
                inside = [tree.below(member) for member in members]
                below = [list(twins) for twins in zip(*inside, strict=True)]
            shown = [twins[0] for twins in group]
            found.append(_Row(members, shown, below, pattern))
        return found

    return _grown(tops, rows)


def _by_module(tree: _Tree, tops: list[int]) -> list[Node]:
    """One row for all calls of a module inside one other; neighbours that are alike in
    all of them (the layers of a stack) share it."""

    def rows(siblings: list[Twins], above: int | None) -> list[_Row]:
        calls: dict[Hashable, list[Twins]] = {}
        for twins in siblings:
            calls.setdefault(tree.who(twins[0], above), []).append(twins)
        alike: dict[Hashable, list[Twins]] = {}
        for group in calls.values():
            tokens = frozenset(tree.token(one) for twins in group for one in twins)
            alike.setdefault((tokens, len(group)), []).extend(group)
        return [_merged(tree, group) for group in alike.values()]

    return _grown(tops, rows)


def _merged(tree: _Tree, group: list[Twins]) -> _Row:
    """Twins below it are the n-th calls of one module, one of each member."""
    members = [member for twins in group for member in twins]
    below: dict[Hashable, Twins] = {}
    for member in members:
        seen: dict[Hashable, int] = {}
        for one in tree.below(member):
            who = tree.who(one, member)
            seen[who] = seen.get(who, 0) + 1
            below.setdefault((who, seen[who]), []).append(one)
    return _Row(members, [twins[0] for twins in group], list(below.values()))


def _add_functions(
    rec: Recording,
    marks: Marks,
    position: dict[int, int],
    children: dict[int, list[int]],
    tops: list[int],
) -> None:
    """Put the functions that get a row among their siblings, in the order of entry."""
    if not marks.shown:
        return
    count = len(rec.calls)

    def entered(node: int) -> int:
        if node < count:
            return rec.calls[node].order
        return rec.functions[node - count].order

    for at in sorted(marks.shown):
        parent = rec.functions[at].parent
        above = None if parent is None else position.get(parent)
        siblings = tops if above is None else children.setdefault(above, [])
        siblings.append(count + at)
        siblings.sort(key=entered)


def _keys(
    rec: Recording,
    marks: Marks,
    children: dict[int, list[int]],
) -> tuple[list[int], list[int]]:
    """Two calls of equal key have alike subtrees. What is marked equals nothing."""
    calls, count = rec.calls, len(rec.calls)
    keys, sizes = [0] * count, [1] * count
    known: dict[Hashable, int] = {}
    owns = {name: _signature(info.parameters) for name, info in rec.modules.items()}
    relatives: dict[tuple[str, str], str] = {}
    unlike = 0

    def seen_from(name: str, above: str) -> str:
        pair = (name, above)
        if pair not in relatives:
            relatives[pair] = relative(name, above)
        return relatives[pair]

    # A call is entered after its parent: backwards, the children come first.
    for at in range(count - 1, -1, -1):
        call = calls[at]
        below = children.get(at, ())
        for child in below:
            if child < count:
                sizes[at] += sizes[child]
        special = call.error is not None or at in marks.calls
        if special or any(child >= count or keys[child] < 0 for child in below):
            unlike -= 1
            keys[at] = unlike
            continue
        key = (
            call.type,
            _signature(call.inputs),
            None if call.outputs is None else _signature(call.outputs),
            owns.get(call.name),
            call.recomputed,
            tuple([(seen_from(calls[c].name, call.name), keys[c]) for c in below]),
        )
        keys[at] = known.setdefault(key, len(known))
    return keys, sizes


def _signature(tensors: Sequence[TensorRef]) -> Hashable:
    return tuple([(t.shape, t.dtype, t.device) for t in tensors])


def _fold(
    siblings: list[list[int]], token: Callable[[list[int]], Hashable]
) -> list[tuple[list[list[int]], int]]:
    """Group neighbours: (members, length of the pattern they repeat)."""
    known: dict[Hashable, int] = {}
    tokens = [known.setdefault(token(node), len(known)) for node in siblings]
    groups: list[tuple[list[list[int]], int]] = []
    at, end = 0, len(tokens)
    while at < end:
        best, length = 1, 1
        for pattern in range(1, min(LONGEST_PATTERN, (end - at) // 2) + 1):
            if tokens[at + pattern] != tokens[at]:
                continue
            reach = at + pattern + 1
            while reach < end and tokens[reach] == tokens[reach - pattern]:
                reach += 1
            rounds = (reach - at) // pattern
            # A pattern costs a row of its own, so two rounds gain nothing.
            if rounds >= (2 if pattern == 1 else 3) and rounds * pattern > best:
                best, length = rounds * pattern, pattern
        groups.append((siblings[slice(at, at + best)], length))
        at += best
    return groups


def kept(plan: Plan, important: Callable[[Node], bool]) -> list[bool]:
    """Which nodes are important, or above one that is."""
    nodes = plan.nodes
    keep = [important(node) for node in nodes]
    for at in range(len(nodes) - 1, -1, -1):
        above = nodes[at].parent
        if keep[at] and above is not None:
            keep[above] = True
    return keep


def fitting_depth(plan: Plan, most: int, keep: list[bool]) -> int | None:
    """The deepest level down to which at most `most` rows are shown, with those to be
    kept below it; None where all are. The level below the outermost is always shown."""
    deepest = max((node.depth for node in plan.nodes), default=0)
    below = [node.depth for node, keeps in zip(plan.nodes, keep) if not keeps]
    rows = len(plan.nodes)
    for depth in range(deepest, 0, -1):
        if rows <= most:
            return None if depth == deepest else depth
        rows -= below.count(depth)
    return 1 if deepest > 1 else None


def cap(plan: Plan, most: int, keep: list[bool]) -> None:
    """Hide nodes until `most` are left: the deepest first, never a parent of a row.

    What is to be kept stays longest.
    """
    nodes = plan.nodes
    if len(nodes) <= most:
        return
    order = sorted(range(len(nodes)), key=lambda at: (not keep[at], nodes[at].depth))
    for at in order[most:]:
        nodes[at].hidden = True
