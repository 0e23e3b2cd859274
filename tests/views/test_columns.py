"""One description of the columns serves every view."""

from __future__ import annotations

from dataclasses import replace

import numpy
import pytest
import samples
import torch
from torch import nn

import shapetrace
from shapetrace.errors import UsageError
from shapetrace.views import columns
from shapetrace.views.columns import COLUMNS, Column, Context, Group, named
from shapetrace.views.frame import frame
from shapetrace.views.html import fragment
from shapetrace.views.text import table


def header(text):
    return next(line for line in text.splitlines() if line.startswith("module "))


def traced(model, *inputs, **options):
    with shapetrace.trace(model, **options) as t:
        model(*inputs)
    return t


def test_no_name_and_no_other_name_stands_twice():
    names = [name for column in COLUMNS for name in (column.name, *column.also)]
    assert len(names) == len(set(names))


def test_a_new_column_is_one_entry_for_every_view(monkeypatch):
    """Text, HTML, DataFrame, and CSV, which has the frame's."""
    added = Column(
        "args",
        "arguments",
        lambda groups, context: [len(group.first.inputs) for group in groups],
        dtype="Int64",
        tables=lambda context: True,
        frames=frozenset({"call"}),
    )
    everywhere = (*COLUMNS, added)
    monkeypatch.setattr(columns, "COLUMNS", everywhere)
    monkeypatch.setattr("shapetrace.views.rows.COLUMNS", everywhere)
    rec = samples.small_cnn()
    assert "arguments" in table(rec, width=160)
    assert ">arguments<" in fragment(rec)
    assert list(frame(rec)["args"]) == [1] * 6


def test_a_row_of_another_kind_has_no_value():
    rec, _ = samples.failed_loss()
    (share,) = named(("share",))
    groups = [Group(rec.calls[:1]), Group(rec.functions[:1], "function")]
    assert share.of(groups, Context(rec)) == [1.0, None]


def test_columns_are_chosen_by_name_title_or_what_other_tools_call_them():
    rec = samples.small_cnn()
    text = table(rec, columns=("num_params", "input_size", "total ms"), width=90)
    assert table(rec, columns="num_params, input_size,total ms", width=90) == text
    assert header(text).split() == ["module", "params", "input", "total", "ms"]


def test_an_unknown_column_is_told_with_those_there_are():
    with pytest.raises(UsageError, match="'shapes', which no column.*output_shapes"):
        table(samples.small_cnn(), columns=("shapes",))
    with pytest.raises(UsageError, match="sort= was given 'slowest'"):
        table(samples.small_cnn(), sort="slowest")


def test_depth_leaves_out_what_is_deeper_and_says_so():
    text = table(samples.small_cnn(), depth=1, width=100)
    assert "features" in text and "conv1" not in text
    assert "3 calls deeper than depth= shows" in text


class Stage(nn.Module):
    """Layers of different widths, which do not fold; the last one may not fit."""

    def __init__(self, width, last=None):
        super().__init__()
        widths = range(width, width + 5)
        self.layers = nn.Sequential(*(nn.Linear(n, n + 1) for n in widths))
        self.end = nn.Linear(last or width + 5, width + 5)

    def forward(self, x):
        return self.end(self.layers(x))


def test_a_commands_table_shows_the_levels_that_fit_and_what_failed():
    model = nn.Sequential(*(Stage(5 * n) for n in range(1, 9)), Stage(45, last=44))
    with pytest.raises(RuntimeError), shapetrace.trace(model) as t:
        model(torch.ones(2, 5))
    given = {"failure": t.failure, "width": 120}
    text = table(t.recording, in_report=True, **given)
    rows = text.partition("Total")[0].splitlines()[4:]
    assert sum("Stage" in row for row in rows) == 9
    assert sum("Linear" in row for row in rows) == 10  # each end, and the culprit
    assert "44 calls below level 2 left out to stay readable; --depth 3 shows" in text
    for whole in ({"in_report": True, "depth": 3}, {}):
        text = table(t.recording, **given, **whole)
        assert text.count("Linear") > 54 and "left out to stay" not in text


