"""Who else is given what a repair changes: lines that the failure kept from running."""

from __future__ import annotations

import ast

from shapetrace.diagnosis.case import Case
from shapetrace.diagnosis.evidence.fact import Fact
from shapetrace.diagnosis.hypothesis import Hypothesis
from shapetrace.source.line import find
from shapetrace.source.scope import nodes


def later_uses(hypothesis: Hypothesis, case: Case) -> Fact | None:
    """Whether a line gives another value to a name that is read behind the failing
    statement as well, where nothing is known of how it is taken."""
    where, failed = hypothesis.where, find(case.call.source)
    if where is None or failed is None or hypothesis.edit is None:
        return None
    here = failed.source
    if (where.file, where.function) != (here.file, here.function):
        return None
    last = failed.file.statement(failed.node)
    if where.line >= last.lineno:
        return None
    home = failed.file.home(failed.node)
    names = {
        node.id
        for node, _ in nodes(home)
        if isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Store)
        and where.line <= node.lineno <= (where.end_line or where.line)
    }
    end = last.end_lineno or last.lineno
    read = {
        node.id
        for node, _ in nodes(home)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        if node.lineno > end
    }
    return Fact("lines that never ran take it too") if names & read else None
