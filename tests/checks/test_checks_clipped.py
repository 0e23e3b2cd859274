"""Gradients that are clipped when the step has used them, and what is meant."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace

X, Y = torch.randn(8, 8), torch.randn(8, 8)
NORM, VALUE = nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_
OPTIMIZERS = [
    lambda p: torch.optim.SGD(p, 0.1),
    lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=True),
    lambda p: torch.optim.Adam(p, 0.1),
    lambda p: torch.optim.AdamW(p, 0.1, foreach=True),
]


class Loop:
    """A model and its optimizer, and what a training loop does with them."""

    def __init__(self, made=OPTIMIZERS[0]):
        torch.manual_seed(0)
        self.net, self.other = nn.Linear(8, 8), nn.Linear(8, 8)
        self.optimizer = made([*self.net.parameters()])
        self.second = made([*self.other.parameters()])

    def backward(self, clear=True):
        if clear:
            self.optimizer.zero_grad()
        F.mse_loss(self.net(X), Y).backward()

    def clip(self, net=None, most=1.0):
        NORM((net or self.net).parameters(), most)


def found(loop, program, steps=2):
    with shapetrace.trace(loop.net, loop.other) as t:
        for _ in range(steps):
            program(loop)
    return [one for one in t.findings if one.severity != "note"]


def too_late(loop):
    loop.backward()
    loop.optimizer.step()
    loop.clip()


def too_late_by_value(loop):
    loop.backward()
    loop.optimizer.step()
    VALUE(loop.net.parameters(), 0.5)


def too_late_by_hand(loop):
    loop.backward()
    loop.optimizer.step()
    for parameter in loop.net.parameters():
        parameter.grad.clamp_(-0.5, 0.5)


def too_late_and_set_to_none(loop):
    loop.backward(clear=False)
    loop.optimizer.step()
    loop.clip()
    for parameter in loop.net.parameters():
        parameter.grad = None


@pytest.mark.parametrize("made", OPTIMIZERS)
@pytest.mark.parametrize(
    ("program", "name"),
    [
        (too_late, "NORM"),
        (too_late_by_value, "VALUE"),
        (too_late_by_hand, "clamp_"),
        (too_late_and_set_to_none, "NORM"),
    ],
)
def test_clipped_when_the_step_has_used_them(program, name, made):
    with pytest.warns(shapetrace.ShapeTraceWarning, match="nothing is clipped"):
        (one,) = found(Loop(made), program)
    assert one.code == "clipped-after-step"
    assert [who.name for who in one.culprits] == [name, "step"]


def test_one_step_alone_that_begins_with_zero_grad():
    with pytest.warns(shapetrace.ShapeTraceWarning):
        (one,) = found(Loop(), too_late, steps=1)
    assert one.code == "clipped-after-step"


def in_time(loop):
    loop.backward()
    loop.clip()
    loop.optimizer.step()


def each_for_itself(loop):
    """The gradients of a second network are clipped between both steps."""
    loop.backward()
    loop.second.zero_grad()
    F.mse_loss(loop.other(X), Y).backward()
    loop.optimizer.step()
    loop.clip(loop.other)
    loop.second.step()


def norm_for_the_log(loop):
    loop.backward()
    loop.optimizer.step()
    loop.clip(most=float("inf"))


def norm_by_hand(loop):
    loop.backward()
    loop.optimizer.step()
    torch.stack([p.grad.norm() for p in loop.net.parameters()]).norm().item()


def kept_for_the_next(loop):
    """Gradients that fade, and are added to: a momentum of one's own."""
    loop.backward(clear=False)
    loop.optimizer.step()
    for parameter in loop.net.parameters():
        parameter.grad.mul_(0.9)


def several_backwards(loop):
    loop.backward()
    loop.backward(clear=False)
    loop.clip()
    loop.optimizer.step()


def cleared_by_hand(loop):
    loop.backward(clear=False)
    loop.optimizer.step()
    for parameter in loop.net.parameters():
        parameter.grad.zero_()


def cleared_behind(loop):
    loop.backward(clear=False)
    loop.clip()
    loop.optimizer.step()
    loop.optimizer.zero_grad()


def unscaled(loop):
    loop.optimizer.zero_grad()
    (128 * F.mse_loss(loop.net(X), Y)).backward()
    for parameter in loop.net.parameters():
        parameter.grad.div_(128)
    loop.clip()
    loop.optimizer.step()


def weights_clipped(loop):
    """Of a critic the weights are clipped after each step."""
    loop.backward()
    loop.optimizer.step()
    with torch.no_grad():
        for parameter in loop.net.parameters():
            parameter.clamp_(-0.01, 0.01)


def evaluated_behind(loop):
    in_time(loop)
    with torch.no_grad():
        loop.net(X).clamp_(0, 1).mean().item()


def averaged_behind(loop):
    in_time(loop)
    with torch.no_grad():
        for slow, fast in zip(loop.other.parameters(), loop.net.parameters()):
            slow.mul_(0.9).add_(fast, alpha=0.1)


@pytest.mark.parametrize(
    "program",
    [
        in_time,
        each_for_itself,
        norm_for_the_log,
        norm_by_hand,
        kept_for_the_next,
        several_backwards,
        cleared_by_hand,
        cleared_behind,
        unscaled,
        weights_clipped,
        evaluated_behind,
        averaged_behind,
    ],
)
@pytest.mark.parametrize("made", OPTIMIZERS)
def test_what_is_meant(program, made):
    assert found(Loop(made), program, steps=3) == []


PROGRAM = """
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace

model = nn.Linear(6, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with shapetrace.trace(model) as t:
    for _ in range(2):
        optimizer.zero_grad()
        F.mse_loss(model(torch.randn(5, 6)), torch.randn(5, 4)).backward()
        optimizer.step()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
"""


@pytest.mark.filterwarnings("ignore")
def test_the_lines_in_their_order(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    space: dict[str, object] = {}
    exec(compile(PROGRAM, str(path), "exec"), space)
    (one,) = space["t"].findings
    assert [who.name for who in one.culprits] == ["clip_grad_norm_", "step"]
    (fix,) = one.fixes
    first, second = fix.line.split("\n")
    assert (first, second) == (
        "nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
        "optimizer.step()",
    )
    assert (fix.where.line, fix.where.end_line) == (14, 15)
