"""What comes of trying a repair, and that trying leaves no trace."""

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

import shapetrace
from shapetrace.diagnosis.consider import consider
from shapetrace.diagnosis.detection.detect import find_mismatch
from shapetrace.diagnosis.hypothesis import Repair, Taken
from shapetrace.diagnosis.repair import edits
from shapetrace.diagnosis.replay.replay import Replay
from shapetrace.lineage import Graph
from shapetrace.source.constructor import changed, constructor


def failed(model, step):
    """The graph and the mismatch of a step that raises."""
    with pytest.raises((RuntimeError, ValueError)):
        with shapetrace.trace(model) as t:
            step(model)
    graph = Graph(t.recording)
    call = next(call for call in graph.rec.functions if call.error is not None)
    return graph, find_mismatch(graph, call)


def widths(*sizes):
    return nn.Sequential(*[nn.Linear(a, b) for a, b in zip(sizes[::2], sizes[1::2])])


def test_repair_that_goes_through_is_verified():
    graph, mismatch = failed(widths(4, 8, 6, 2), lambda m: m(torch.ones(3, 4)))
    new = changed(graph.rec.modules["1"], in_features=8)
    assert Replay(graph, mismatch).run(Repair(modules={"1": new})).status == "verified"


def test_repair_that_changes_nothing_for_the_failing_call_is_dropped():
    graph, mismatch = failed(widths(4, 8, 6, 2), lambda m: m(torch.ones(3, 4)))
    new = changed(graph.rec.modules["1"], out_features=5)
    assert Replay(graph, mismatch).run(Repair(modules={"1": new})) is None


def test_repair_after_which_an_earlier_layer_fails_is_moved_and_says_where():
    graph, mismatch = failed(widths(4, 8, 8, 6, 5, 2), lambda m: m(torch.ones(3, 4)))
    new = changed(graph.rec.modules["0"], out_features=5)
    outcome = Replay(graph, mismatch).run(Repair(modules={"0": new}))
    assert outcome.status == "moved"
    assert "1 expects in_features=8, gets 5" in outcome.detail


def test_repair_after_which_the_next_layer_of_a_sequential_fails_is_moved():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
    graph, mismatch = failed(model, lambda m: m(torch.ones(2, 20, 20, 3)))
    new = changed(graph.rec.modules["0"], in_channels=20)
    outcome = Replay(graph, mismatch).run(Repair(modules={"0": new}))
    assert outcome.status == "moved"
    assert "too small" in outcome.detail


class Sized(nn.Module):
    """A view whose sizes the code reads off, or writes out."""

    def __init__(self, written):
        super().__init__()
        self.a = nn.Linear(4, 8)
        self.b = nn.Linear(6, 2)
        self.written = written

    def forward(self, x):
        h = self.a(x)
        if self.written:
            return self.b(h.view(3, 8))
        return self.b(h.view(h.size(0), h.size(1)))


@pytest.mark.parametrize("written, status", [(False, "verified"), (True, "moved")])
def test_a_size_that_the_code_reads_off_follows_a_repair(written, status):
    graph, mismatch = failed(Sized(written), lambda m: m(torch.ones(3, 4)))
    new = changed(graph.rec.modules["a"], out_features=6)
    assert Replay(graph, mismatch).run(Repair(modules={"a": new})).status == status


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_loss_that_would_only_broadcast_is_no_repair():
    graph, mismatch = failed(
        widths(4, 3), lambda m: F.mse_loss(m(torch.ones(5, 4)), torch.ones(5, 2))
    )
    target = mismatch.call.inputs[1].id
    one = edits.cut(1, 1, 2)
    order = mismatch.call.order
    repair = Repair(taken=(Taken(target, one, order, order),))
    assert Replay(graph, mismatch).run(repair) is None


def test_types_are_tried_on_the_function_itself():
    graph, mismatch = failed(
        widths(4, 3), lambda m: F.cross_entropy(m(torch.ones(5, 4)), torch.zeros(5))
    )
    target = mismatch.call.inputs[1].id
    replay = Replay(graph, mismatch)
    indices, doubles = edits.cast(torch.int64), edits.cast(torch.float64)
    assert replay.run(Repair(taken=(Taken(target, indices),))).status == "verified"
    assert replay.run(Repair(taken=(Taken(target, doubles),))) is None


