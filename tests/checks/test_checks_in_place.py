"""Tensors that are changed in place and read by another name afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent

#: batch, features
SIZES = [(6, 8), (8, 8)]


class Block(nn.Module):
    """A block of which the forward is given."""

    def __init__(self, width, forward, slope=None):
        super().__init__()
        self.fc, self.norm = nn.Linear(width, width), nn.BatchNorm1d(width)
        self.act = nn.ReLU(inplace=True)
        if slope is not None:
            self.act = nn.LeakyReLU(slope, inplace=True)
        self.path = nn.Sequential(self.act, nn.Linear(width, width))
        self.drop, self.same = nn.Dropout(0.5, inplace=True), nn.Identity()
        self.shortcut, self.told = None, forward

    def forward(self, x):
        return self.told(self, x)


def run(forward, size, last=None, train=True, slope=None, learn=True):
    batch, width = size
    stem = [nn.Linear(5, width)] + ([] if last is None else [last])
    block = Block(width, forward, slope).train(train)
    model = nn.Sequential(*stem, block, nn.Linear(width, 3))
    loss = F.cross_entropy(model(torch.randn(batch, 5)), torch.arange(batch) % 3)
    if learn:
        loss.backward()


# mistakes


def kept_by_name(m, x):
    identity = x
    out = m.act(x)
    out = m.norm(m.fc(out))
    return out + identity


def kept_beside_a_shortcut(m, x):
    identity = x
    out = m.act(x)
    out = m.norm(m.fc(out))
    if m.shortcut is not None:
        identity = m.shortcut(x)
    return out + identity


def of_the_input(m, x):
    out = m.act(x)
    out = m.norm(m.fc(out))
    return out + x


def in_one_expression(m, x):
    return m.norm(m.fc(m.act(x))) + x


def in_a_path(m, x):
    return m.path(x) + m.fc(x)


def renamed_name(m, x):
    before = x
    x = m.act(x)
    return m.fc(x) + before


def by_function(m, x):
    out = F.relu(x, inplace=True)
    return m.fc(out) + x


def alone(m, x):
    identity = x
    F.relu_(x)
    return m.fc(x) + identity


def by_method(m, x):
    skip = m.same(x)
    x = x.relu_()
    return m.fc(x) + skip


def to_which_is_added(m, x):
    residual = x
    x += m.norm.bias
    return torch.cat([x, residual], 0)[: len(x)]


def scaled(m, x):
    residual = x
    x.mul_(2.0)
    return m.norm(x) * residual


def in_a_loop(m, x):
    skip = x
    for _ in range(2):
        x *= 0.5
    return m.fc(x) + skip


def dropped(m, x):
    residual = x
    x = m.drop(x)
    return m.fc(x) - residual


def given_to_a_layer(m, x):
    shortcut = x
    out = m.fc(m.act(x))
    return out + m.fc(shortcut)


def beside_itself(m, x):
    return m.fc(x * m.act(x))


MISTAKES = [
    beside_itself,
    *(kept_by_name, kept_beside_a_shortcut, of_the_input, in_one_expression),
    *(in_a_path, renamed_name, by_function, alone, by_method, to_which_is_added),
    *(scaled, in_a_loop, dropped, given_to_a_layer),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("forward", MISTAKES)
def test_what_was_to_be_kept_is_changed(forward, size):
    assert [code for code, _ in findings(run, forward, size)] == ["changed-in-place"]


def test_the_block_of_a_model_that_changes_what_it_is_given(size=(6, 8)):
    def forward(m, x):
        x += 1
        return m.fc(x)

    def around(m, x):
        out = m.inner(x)
        return out + x

    def program():
        outer = Block(8, around)
        outer.inner = Block(8, forward)
        x = nn.Linear(5, 8)(torch.randn(6, 5))
        F.cross_entropy(outer(x), torch.arange(6)).backward()

    assert findings(program)[0][0] == "changed-in-place"


def test_data_that_noise_is_added_to():
    def program(copy):
        clean = torch.randn(6, 8)
        noisy = copy(clean)
        noisy += 0.1 * torch.randn(6, 8)
        F.mse_loss(nn.Linear(8, 8)(noisy), clean).backward()

    assert findings(program, lambda x: x) == [("changed-in-place", "add")]
    assert silent(program, torch.clone)


# what looks alike and is right


def rebound(m, x):
    x = m.fc(x)
    x = m.act(x)
    return m.fc(x) + x


def fresh(m, x):
    identity = x
    out = m.act(m.norm(m.fc(x)))
    return m.fc(out) + identity


def cloned(m, x):
    identity = x.clone()
    out = m.act(x)
    return m.fc(out) + identity


def read_before(m, x):
    identity = x
    side = identity + 1
    out = m.act(x)
    return m.fc(out) + side


def named_after(m, x):
    x = m.act(m.fc(x))
    identity = x
    out = m.fc(x)
    return out + identity


def named_by_the_result(m, x):
    x = m.fc(x)
    skip = out = m.act(x)
    return m.fc(out) + skip


def alone_and_read_by_its_name(m, x):
    x = m.fc(x)
    m.act(x)
    return m.fc(x) + x


def branch(m, x):
    identity = x
    x = m.fc(x)
    if x.shape[0] > 1:
        x = m.act(x)
    else:
        identity = m.act(identity)
    return x + identity


def added_at_the_end(m, x):
    identity = x
    x = m.norm(m.fc(x))
    x += identity
    return m.act(x)


def running_sum(m, x):
    total = m.fc(x)
    for _ in range(3):
        total += m.fc(x)
    return total


def buffer(m, x):
    store = torch.zeros_like(x)
    sums = store
    sums += m.fc(x)
    sums += m.norm(x)
    return m.act(store)


def from_step_to_step(m, x):
    keep = m.fc(x)
    out = keep
    for _ in range(3):
        out = m.act(m.fc(x) + out)
        x = x + m.fc(keep)
        keep = out
    return x + keep


def looked_at(m, x):
    x = m.fc(x)
    before = x
    x += 1
    m.seen = before.detach(), before.shape
    return m.fc(x)


def of_what_is_not_changed_by_it(m, x):
    """By its own name: the author knows that it works in place."""
    y = x.mul_(2.0)
    return m.fc(y) + x


def without_gradients(m, x):
    with torch.no_grad():
        state = x.detach().clone()
        other = state
        state *= 0.5
        mixed = other.exp()
    return m.fc(x) + mixed


def buffer_by_another_name(m, x):
    x = m.fc(x)
    out = x
    out += m.norm.bias
    out *= 0.5
    return m.norm(x)


def result_that_nobody_reads(m, x):
    """As generated code has it: what counts is that it works in place."""
    x = m.fc(x)
    x_relu = m.act(x)  # noqa: F841
    y = m.norm(x)
    y_relu = m.act(y)  # noqa: F841
    return torch.cat([x, y], 0)[: len(x)]


def passed_on(m, x):
    identity = x
    x = m.act(m.fc(identity))
    identity = m.same(x)
    return m.fc(x) + identity


def passed_on_in_a_branch(m, x):
    identity = x
    x = m.act(m.fc(identity))
    if m.same is not None:
        identity = m.same(x)
    return m.fc(x) + identity


def handed_on(m, x):
    identity = x
    x = m.act(m.fc(identity))
    identity = itself(x)
    return m.fc(x) + identity


def itself(x):
    return x


def named_twice(m, x):
    out = m.fc(x)
    skip = out = m.act(out)
    return m.fc(out) + skip


def read_in_a_function(m, x):
    x = m.fc(x)
    out = m.act(x)
    return moved(m.fc(out), out)


def moved(one, two):
    return one + two


CORRECT = [
    *(rebound, fresh, cloned, read_before, named_after, named_by_the_result),
    *(alone_and_read_by_its_name, branch, added_at_the_end, running_sum, buffer),
    *(from_step_to_step, of_what_is_not_changed_by_it, looked_at),
    *(
        buffer_by_another_name,
        result_that_nobody_reads,
        passed_on,
        passed_on_in_a_branch,
        handed_on,
        named_twice,
        read_in_a_function,
    ),
    without_gradients,
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("forward", CORRECT)
def test_what_is_changed_in_place_on_purpose(forward, size):
    assert silent(run, forward, size)


def test_a_dropout_that_drops_nothing():
    def without(m, x):
        m.drop.p = 0.0
        return dropped(m, x)

    assert silent(run, dropped, SIZES[0], None, False)
    assert silent(run, without, SIZES[0])
    assert findings(run, kept_by_name, SIZES[0], None, False)


def test_a_copy_of_names_at_the_top_of_a_file_is_found_and_lines_are_proposed():
    def program(forward):
        with shapetrace.trace() as t:
            run(forward, (6, 8))
        (found,) = t.findings
        return found.fixes[0].line

    with pytest.warns(shapetrace.ShapeTraceWarning):
        assert program(by_function) == "out = F.relu(x, inplace=False)"
        assert program(to_which_is_added) == "x = x + m.norm.bias"
        assert program(by_method) == "x = x.relu()"
        assert program(kept_by_name) == "self.act = nn.ReLU(inplace=False)"
