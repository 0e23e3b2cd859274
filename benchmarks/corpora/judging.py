"""One program under shapetrace: what it says of it, and whether its first fix helps.

The program runs in this process. Fixes are pasted as a user would, and the program
with the fix is run against the one that was mended by hand, with the same parameters,
so that the two losses can be compared even where a layer was built anew.
"""

from __future__ import annotations

import linecache
import math
import re
import signal
import sys
import time
import types
import warnings
import zlib
from pathlib import Path
from typing import Any

import torch

import shapetrace

from .case import Case, label

Row = dict[str, Any]

DATA = ("target", "input")
#: whose bias is drawn at random
RANDOM_BIAS = (torch.nn.Linear, torch.nn.modules.conv._ConvNd, torch.nn.Bilinear)

#: what a program may take
_SECONDS = 20


def load(text: str, path: Path) -> types.ModuleType:
    path.write_text(text, encoding="utf-8")
    linecache.checkcache(str(path))
    program = types.ModuleType(path.stem)
    sys.modules[path.stem] = program  # dataclasses look their module up
    exec(compile(text, str(path), "exec"), program.__dict__)
    return program


def traced(text: str, path: Path) -> tuple[Any, BaseException | None, float]:
    """The trace of one step, what it raised, and the milliseconds from the end of the
    step to the end of the block: records, checks and the explanation."""
    torch.manual_seed(0)
    program = load(text, path)
    model = program.build()
    torch.manual_seed(1)
    raised: BaseException | None = None
    ended = time.perf_counter()
    t = shapetrace.trace(model)
    try:
        with t:
            try:
                loss = program.step(model)
                if torch.is_tensor(loss) and loss.requires_grad and loss.numel() == 1:
                    loss.backward()
            finally:
                ended = time.perf_counter()
    except Exception as error:  # the program's own
        raised = error
    return t, raised, 1e3 * (time.perf_counter() - ended)


def fill(model: Any) -> None:
    """Parameters that depend on their names and shapes alone, not on the order in
    which layers were built."""
    if not isinstance(model, torch.nn.Module):
        return
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() < 2 or isinstance(
                parameter, torch.nn.parameter.UninitializedParameter
            ):
                continue
            own = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            drawn = torch.randn(parameter.shape, generator=own)
            scale = math.sqrt(max(parameter[0].numel(), 1))
            parameter.copy_((drawn / scale).to(parameter))
        for layer in model.modules():
            bias = getattr(layer, "bias", None)
            if isinstance(layer, RANDOM_BIAS) and bias is not None:
                bias.zero_()


def loss_of(text: str, path: Path, after_build: str = "") -> float:
    """Run the step and its backward; raises where that is no proper training step, or
    takes too long: a fix that makes 65,536 steps of 64 would run for hours."""
    usual = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(_SECONDS)
    try:
        return _loss_of(text, path, after_build)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, usual)


def _too_long(*_: Any) -> None:
    raise TimeoutError


def _loss_of(text: str, path: Path, after_build: str) -> float:
    torch.manual_seed(0)
    program = load(text, path)
    model = program.build()
    if after_build:
        names = {**program.__dict__, "model": model}
        exec(after_build, names)
        model = names["model"]
    fill(model)
    torch.manual_seed(1)
    loss = program.step(model)
    assert torch.is_tensor(loss), "the step gives no tensor"
    assert loss.numel() == 1, f"the loss has the shape {tuple(loss.shape)}"
    assert torch.isfinite(loss).all(), "the loss is not finite"
    if loss.requires_grad:
        loss.backward()
    return float(loss.detach())


def pasted(text: str, fix: Any) -> str:
    """The program with the fix in place of the lines that it names."""
    if fix.where is None:
        return text
    lines = text.split("\n")
    first, last = fix.where.line, fix.where.end_line or fix.where.line
    old = lines[first - 1]
    indent = old[: len(old) - len(old.lstrip())]
    new = [indent + part for part in fix.line.split("\n")]
    return "\n".join([*lines[: first - 1], *new, *lines[last:]])