class Twice(nn.Module):
    """The same line runs twice: the first time its sizes fit."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 4)

    def forward(self, x, weight):
        return self.lin(x) * weight


def test_a_change_of_a_line_holds_for_its_earlier_calls_too():
    def step(model):
        model(torch.ones(4, 4), torch.ones(4))
        model(torch.ones(3, 4), torch.ones(3))

    graph, mismatch = failed(Twice(), step)
    found = consider(graph, mismatch).scored
    line = "return self.lin(x) * weight.unsqueeze(1)"
    wanted = next(one.hypothesis for one in found if one.hypothesis.line == line)
    assert {taken.tensor for taken in wanted.repair.taken} == {
        mismatch.call.inputs[1].id,
        next(c for c in graph.rec.functions if c.name == "mul").inputs[1].id,
    }


class Behind(nn.Module):
    """What follows in the forward is read, not run."""

    def __init__(self, width):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(6, 5)
        self.c = nn.Linear(width, 2)

    def forward(self, x):
        h = self.b(self.a(x))
        h = torch.relu(h)
        return self.c(h)


@pytest.mark.parametrize("width, status", [(5, "verified"), (7, "moved")])
def test_a_layer_behind_the_failing_one_has_its_say(width, status):
    graph, mismatch = failed(Behind(width), lambda m: m(torch.ones(3, 4)))
    new = changed(graph.rec.modules["b"], in_features=8)
    outcome = Replay(graph, mismatch).run(Repair(modules={"b": new}))
    assert outcome.status == status
    assert ("in_features=7, gets 5" in outcome.detail) is (status == "moved")


def scaled(model):
    weight = torch.ones(4, 7)
    return ((model(torch.ones(4, 4)) - torch.ones(4, 5)) ** 2 * weight).mean()


def test_the_rest_of_the_failing_statement_is_read():
    graph, mismatch = failed(nn.Linear(4, 3), scaled)
    new = changed(graph.rec.modules[""], out_features=5)
    outcome = Replay(graph, mismatch).run(Repair(modules={"": new}))
    assert outcome.status == "moved" and "`mul`" in outcome.detail


def test_considering_draws_no_random_numbers_and_changes_no_parameter():
    model = widths(4, 8, 6, 2)
    graph, mismatch = failed(model, lambda m: m(torch.ones(3, 4)))
    before = torch.get_rng_state()
    values = [parameter.detach().clone() for parameter in model.parameters()]
    assert consider(graph, mismatch).scored
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(values, model.parameters()))


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(3, 4),
        nn.Linear(3, 4, bias=False),
        nn.Conv2d(4, 8, (3, 5), stride=2, padding=(1, 2), groups=2, bias=False),
        nn.Conv1d(3, 4, 3, padding="same", dilation=2),
        nn.ConvTranspose2d(3, 4, 2, stride=2, output_padding=1),
        nn.BatchNorm2d(8, eps=1e-3, affine=False),
        nn.LayerNorm((4, 5)),
        nn.GroupNorm(2, 8),
        nn.Embedding(10, 3, padding_idx=0),
        nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True, bias=False),
        nn.RNN(3, 4, nonlinearity="relu"),
        nn.MultiheadAttention(8, 2, batch_first=True),
        nn.MaxPool2d(3, stride=2),
        nn.MaxPool2d(3),
    ],
    ids=str,
)
def test_constructor_builds_the_same_module(module):
    with shapetrace.trace(nn.ModuleDict({"it": module})) as t:
        pass
    text = constructor(t.recording.modules["it"])
    built = eval(text, {"nn": nn})
    assert str(built) == str(module)
    shapes = [[p.shape for p in each.parameters()] for each in (built, module)]
    assert shapes[0] == shapes[1]


class Attends(nn.Module):
    def __init__(self, width, embed, heads, batch_first):
        super().__init__()
        self.embed = nn.Linear(10, width)
        self.attend = nn.MultiheadAttention(embed, heads, batch_first=batch_first)

    def forward(self, x):
        x = self.embed(x)
        return self.attend(x, x, x)[0]


@pytest.mark.parametrize("batch_first", [True, False])
def test_both_widths_of_an_attention_that_does_not_fit_are_tried(batch_first):
    model = Attends(32, 64, 4, batch_first)
    with pytest.raises(AssertionError):
        with shapetrace.trace(model) as t:
            model(torch.randn(2, 7, 10))
    tried = {(fix.line.strip(), fix.status) for fix in t.failure.fixes}
    assert {status for _, status in tried} == {"verified"}, tried
    assert len(tried) >= 2 and all("reshape" not in line for line, _ in tried)
    assert {culprit.name for culprit in t.failure.culprits[:2]} == {"embed", "attend"}


def test_an_attention_that_torch_does_not_build_is_not_offered():
    model = Attends(30, 64, 4, True)  # 30 is no multiple of 4 heads
    with pytest.raises(AssertionError):
        with shapetrace.trace(model) as t:
            model(torch.randn(2, 7, 10))
    assert t.failure.fixes
    assert not any("MultiheadAttention(30" in fix.line for fix in t.failure.fixes)


@pytest.mark.parametrize("shape", [(2, 3, 6, 6), (2, 6, 6, 3)])
def test_one_channel_of_a_mask_of_colours_is_not_offered_as_classes(shape):
    model, colours = nn.Conv2d(3, 21, 1), torch.randint(0, 256, shape)
    colours[..., 0, 0] = 255
    with pytest.raises(RuntimeError):
        with shapetrace.trace(model) as t:
            F.cross_entropy(model(torch.randn(2, 3, 6, 6)), colours)
    assert t.failure.culprits[0].kind == "target"
    assert not any(fix.status == "verified" for fix in t.failure.fixes)


def test_an_ignored_class_may_be_beyond_the_others():
    model, masks = nn.Conv2d(3, 21, 1), torch.randint(0, 21, (2, 1, 6, 6))
    masks[0, 0, 0, 0] = 255
    with pytest.raises(RuntimeError):
        with shapetrace.trace(model) as t:
            F.cross_entropy(model(torch.randn(2, 3, 6, 6)), masks, ignore_index=255)
    assert "squeeze(1)" in t.failure.fixes[0].line
