"""What a slip does, found by running the script with it and without it.

Who is to blame follows from where the slip was put: the layers that are built
otherwise, the function whose arguments changed; of a call that is forgotten, whoever
made the value that it was to be called on, and the module that should have. Where one
change elsewhere would make the program run as well, that place is as good an answer.
"""

from __future__ import annotations

import tempfile
import types
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shapetrace import FunctionCall

from .injection import LOSSES, Slip
from .judging import fill, load, traced
from .slips import OPEN, broken, sized

WIDTHS = {
    nn.Linear: ("in_features", "out_features"),
    nn.Conv1d: ("in_channels", "out_channels"),
    nn.Conv2d: ("in_channels", "out_channels"),
    nn.ConvTranspose2d: ("in_channels", "out_channels"),
    nn.BatchNorm1d: ("num_features",),
    nn.BatchNorm2d: ("num_features",),
    nn.LayerNorm: ("normalized_shape",),
    nn.Embedding: ("embedding_dim",),
}
#: one side of a comparison has a dimension of one that the other has not
EITHER = ("a column of targets", "forgotten squeeze", "forgotten unsqueeze")
#: a mistake even where nothing raises; elsewhere another number is another model
SILENT = ("wrong dim", "swapped operands", "dropped keepdim", "a column")
SILENT += ("softmax before", "sigmoid before", "dropped dim", "dropped batch_first")
SILENT += ("squeeze without", "dropped tgt_mask", "forgotten permute")
SILENT += ("forgotten transpose", "forgotten squeeze", "forgotten unsqueeze")
SILENT += ("forgotten view", "forgotten sum", "forgotten t", "forgotten log_softmax")


