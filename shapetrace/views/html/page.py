"""The report: a page of its own with a little script, or a fragment without one."""

from __future__ import annotations

from collections.abc import Sequence

from shapetrace.records import Diagnosis, Recording
from shapetrace.records.garbage import uncollected
from shapetrace.views import words
from shapetrace.views.html.card import MOST, finding
from shapetrace.views.html.charts import charts
from shapetrace.views.html.grid import anchor, grid
from shapetrace.views.html.markup import element, safe
from shapetrace.views.html.stylesheet import PAGE_STYLE, STYLE
from shapetrace.views.marks import failure_of
from shapetrace.views.rows import Sheet, sheet
from shapetrace.views.sentences import (
    every_row,
    honesty,
    summary,
    title,
    totals,
)
from shapetrace.views.whole_run import TITLES, whole_run

#: beyond that a browser is slow, and a notebook's file large
MOST_ROWS = 5000
MOST_ROWS_OF_FRAGMENT = 500

_SCRIPT = """
document.addEventListener("click", event => {
  const button = event.target.closest(".st-copy");
  if (!button) return;
  const done = () => { button.textContent = "copied"; };
  const select = () => {
    const area = document.createElement("textarea");
    area.value = button.dataset.line;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    done();
  };
  if (!navigator.clipboard) select();
  else navigator.clipboard.writeText(button.dataset.line).then(done, select);
});
for (const table of document.querySelectorAll(".st-long")) {
  const rows = [...table.tBodies[0].rows].map(row =>
    [row, +row.dataset.depth, row.cells[0].querySelector("input")]);
  const fold = () => {
    let closed = Infinity;
    for (const [row, depth, box] of rows) {
      if (depth <= closed) closed = Infinity;
      row.hidden = depth > closed;
      if (closed === Infinity && box && !box.checked) closed = depth;
    }
  };
  table.addEventListener("change", fold);
  fold();
}
"""


@uncollected()
def page(
    rec: Recording,
    findings: Sequence[Diagnosis] = (),
    *,
    failure: Diagnosis | None = None,
) -> str:
    """A whole document that needs nothing from the network."""
    body = _body(rec, findings, failure, most=MOST_ROWS, whole=True)
    return _encodable(
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{safe(title(rec))}: shapetrace</title>\n"
        f"<style>{STYLE}{PAGE_STYLE}</style>\n</head>\n<body>\n"
        f'<div class="shapetrace">{body}</div>\n<script>{_SCRIPT}</script>\n'
        "</body>\n</html>\n"
    )


@uncollected()
def fragment(
    rec: Recording,
    findings: Sequence[Diagnosis] = (),
    *,
    failure: Diagnosis | None = None,
    name: str = "t",
) -> str:
    """For a notebook: with its own style, which touches nothing around it, and
    without a script. `name`: the variable in which its reader has the trace."""
    body = _body(
        rec, findings, failure, most=MOST_ROWS_OF_FRAGMENT, whole=False, name=name
    )
    return _encodable(f'<div class="shapetrace">\n<style>{STYLE}</style>{body}</div>')


def _encodable(text: str) -> str:
    """A message may hold half a character, which no file can."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _body(
    rec: Recording,
    findings: Sequence[Diagnosis],
    failure: Diagnosis | None,
    *,
    most: int,
    whole: bool,
    name: str = "t",
) -> str:
    failure = failure_of(findings, failure)
    made = sheet(rec, findings, failure, most=most)
    said = element("b", safe(summary(rec, failure))) + _context(rec, made)
    parts = [element("p", said, "st-summary")]
    rows = _addresses(made) if whole else {}
    parts += [finding(one, link=rows.get, copy=whole) for one in made.findings[:MOST]]
    left = len(made.findings) - MOST
    if left > 0:
        more = words.plural(left, "more finding")
        parts.append(element("p", f"… and {more}, which the JSON report has"))
    if made.rows:
        parts.append(grid(made, anchors=whole))
        parts.append(element("p", safe(totals(rec, made)), "st-totals"))
    parts.append(_over_all(rec))
    remarks = [*honesty(made, every_row(name, in_report=whole)), *rec.notes]
    if remarks:
        items = "".join(element("li", safe(remark)) for remark in remarks)
        parts.append(element("ul", items, "st-remarks"))
    if whole:
        parts.append(charts(rec))
    return "\n".join(part for part in parts if part)


def _over_all(rec: Recording) -> str:
    """Of a long run each module over all calls."""
    run = whole_run(rec)
    if run is None:
        return ""
    head = "".join(element("th", title, scope="col") for title in TITLES)
    lines = [
        element("td", safe(name))
        + "".join(element("td", one, "st-number") for one in numbers)
        for name, *numbers in run.rows
    ]
    body = "".join(element("tr", line) for line in [head, *lines])
    said = f"<h4>{safe(run.head)}</h4><table>{body}</table>"
    return said + (element("p", safe(run.rest)) if run.rest else "")


def _addresses(made: Sheet) -> dict[str, str]:
    """Where in the page a module's row is: that of the call that is marked, else of
    its first."""
    found: dict[str, str] = {}
    for row in sorted(made.rows, key=lambda row: not row.group.remarks):
        if row.kind == "call":
            for name in row.group.names:
                found.setdefault(name, f"#{anchor(row.group.first.index)}")
    return found


def _context(rec: Recording, made: Sheet) -> str:
    """What is the same for every row and so has no column."""
    said = []
    for values in (made.context.dtypes, made.context.devices):
        if len(values) == 1:
            said += values
    if rec.torch_version:
        said.append(f"torch {rec.torch_version}")
    return "".join(f" · {safe(piece)}" for piece in said)