def test_sorted_rows_are_a_list_under_their_full_names():
    rows = table(samples.small_cnn(), sort="self_ms", width=100).splitlines()[4:]
    assert [row.split()[0] for row in rows[:2]] == ["features.conv1", "fc"]


def test_rows_below_a_fold_add_up_to_it():
    rec = samples.blocks()
    text = table(rec, columns=("total_ms", "self_ms", "params"), width=100)
    rows = {
        line.strip("│├└─ ").split()[0]: [float(cell) for cell in line.split()[-3:-1]]
        for line in text.splitlines()
        if "├" in line or "└" in line
    }
    below = [rows[name][0] for name in ("attn", "mlp.up", "mlp.down")]
    total, own = rows["layers.0…11"] if "layers.0…11" in rows else rows["layers.0"]
    assert sum(below) + own == pytest.approx(total, abs=0.01)


def test_a_mapping_shows_its_logits_first():
    rec = samples.small_cnn()
    root = rec.calls[0]
    loss = samples.Builder().tensor("output['loss']", ())
    logits = replace(root.outputs[0], path="output['logits']")
    calls = (replace(root, outputs=(loss, logits)), *rec.calls[1:])
    assert "2×73, scalar" in table(replace(rec, calls=calls), width=140)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.groups = 5  # of its own, as a ResNet's
        self.conv = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 2)
        self.norm.weight.requires_grad_(False)
        self.fc.requires_grad_(False)
        self.conv.eval()

    def forward(self, x):
        return self.fc(self.drop(self.norm(self.conv(x))).mean((2, 3)))


def test_how_layers_are_set_and_what_is_trained_are_columns():
    t = traced(Net(), torch.ones(2, 4, 6, 6))
    text = t.table(columns=("kernel", "stride", "groups", "trainable"), width=100)
    conv, norm, fc = (
        next(line for line in text.splitlines() if f"─{name} " in line).split()
        for name in ("conv", "norm", "fc")
    )
    assert conv[1:] == ["3×3", "2×2", "2", "yes"]
    assert (norm[1:], fc[1:]) == (["partial"], ["no"])
    root = text.splitlines()[4].split()
    assert root[1:] == ["partial"]


def test_the_closing_block_adds_up():
    text = traced(Net(), torch.ones(2, 4, 6, 6), memory=True).table(width=100)
    total = sum(p.numel() for p in Net().parameters())
    frozen = 8 + 18
    assert f"Parameters: {total} ({total - frozen} trainable, {frozen} frozen)" in text
    assert f"Input: {2 * 4 * 36 * 4:,}".replace("1,152", "1.15 kB") in text
    made = 3 * (2 * 8 * 9 * 4) + 2 * 2 * 4  # conv, norm, drop; fc
    assert f"activations: {made / 1000:.3g} kB" in text
    together = 1152 + made + total * 4
    assert f"Together with the parameters: {together / 1000:.3g} kB" in text
    conv, fc = 2 * 8 * 9 * (2 * 9), 2 * 8 * 2
    assert f"Mult-adds: {(conv + fc) / 1000:.3g} k" in text
    assert "Peak of live activations: " in text


def test_a_row_of_two_batches_says_what_its_figures_are():
    """Times and FLOPs are sums; what the first batch saved is gone in the second."""
    layer = nn.Linear(4, 3)
    with shapetrace.trace(layer, memory=True) as t:
        for _ in range(2):
            layer(torch.ones(2, 4)).sum().backward()
    text = " ".join(t.table(columns="saved_bytes,flops,params", width=200).split())
    assert f"layer ×2 {2 * 4 * 4} B {2 * (2 * 2 * 4 * 3)} 15" in text
    assert (
        "times are added up, a module's parameters count once, saved those of the batch"
        " with most (1 call without a row)"
    ) in text
    assert "saved" not in t.table(columns="flops", width=200)