def agrees(fix: Any, culprit: Any, where: Any) -> bool:
    """Whether the fix changes what the culprit is: its line, the line that builds it,
    or, of data, the call that takes it."""
    if fix.where is not None:
        for place in (culprit.source, where if culprit.kind in DATA else None):
            if place is not None and place.file == fix.where.file:
                last = place.end_line or place.line
                if place.line <= (fix.where.end_line or fix.where.line) and (
                    last >= fix.where.line
                ):
                    return True
    if culprit.kind == "module" and culprit.name:
        built = fix.line.split("=")[0]
        last_name = culprit.name.rpartition(".")[2]
        if last_name.isdigit():
            owner = culprit.name.split(".")[-2:-1]
            return f"[{last_name}]" in built or any(one in built for one in owner)
        return re.search(rf"\b{re.escape(last_name)}\b", built) is not None
    return False


def judge(case: Case, folder: Path) -> Row:
    """All figures of one program. `folder` is for the files of the program."""
    row: Row = {
        "corpus": case.corpus,
        "family": case.family,
        "name": case.name,
        "category": case.category,
        "kind": case.kind,
        "fitted": case.fitted,
    }
    path = folder / (re.sub(r"\W+", "_", case.name)[:80] + ".py")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        t, raised, row["ms"] = traced(case.text, path)
        loud = [f for f in t.findings if f.severity in ("error", "warning")]
        row["raises"] = type(raised).__name__ if raised is not None else None
        if case.category == "correct":
            row["alarms"] = [f.code for f in loud]
            row["text"] = "\n\n".join(map(str, loud))
            return row
        silent = case.category == "silent"
        found = loud if silent else [t.failure] if t.failure else []
        row["flagged"] = bool(found)
        row["text"] = "\n\n".join(map(str, found))
        if found:
            row["lines"] = len(str(found[0]).splitlines())
        row["said"] = [[label(c) for c in f.culprits] for f in found]
        if case.culprits is not None:
            want = case.culprits
            row["want"] = sorted(want)
            row["first"] = any(named[0] in want for named in row["said"] if named)
            row["any"] = any(n in want for named in row["said"] for n in named[:3])
            row["sure"] = [
                (float(c.probability), label(c) in want)
                for f in found
                for c in f.culprits[:3]
                if getattr(c, "probability", None)  # absent or 0: not told
            ]
        shown = next((f for f in found if f.fixes), None)
        row["fix"] = None
        if shown is not None:
            fix = shown.fixes[0]
            row.update(fix=fix.line, mark=fix.status)
            if shown.culprits:
                row["agrees"] = agrees(fix, shown.culprits[0], shown.source)
            codes = {f.code for f in found}
            row.update(tried(case, fix, path, codes if silent else set()))
    return row


def tried(case: Case, fix: Any, path: Path, codes: set[str]) -> Row:
    """`runs`, `right` (None: cannot be told) and `why` not, of one fix."""
    if fix.where is not None and fix.where.file != str(path):
        return {"runs": None, "right": None, "why": "in an installed package"}
    again = path.with_name(path.stem + "_fixed.py")
    text, later = pasted(case.text, fix), "" if fix.where else fix.line
    try:
        loss = loss_of(text, again, later)
        if codes:
            left = codes & alarms_after(text, again, later)
            if left:
                return {"runs": False, "right": None, "why": f"still {sorted(left)}"}
    except Exception as error:
        why = f"{type(error).__name__}: {error}"[:160]
        return {"runs": False, "right": None, "why": why}
    if case.wanted is not None:
        return {"runs": True, "right": case.wanted in fix.line, "why": ""}
    if case.mended is None:
        return {"runs": True, "right": None, "why": ""}
    try:
        goal = loss_of(case.mended, path.with_name(path.stem + "_mended.py"))
    except Exception as error:
        return {"runs": True, "right": None, "why": f"mended by hand: {error}"[:160]}
    right = math.isclose(loss, goal, rel_tol=1e-4, abs_tol=1e-5)
    return {"runs": True, "right": right, "why": "" if right else f"{loss} not {goal}"}


def alarms_after(text: str, path: Path, later: str) -> set[str]:
    """The codes of what is still found once the fix is in."""
    if later:
        text = text.replace("def step(model):\n", f"def step(model):\n    {later}\n")
    t, _, _ = traced(text, path)
    return {f.code for f in t.findings if f.severity in ("error", "warning")}
