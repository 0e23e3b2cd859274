"""What was found as a card: the fix first, then who did it, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shapetrace.diagnosis.words.pieces import columns, percent
from shapetrace.records import Diagnosis, Fix, Operand, ScriptName, Step
from shapetrace.source.place import text as source_text
from shapetrace.source.spoken import said_step, spoken
from shapetrace.views import words
from shapetrace.views.html.about import about
from shapetrace.views.html.markup import element, inline, safe, shape
from shapetrace.views.html.stylesheet import STYLE
from shapetrace.views.html.way_back import way_back

MOST = 50
#: steps of a way back that the table under the picture lists
_MOST_STEPS = 40

Link = Callable[[str], str | None]


def card(found: Diagnosis) -> str:
    """One finding, for a notebook: with its own style, without a script."""
    return f'<div class="shapetrace"><style>{STYLE}</style>{finding(found)}</div>'


def cards(found: Sequence[Diagnosis]) -> str:
    """All findings, for a notebook."""
    if not found:
        return "<p>Nothing was found wrong or suspicious.</p>"
    shown = "".join(finding(one) for one in found[:MOST])
    left = len(found) - MOST
    if left > 0:
        shown += f"<p>… and {left} more</p>"
    return f'<div class="shapetrace"><style>{STYLE}</style>{shown}</div>'


def finding(
    found: Diagnosis, *, link: Link = lambda name: None, copy: bool = False
) -> str:
    """`link` gives the address of a module's row; `copy` adds buttons, which need the
    page's script."""
    name = (
        found.severity if found.code == "failure" else f"{found.severity}: {found.code}"
    )
    if found.code == "failure":
        name = "failed"
    where = element("code", safe(words.where(found))) if found.where else ""
    if found.source is not None:
        where += f" at {safe(found.source)}"
    parts = [
        element("p", f"{element('b', safe(name), 'st-badge')} {where}", "st-where"),
        element("p", inline(found.message), "st-message"),
        _excerpt(found),
        _operands(found.operands),
        _fixes(found.fixes, copy),
        _culprits(found, link) if found.severity != "note" else "",
        _way(found.called, found.lineage),
        "".join(element("p", inline(remark)) for remark in found.remarks),
        about(found),
        element(
            "details",
            "<summary>as text</summary>" + element("pre", safe(str(found))),
            "st-text",
        ),
    ]
    return element("section", "".join(parts), f"st-finding st-{safe(found.severity)}")


# -- the parts ---------------------------------------------------------------------


def _excerpt(found: Diagnosis) -> str:
    """The lines of code, the expression that it is about marked."""
    lines, source = found.excerpt, found.source
    if not any(map(str.strip, lines)):
        return ""
    margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    shown = []
    for number, line in enumerate(lines):
        begin = end = margin
        if source is not None:
            begin, end = columns(source, line, number, len(lines))
        begin, end = max(begin, margin), max(end, margin)
        marked = element("u", safe(line[begin:end])) if end > begin else ""
        shown.append(safe(line[margin:begin]) + marked + safe(line[end:]))
    return element("pre", "\n".join(shown), "st-excerpt")


def _fixes(fixes: Sequence[Fix], copy: bool) -> str:
    if not fixes:
        return ""
    rows = []
    for fix in fixes:
        lines = ""
        old = source_text(fix.where).strip() if fix.where is not None else ""
        if old and old != fix.line.strip():
            lines += element("del", safe(old)) + "\n"
        lines += element("ins", safe(fix.line))
        said = element("span", safe(fix.status), f"st-status st-{safe(fix.status)}")
        if fix.where is not None:
            said += f" {safe(fix.where)}"
        notes = [fix.detail, f"loses {fix.loses}" if fix.loses else ""]
        said += "".join(f"<br>{inline(note)}" for note in notes if note)
        button = ""
        if copy:
            button = element("button", "copy", "st-copy", data_line=fix.line)
        rows.append(
            element("tr", element("td", f"<pre>{lines}</pre>{button}", "st-code")
                    + element("td", said))  # fmt: skip
        )
    title = "To fix it, one of" if len(fixes) > 1 else "To fix it"
    return element("h4", title) + element("table", "".join(rows), "st-fixes")


def _operands(operands: Sequence[Operand]) -> str:
    """The tensors of the call, the odd dimension marked."""
    rows = [
        element("tr", "".join((
            element("td", safe(one.label)),
            element("td", shape(one.shape, odd=() if one.dim is None else (one.dim,))),
            element("td", safe(one.dtype)),
            element("td", inline(one.origin)),
        )))  # fmt: skip
        for one in operands
    ]
    return element("table", "".join(rows), "st-steps") if rows else ""


def _culprits(found: Diagnosis, link: Link) -> str:
    culprits = found.culprits
    if not culprits:
        return ""
    rows = []
    for culprit in culprits:
        said_name = culprit.name
        if culprit.kind == "module":
            said_name = spoken(found.called, culprit.name) or "the model itself"
        name = element("code", safe(said_name))
        if culprit.kind == "module" and (address := link(culprit.name)) is not None:
            name = element("a", name, href=address)
        if culprit.source is not None and str(culprit.source) not in culprit.name:
            name += "<br>" + element("small", safe(culprit.source))
        said = []
        if culprit.size is not None:
            said.append(f"<mark>{culprit.size}</mark>")
            if culprit.dim is not None:
                said[-1] = f"dim {culprit.dim} is {said[-1]}"
            if culprit.expected is not None:
                said.append(f"{culprit.expected} would fit")
        likely = safe(percent(culprit.probability)) if culprit.probability else ""
        rows.append(
            element("tr", "".join((
                element("td", name),
                element("td", ", ".join(said)),
                element("td", inline(culprit.reason)),
                element("td", likely, "st-number"),
            )))  # fmt: skip
        )
    title = "Most likely" if len(culprits) > 1 else "Culprit"
    return element("h4", title) + element("table", "".join(rows), "st-culprits")


def _way(called: Sequence[ScriptName], steps: Sequence[Step]) -> str:
    """The picture, and each step as a line of a table."""
    if not steps:
        return ""
    first = steps[0]
    odd = f" of the {first.shape[first.dim]}" if first.dim is not None else ""
    rows = [
        element("tr", "".join((
            element("td", element("code", safe(said_step(called, step)))),
            element("td", safe(step.type)),
            element("td", shape(step.shape, odd=_dims(step))),
            element("td", safe(step.source) if step.source else ""),
            element("td", inline(step.how) + ("" if step.sure else " (a guess)")),
        )))  # fmt: skip
        for step in steps[:_MOST_STEPS]
    ]
    if len(steps) > _MOST_STEPS:
        more = f"… and {len(steps) - _MOST_STEPS} more calls"
        rows.append(element("tr", element("td", more, colspan=5)))
    listed = element("table", "".join(rows), "st-steps")
    picture = way_back(steps, called)
    if picture:
        inner = f"<summary>every step</summary>{listed}"
        listed = picture + element("details", inner, "st-text")
    return element("h4", f"The way back{odd}") + listed


def _dims(step: Step) -> tuple[int, ...]:
    return () if step.dim is None else (step.dim,)
