"""From a recording to the `Diagnosis` of what failed in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.consider import consider
from shapetrace.diagnosis.detection.detect import find_mismatch, from_module
from shapetrace.diagnosis.detection.failing import failing
from shapetrace.diagnosis.detection.mismatch import Mismatch, is_part
from shapetrace.diagnosis.evidence.likes import UNLIKE
from shapetrace.diagnosis.evidence.samples import MISUSES
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.diagnosis.out_of_memory import out_of_memory
from shapetrace.diagnosis.python_errors.plain import (
    behind_forward,
    handed_on,
    in_forward,
)
from shapetrace.diagnosis.rank import Scored, Suspect
from shapetrace.diagnosis.samples_apart import stay_apart
from shapetrace.diagnosis.trains_nothing import trains_nothing
from shapetrace.diagnosis.weights import WEIGHTS
from shapetrace.diagnosis.words.operand_rows import operand_rows
from shapetrace.diagnosis.words.sentence import first_line, sentence
from shapetrace.diagnosis.words.text import told
from shapetrace.diagnosis.words.unexplained import unexplained, where_of
from shapetrace.lineage import Graph, make_step, steps
from shapetrace.records import (
    Culprit,
    Diagnosis,
    Fix,
    FunctionCall,
    ModuleCall,
    Step,
)
from shapetrace.records.garbage import uncollected
from shapetrace.source.idle import unless_idle

_CULPRITS = 3
#: forms with which several lines fit alike, a sum, a mean and the last, and differ in
#: what is trained
_OF_SEVERAL = ("reduce", "cut")
_FIXES = 3
#: a suspect so much less likely than the first is not worth a line
_FAINT = 0.004
#: of a hundred culprits that nothing speaks against, one or two are the wrong ones
_LEAST = 0.01
#: a fix so much weaker than the best, in log-odds, is none
_WEAK = 4.1
#: where there is none that is likelier
_WEAKEST = 7


@uncollected()
def diagnose_failure(graph: Graph) -> Diagnosis | None:
    """The diagnosis of the call that raised; None when nothing did, or when what was
    raised was caught where it arose, inside a module that went on."""
    call, module = failing(graph)
    failed = call or module
    try:
        if failed is None:
            found = behind_forward(graph)
            return found and told(graph.rec, found)
        full = out_of_memory(graph, call) if call is not None else None
        if full is not None:
            return told(graph.rec, full)
        mismatch = _mismatch(graph, call, module)
        if mismatch is not None:
            return _explained(graph, mismatch, module)
        assert module is not None
        return told(graph.rec, in_forward(graph, module))
    except Exception as fault:
        # of any kind: a mistake of ours here, while the user's exception leaves, must
        # not take its place; what was recorded is shown, and the fault is told beside
        # it
        if failed is None:
            raise
        return unexplained(graph, failed, fault)


def mismatch_of(graph: Graph) -> Mismatch | None:
    """What did not fit in the call that failed; None where no call of torch's did."""
    return _mismatch(graph, *failing(graph))


def _mismatch(
    graph: Graph, call: FunctionCall | None, module: ModuleCall | None
) -> Mismatch | None:
    if call is not None:
        return find_mismatch(graph, call)
    function = from_module(graph, module) if module is not None else None
    if function is None or module is None:
        return None
    found = find_mismatch(graph, function)
    # a state in a tuple is meant, where all that disagrees are sizes
    whole = found.kind == "other" or is_part(module.inputs[0].path)
    if whole and handed_on(graph, module) is not None:
        return replace(found, kind="container")
    return None if found.kind == "other" else found


def _explained(
    graph: Graph, mismatch: Mismatch, module: ModuleCall | None
) -> Diagnosis:
    call = mismatch.call
    case, _, found = consider(graph, mismatch)
    enclosing = module or graph.module_of(call)
    where = f"module:{module.name}" if module is not None else where_of(graph, call)
    message = sentence(graph, mismatch, where)
    return told(
        graph.rec,
        Diagnosis(
            code="failure",
            severity="error",
            message=message,
            where=where,
            module=enclosing.name if enclosing is not None else None,
            source=call.source,
            culprits=culprits(case, found),
            lineage=way_back(graph, mismatch),
            fixes=fixes(case, found),
            function=call.index if call.index >= 0 else None,
            call=enclosing.index if enclosing is not None else None,
            operands=operand_rows(graph, mismatch),
            remarks=_remarks(mismatch, message, case),
        ),
    )


def _remarks(mismatch: Mismatch, message: str, case: Case) -> tuple[str, ...]:
    """What else there is to say: of an earlier batch, PyTorch's own words where they
    are not said yet, and what our own faults cost."""
    found = []
    good = case.earlier
    if good is not None:
        found.append(f"An earlier batch went through here. Since then: {good}.")
    error = mismatch.call.error
    said = first_line(error.message) if error is not None else ""
    if error is not None and said and said not in message:
        found.append(f"PyTorch said: {error.type}: {said}")
    found += [
        f"A fault of shapetrace's own left {part} out ({type(fault).__name__}: "
        f"{fault}); please report it."
        for part, fault in case.faults.items()
    ]
    return tuple(found)


def culprits(case: Case, found: list[Suspect]) -> tuple[Culprit, ...]:
    """The likeliest sites, each with its evidence."""
    return tuple(
        _culprit(case, suspect)
        for at, suspect in enumerate(found[:_CULPRITS])
        if at == 0 or suspect.probability > _FAINT
    )


