"""Which block to run under `torch.utils.checkpoint`: bytes won against time to redo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

from shapetrace.costs.account import Costs
from shapetrace.costs.footprint import held, state_of
from shapetrace.costs.phases import within_steps
from shapetrace.costs.statistics import batches
from shapetrace.errors import UsageError
from shapetrace.records import ModuleCall, Recording
from shapetrace.records.printable import printable

#: what `checkpoint` takes by itself for one call and for each function in it, whose
#: tensors it packs and unpacks, without the forward that it repeats: in a loop of
#: nothing else a fourth of it, 1.1 to 2.0 ms were seen of blocks of 8 to 23 functions
#: between other layers. It may be off by as much
_OWN_NS, _OWN_FUNCTION_NS = 600_000, 50_000
#: by which part running it again may take more or less than the first time, since
#: other memory is used: 0.75 to 1.33 times was seen, in processor time
_OFF = 1 / 3
#: a first one takes as much longer as is to be found, loaded and set up: 4 and 40 times
#: were seen
_STEP = "the optimizer's step holds as much"
_COLD = "timed in the first batch, which warms up: a second one would tell"


@dataclass(frozen=True, slots=True)
class CheckpointCandidate:
    """One module as a candidate for `torch.utils.checkpoint`.

    All figures are of one batch. `freed_bytes` is what would not be kept between its
    forward and its backward; `peak_bytes` by how much the most that a step holds would
    fall; `recompute_ns` the time to run its forward again, as far as its backward needs
    it, give or take `uncertain_ns`: of the batches after the first, which warms up,
    where there are some. `note` says what to mind.
    """

    name: str
    type: str
    calls: int
    freed_bytes: int
    peak_bytes: int
    recompute_ns: int
    uncertain_ns: int
    note: str = ""

    @property
    def bytes_per_ms(self) -> float:
        """What a millisecond buys."""
        return self.peak_bytes / (self.recompute_ns / 1e6)

    def __str__(self) -> str:
        name = printable(f"{self.name} ({self.type})", keep="")
        said = (
            f"{name}: {self.peak_bytes / 1e6:,.2f} MB less at the peak for "
            f"{self.recompute_ns / 1e6:,.2f} ms, give or take "
            f"{self.uncertain_ns / 1e6:,.2f}"
        )
        return f"{said}; {self.note}" if self.note else said


def checkpoint_candidates(
    rec: Recording, costs: Costs
) -> tuple[CheckpointCandidate, ...]:
    """The modules with others in them, the best bargain first. Raises `UsageError`
    where memory was not recorded."""
    if not rec.live:
        raise UsageError(
            "checkpoint_candidates() needs what autograd saved: record it with "
            "trace(model, memory=True)."
        )
    parents = {call.parent for call in rec.calls}
    groups: dict[str, list[ModuleCall]] = {}
    for call in rec.calls:
        if call.parent is not None and call.index in parents and not call.recomputed:
            groups.setdefault(call.name, []).append(call)
    found: list[CheckpointCandidate] = []
    turn = batches(rec)
    inside = _functions_inside(rec)
    most, least = _most(rec, costs)
    for name, calls in groups.items():
        if any(call.exclusive_bytes is None for call in calls):
            continue
        # each batch has its own; the last one stands for all
        one = [call for call in calls if turn[call.index] == turn[calls[-1].index]]
        freed = sum(call.exclusive_bytes or 0 for call in one)
        if not freed:
            continue
        spent = _again(calls, turn, costs)
        again = [time for at, time in spent.items() if at > 0 or not rec.has_first]
        cold = not again
        again = again or list(spent.values())
        usual = median_low(again)
        likely = usual - min(again) + round(_OFF * usual)
        off = sum(costs.calls[call.index].uncertain_ns or 0 for call in one)
        own = sum(_OWN_NS + _OWN_FUNCTION_NS * inside[call.index] for call in one)
        won = sum(call.peak_exclusive_bytes or 0 for call in one)
        falls = max(least, most) - max(least, most - won)
        notes = _STEP * (falls < won), _COLD * cold, _note(rec, name)
        found.append(
            CheckpointCandidate(
                name=name,
                type=calls[0].type,
                calls=len(one),
                freed_bytes=freed,
                peak_bytes=falls,
                recompute_ns=own + usual,
                uncertain_ns=own + off + (usual if cold else likely),
                note="; ".join(filter(None, notes)),
            )
        )
    found.sort(key=lambda one: (-one.bytes_per_ms, -one.freed_bytes))
    return tuple(found)


def _most(rec: Recording, costs: Costs) -> tuple[int, int]:
    """What forward and backward hold at most, and what the steps of an optimizer do,
    which no checkpointing makes less: as in every step but the first, which makes the
    optimizer's state."""
    moments, state = held(rec, costs), state_of(rec)
    stepping = within_steps(rec, [one.time_ns for one in moments])
    most = [0, 0]
    for one, steps in zip(moments, stepping, strict=True):
        whole = one.total + max(0, state - one.optimizer)
        most[steps] = max(most[steps], whole)
    return most[False], most[True]


def _functions_inside(rec: Recording) -> list[int]:
    """How many functions were called in each call, and in the calls inside it."""
    count = [0] * len(rec.calls)
    for function in rec.functions:
        if function.parent is not None:
            count[function.parent] += 1
    for call in reversed(rec.calls):  # what is inside a call comes after it
        if call.parent is not None:
            count[call.parent] += count[call.index]
    return count


def _again(
    calls: Sequence[ModuleCall], turn: Sequence[int], costs: Costs
) -> dict[int, int]:
    """Of each batch the time to run the calls again."""
    spent: dict[int, float] = {}
    for call in calls:
        at = turn[call.index]
        share = min(1.0, (call.saving_ns or 0) / (call.duration_ns or 1))
        spent[at] = spent.get(at, 0.0) + share * costs.calls[call.index].time_ns
    return {at: round(time) for at, time in spent.items()}


def _note(rec: Recording, name: str) -> str:
    """What running it twice changes."""
    inside = [
        info
        for key, info in rec.modules.items()
        if (key == name or key.startswith(f"{name}.")) and info.training
    ]
    if any(info.attributes.get("track_running_stats") for info in inside):
        return "its batch norms would update their running statistics twice"
    return ""