def outcome(text: str, path: Path) -> tuple[str, str | float]:
    """`raised` and where the class of the exception, `ran` and the loss, or `failed`
    where the model cannot even be built."""
    torch.manual_seed(0)
    try:
        program = load(text, path)
        model = program.build()
    except Exception as error:
        return "failed", type(error).__name__
    fill(model)
    torch.manual_seed(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss = program.step(model)
            if torch.is_tensor(loss) and loss.numel() == 1:
                loss.backward()
                return "ran", float(loss)
            return "failed", "no loss"
    except Exception as error:
        return "raised", type(error).__name__


def described(layer: nn.Module) -> tuple[object, ...]:
    """All that tells one layer from another, but for the values of its parameters."""
    plain = {
        name: value
        for name, value in vars(layer).items()
        if isinstance(value, (int, float, str, tuple)) and name != "training"
    }
    shapes = {name: p.shape for name, p in layer.named_parameters(recurse=False)}
    return type(layer).__qualname__, sorted(map(repr, plain.items())), shapes


def built_otherwise(good: nn.Module, bad: nn.Module) -> set[str]:
    ours = dict(good.named_modules())
    return {
        name
        for name, layer in bad.named_modules()
        if name in ours and described(layer) != described(ours[name])
    }


def unbound(text: str, path: Path) -> set[str]:
    """The module whose forward calls a function without an argument that it needs:
    no function is called at all then."""
    t, raised, _ = traced(text, path)
    if isinstance(raised, TypeError) and t.failure is not None:
        return {t.failure.module} if t.failure.module is not None else set()
    return set()


def compared(text: str, path: Path) -> set[str]:
    """Where a loss was given (N, 1) and (N,), both sides are as likely."""
    t, _, _ = traced(text, path)
    made = {ref.id: one for one in t.functions for ref in one.outputs or ()}
    for call in t.functions:
        if call.name in LOSSES and len(call.inputs) > 1:
            shapes = [ref.shape for ref in call.inputs[:2]]
            if len(shapes[0]) == len(shapes[1]):
                continue
            producer = made.get(call.inputs[0].id)
            vectors = min(map(len, shapes)) == 1
            if producer is None or not producer.direct or not vectors:
                return {"target"}
            return {"target", "function:" + producer.name.rstrip("_")}
    return set()


def data(ref: int, made: dict[int, FunctionCall]) -> bool:
    """Whether no module had a part in making the tensor."""
    todo, seen = [ref], set()
    while todo:
        call = made.get(todo.pop())
        if call is not None and call.index not in seen:
            if call.parent is not None:
                return False
            seen.add(call.index)
            todo += [one.id for one in call.inputs]
    return True


def makers(text: str, function: str, place: tuple[int, int], path: Path) -> set[str]:
    """Who made what the forgotten call takes, the module that makes the call, and the
    modules in front of which it is missing."""
    t, _, _ = traced(text, path)
    made = {ref.id: one for one in t.functions for ref in one.outputs or ()}
    found: set[str] = set()
    for call in t.functions:
        source = call.source
        if call.name.rstrip("_") != function or source is None or not call.inputs:
            continue
        if (source.line, source.column) != place:
            continue
        if call.parent is not None:
            found.add(t.calls[call.parent].name)
        ref = call.inputs[0]
        producer = made.get(ref.id)
        if data(ref.id, made):
            found |= {"input", "target"}
        if producer is None:
            continue
        if producer.direct or producer.parent is None:
            found.add("function:" + producer.name.rstrip("_"))
        else:
            found.add(t.calls[producer.parent].name)
        ids = {out.id for out in call.outputs or ()}
        for one in t.calls:
            if any(out.id == ref.id for out in one.outputs or ()):
                found.add(one.name)
            if any(given.id in ids for given in one.inputs):
                found.add(one.name)
    return found


def rebuilt(layer: nn.Module, attribute: str, size: int) -> nn.Module | None:
    """The layer with another width; the rest as it is."""
    if isinstance(layer, nn.Linear):
        sizes = {"in_features": layer.in_features, "out_features": layer.out_features}
        return nn.Linear(**{**sizes, attribute: size}, bias=layer.bias is not None)
    if isinstance(layer, nn.modules.conv._ConvNd):
        sizes = {name: getattr(layer, name) for name in ("in_channels", "out_channels")}
        same = ("kernel_size", "stride", "padding", "dilation")
        more = {name: getattr(layer, name) for name in same}
        return type(layer)(**{**sizes, attribute: size}, **more)
    if isinstance(layer, nn.Embedding):
        return nn.Embedding(layer.num_embeddings, size)
    return type(layer)(size) if type(layer) in WIDTHS else None


def width(layer: nn.Module, attribute: str) -> int:
    value = getattr(layer, attribute)
    return int(value[-1] if isinstance(value, tuple) else value)


def as_good(program: types.ModuleType, good: nn.Module, guilty: str) -> set[str]:
    """Other layers of which one, with another width, would make the program run."""
    bad = program.build()
    if type(bad.get_submodule(guilty)) not in WIDTHS:
        return set()
    found = set()
    changes = {
        width(good.get_submodule(guilty), name): width(bad.get_submodule(guilty), name)
        for name in WIDTHS[type(bad.get_submodule(guilty))]
    }
    for name, layer in bad.named_modules():
        for attribute in WIDTHS.get(type(layer), ()) if name != guilty else ():
            new = changes.get(width(layer, attribute))
            if new is None or new == width(layer, attribute):
                continue
            trial = program.build()
            trial.set_submodule(name, rebuilt(layer, attribute, new))
            try:
                program.step(trial)
            except Exception:
                continue
            found.add(name)
    return found


def culprits(
    good: str, bad: str, slip: Slip, place: tuple[int, int], folder: Path
) -> set[str]:
    """The accepted answers for a slip, in the spelling of `label`."""
    sound, program = load(good, folder / "good.py"), load(bad, folder / "bad.py")
    sound_model, model = sound.build(), program.build()
    found = built_otherwise(sound_model, model)
    if slip.kind in EITHER:
        found |= compared(bad, folder / "bad.py")
    if slip.kind.startswith(("forgotten", "squeeze")):
        if slip.kind.startswith("forgotten"):
            return found | makers(good, slip.function, place, folder / "good.py")
        return {"function:squeeze"}
    if slip.kind == "another layer called":
        last = slip.new.rpartition(".")[2]
        for name, _ in model.named_modules():
            parts = name.split(".")
            if last in parts:
                found |= {name, ".".join(parts[: parts.index(last)])}
        return found
    if slip.function and (not found or slip.kind in EITHER):
        found.add("function:" + slip.function)
        found |= unbound(bad, folder / "bad.py")
        if slip.kind in OPEN:
            found |= {"input", "target"}
        if "loss" in slip.kind or slip.kind.startswith(("a column", "one-hot")):
            if not slip.kind.startswith(("softmax", "sigmoid")):
                found.add("target")
        if slip.kind.startswith("swapped arguments"):
            found.add("input")
        return found
    if len(found) == 1:
        found |= as_good(program, sound_model, next(iter(found)))
    t, _, _ = traced(bad, folder / "bad.py")
    failing = [call for call in t.functions if call.error is not None]
    if failing and t.failure is not None:
        made = {ref.id: one for one in t.functions for ref in one.outputs or ()}
        if t.failure.where.startswith("loss:"):
            found.add("target")
        elif failing[-1].inputs and data(failing[-1].inputs[0].id, made):
            found.add("input")
    return found


def examined(script: str, text: str, slip: Slip) -> dict[str, Any] | None:
    """A line of the table, or None where the slip is no mistake or nobody's."""
    row: dict[str, Any] = {
        "script": script,
        "kind": slip.kind,
        "start": slip.start,
        "old": text[slip.start : slip.end],
        "new": slip.new,
        "culprits": [],
        "sizes": {},
    }
    wrong = broken(row, text)
    single = slip.kind.startswith("squeeze")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for sizes in ("single",) if single else ("distinct", "equal"):
            good, bad = sized(text, sizes), sized(wrong, sizes)
            if good == bad:
                continue
            end, what = outcome(bad, folder / "bad.py")
            if end == "raised":
                t, _, _ = traced(bad, folder / "bad.py")
                if t.failure is None:
                    continue
                loss = t.failure.where.startswith("loss:")
                row["sizes"][sizes] = "loss" if loss else "layer"
            elif end == "ran" and slip.kind.startswith(SILENT):
                goal = outcome(good, folder / "good.py")[1]
                close = abs(float(what) - float(goal)) <= 1e-4 * max(
                    1, abs(float(goal))
                )
                if not close and float(what) == float(what):
                    row["sizes"][sizes] = "silent"
        if not row["sizes"]:
            return None
        sizes = next(iter(row["sizes"]))
        good, bad = sized(text, sizes), sized(wrong, sizes)
        try:
            who = culprits(good, bad, slip, slip.place(text), folder)
        except Exception:  # of the script itself: nobody can be told
            return None
    row["culprits"] = sorted(who)
    return row if who else None