def _culprit(case: Case, suspect: Suspect) -> Culprit:
    """Told by the hypothesis that has a line, so that culprit and fix say the same."""
    told = next(iter(_leading(case, list(suspect.scored))), suspect.scored[0])
    best = told.hypothesis
    others = [best, *(entry.hypothesis for entry in suspect.scored)]
    sized = next((one for one in others if one.size is not None), best)
    reason = next((one.reason for one in others if one.reason), "")
    said = [reason] if reason else []
    said += [text for text in _evidence(told) if text not in reason]
    size = sized.size
    # the same size may be told by one that was tried and by one that was not
    wrong = {one.expected for one in others if _moved(one)}
    expected = next(
        (one.expected for one in others if _fits(one) and one.expected not in wrong),
        None,
    )
    if sized.form == "intake" and expected is not None:
        size, expected = expected, size  # the layer's number is what the data should be
    site = suspect.site
    return Culprit(
        site.kind,
        site.name,
        best.dim if best.dim is not None else sized.dim,
        size,
        expected,
        site.source,
        "; ".join(dict.fromkeys(said)),
        probability=_told(suspect.probability),
    )


def _fits(one: Hypothesis) -> bool:
    """Whether another size is known to fit: data would have it, or trying has shown
    it."""
    known = one.repair is None or one.site.kind in ("target", "input")
    known = known or one.repair is not None and one.repair.holds_values
    tried = one.outcome is not None and one.outcome.status == "verified"
    return one.expected is not None and (known or tried)


def _moved(one: Hypothesis) -> bool:
    """Whether data of another size was tried, and failed elsewhere."""
    outcome = one.outcome if one.form == "data" and one.repair is not None else None
    return outcome is not None and outcome.status == "moved"


def _told(probability: float) -> float:
    """What is said of a probability: nothing is certain, and nothing is ruled out."""
    return round(min(max(probability, _LEAST), 1 - _LEAST), 3)


def _evidence(entry: Scored) -> Iterator[str]:
    """What speaks for it, the weightiest first, at most two clauses."""
    facts = [
        (WEIGHTS.get(fact.name, 0.0) * fact.strength, fact.text)
        for fact in entry.facts
        if fact.text
    ]
    facts.sort(key=lambda told: -told[0])
    for weight, text in facts[:2]:
        if weight > 0:
            yield text


def fixes(case: Case, found: list[Suspect]) -> tuple[Fix, ...]:
    """The best lines: one for the likeliest site first, where that has one."""
    entries = [entry for suspect in found for entry in suspect.scored]
    entries.sort(key=lambda entry: -entry.score)
    first = [entry for suspect in found[:1] for entry in suspect.scored]
    chosen: dict[object, Fix] = {}
    lossy: set[object] = set()
    for entry in (*_leading(case, first), *_with_line(entries)):
        fix, one = _fix(case, entry), entry.hypothesis
        # which part is left out of a tensor is one thought, and told once
        thought = (one.form, one.site.key)
        key = fix.line or fix.where  # a line that goes is told by its place
        if fix.loses and key not in chosen and thought in lossy:
            continue
        # somebody else's that does not even help is no help, nor is one that trains
        # nothing and does not even go through
        moved = fix.status == "moved" and (
            chosen or entry not in first or trains_nothing(entry, case)
        )
        weak = entry.score < entries[0].score - (_WEAK if chosen else _WEAKEST)
        if not moved and not weak:
            chosen.setdefault(key, fix)
            lossy |= {thought} if fix.loses else set()
    return tuple(chosen.values())[:_FIXES]


def _leading(case: Case, entries: list[Scored]) -> list[Scored]:
    """The one of a site that is told and offered: the best that can be pasted, and
    another thought of the site before one that is known to train nothing."""
    lines = _with_line(entries)
    sound = next((one for one in lines if not trains_nothing(one, case)), None)
    if sound is not None and sound.score > lines[0].score - _WEAK:
        return [sound]
    return lines[:1]


def _with_line(entries: list[Scored]) -> list[Scored]:
    """Those that can be pasted; what would break another call is none of them, nor a
    layer built for so many samples as there are in this batch, nor a layer that gets
    some of the samples alone."""
    return [
        entry
        for entry in entries
        if entry.hypothesis.line
        and not (entry.hypothesis.outcome and entry.hypothesis.outcome.broke)
        and all(fact.name not in MISUSES for fact in entry.facts)
    ]


def _fix(case: Case, entry: Scored) -> Fix:
    one = entry.hypothesis
    outcome = one.outcome
    status = outcome.status if outcome is not None and one.repair else "untried"
    mixed = trains_nothing(entry, case)
    alike = one.form in _OF_SEVERAL or one.edit is not None and one.edit.among > 1
    # of several windows behind a size each can make it fit: which is meant is not told
    alike = alike or any(fact.name == UNLIKE for fact in entry.facts)
    if status == "verified" and (
        one.loses or mixed or alike or not stay_apart(case, one)
    ):
        status = "untried"  # it fits, and whether it is meant no shape tells
    later = outcome.detail if outcome is not None else ""
    detail = "; ".join(part for part in (one.words, later) if part)
    line = unless_idle(one.line, one.where)
    return Fix(line, status, detail, one.where, loses=one.loses)


def way_back(graph: Graph, mismatch: Mismatch) -> tuple[Step, ...]:
    """The steps behind the odd dimension, newest first."""
    for spot in mismatch.spots:
        if spot.tensor is None or graph.is_parameter(spot.tensor):
            continue
        if spot.dim is None:
            return tuple(make_step(graph, hop) for hop in graph.chain(spot.tensor))
        return steps(graph, spot.tensor, spot.dim)
    return ()