def test_summary_changes_nothing_in_the_model():
    model = Net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    text = shapetrace.summary(model, (2, 4, 6, 6), width=120)
    assert [module.training for module in model.modules()] == modes
    assert all(before[key].equal(value) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert "2×4×6×6" in text and "kernel" in header(text)


def test_summary_puts_back_what_a_forward_counts():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("steps", torch.zeros(()))

        def forward(self, x):
            self.steps += 1
            return x * torch.rand(())

    model = Counts()
    state = torch.get_rng_state()
    shapetrace.summary(model, (2, 3))
    assert model.steps == 0 and torch.equal(torch.get_rng_state(), state)


def test_summary_puts_back_what_a_forward_keeps():
    class Stateful(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.register_buffer("state", torch.zeros(2, 3))
            self.register_buffer("cache", None)
            self.seen, self.by_name = [], {}

        def forward(self, x):
            self.state = torch.tanh(self.layer(x) + self.state)
            self.cache = self.state * 2
            self.seen.append(x)
            self.by_name["x"] = self.last = x
            return self.state + numpy.random.rand()

    model = Stateful()
    before = {**vars(model), "seen": [], "by_name": {}}
    state = {name: value.clone() for name, value in model.state_dict().items()}
    numpy.random.seed(0)
    expected = numpy.random.RandomState(0).rand()
    shapetrace.summary(model, (2, 3))
    assert numpy.random.rand() == expected
    assert vars(model) == before and model.cache is None
    assert model.state_dict().keys() == state.keys()
    assert torch.equal(model.state, state["state"])


def test_summary_builds_no_lazy_model():
    model = nn.Sequential(nn.LazyLinear(5))
    assert "2×5" in shapetrace.summary(model, (2, 3))
    assert type(model[0]) is nn.LazyLinear and model[0].has_uninitialized_params()


def test_summary_takes_data_of_any_form():
    class Adds(nn.Module):
        def forward(self, a, b):
            return a + b

    a, b = torch.ones(2, 3), torch.ones(2, 3)
    texts = [
        shapetrace.summary(Adds(), input_data=data, columns=("input",), width=80)
        for data in ([a, b], {"a": a, "b": b})
    ]
    texts.append(shapetrace.summary(Adds(), [(2, 3), (2, 3)], columns=("input",)))
    assert all("2×3, 2×3" in text for text in texts)
    with pytest.raises(UsageError, match="either input_size"):
        shapetrace.summary(Adds())


@pytest.mark.parametrize("size", [64, "64", [(2, 3), 4], (2, -1), (2.0, 3)])
def test_summary_says_how_a_shape_is_written(size):
    with pytest.raises(UsageError, match=r"is no shape: .*\(1, 3, 224, 224\)"):
        shapetrace.summary(nn.Linear(3, 2), size)


def test_summary_says_that_it_made_up_the_input():
    with pytest.raises(RuntimeError, match="indices") as raised:
        shapetrace.summary(nn.Embedding(4, 5), (3, 2))
    assert (
        "input_data= takes a real batch, such as tokens" in raised.value.__notes__[-1]
    )


def test_summary_names_no_trace_that_its_caller_has_not():
    text = shapetrace.summary(Net(), (2, 4, 6, 6), width=50)
    assert "a trace's to_dataframe() has all" in " ".join(text.split())


def test_a_depth_below_zero_is_refused():
    t = traced(Net(), torch.ones(2, 4, 6, 6))
    with pytest.raises(UsageError, match="depth=-1: it counts levels"):
        t.table(depth=-1)


def test_what_ends_a_cell_is_no_soup_of_escapes():
    t = traced(nn.Linear(2, 2), torch.ones(1, 2))
    for text in (t.summary(), t.table()):
        assert repr(text) == str(text) and "\n" in repr(text)
        assert text._repr_html_().startswith("<pre")


def test_no_fix_edits_the_model_that_summary_was_given():
    model = nn.Sequential(nn.Embedding(4, 5))
    with pytest.raises(RuntimeError, match="indices") as raised:
        shapetrace.summary(model, input_size=(3, 2))
    assert "model.long()" not in "".join(raised.value.__notes__)
