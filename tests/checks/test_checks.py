"""How findings are chosen, silenced, warned of and reported."""

from __future__ import annotations

import dataclasses
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import shapetrace
from shapetrace.checks import CHECKS, run_checks
from shapetrace.errors import ShapeTraceWarning, UsageError
from shapetrace.lineage import Graph


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 4), nn.Softmax(dim=1))


def step(model):
    return F.cross_entropy(model(torch.randn(6, 10)), torch.tensor([0, 1, 2, 3, 0, 1]))


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def codes(t):
    return [found.code for found in t.findings]


def test_the_warning_points_at_the_users_line(model):
    with pytest.warns(ShapeTraceWarning, match="softmax-before-cross-entropy") as seen:
        with shapetrace.trace(model):
            step(model)
    assert [warning.filename for warning in seen] == [__file__]
    assert seen[0].lineno == step.__code__.co_firstlineno + 1


def test_a_site_in_a_loop_is_warned_of_once(model):
    with pytest.warns(ShapeTraceWarning) as seen:
        with shapetrace.trace(model) as t:
            for _ in range(3):
                step(model)
    assert len(seen) == len(t.findings) == 1


def test_a_filter_that_makes_warnings_errors_leaves_no_hook(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ShapeTraceWarning, match="softmax") as raised:
            with shapetrace.trace(model) as t:
                step(model)
    # the block is over, and with it often the process: the warning brings all along
    assert str(t.findings[0]) in "".join(raised.value.__notes__)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_users_exception_is_not_masked_by_a_warning(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyError, match="mine"):
            with shapetrace.trace(model):
                step(model)
                raise KeyError("mine")


def test_a_filter_for_the_class_silences(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ShapeTraceWarning)
        with shapetrace.trace(model) as t:
            step(model)
    assert codes(t) == ["softmax-before-cross-entropy"]


@pytest.mark.parametrize("checks", [False, {"class-dim"}, set()])
def test_what_is_not_chosen_is_not_looked_for(model, checks):
    with shapetrace.trace(model, checks=checks) as t:
        step(model)
    assert t.findings == ()


def test_a_chosen_code_is_looked_for(model, quiet):
    with shapetrace.trace(model, checks={"softmax-before-cross-entropy"}) as t:
        step(model)
    assert codes(t) == ["softmax-before-cross-entropy"]


def test_an_unknown_code_is_refused_with_the_list_of_codes(model):
    with pytest.raises(UsageError, match="'softmax'.*class-dim.*view-as-permute"):
        shapetrace.trace(model, checks={"softmax"})


def test_one_code_without_braces_is_refused(model):
    with pytest.raises(UsageError, match="checks={'class-dim'}"):
        shapetrace.trace(model, checks="class-dim")


def test_a_comment_on_the_line_silences_its_code_there(model):
    x, y = torch.randn(6, 10), torch.tensor([0, 1, 2, 3, 0, 1])
    with shapetrace.trace(model) as t:
        F.cross_entropy(model(x), y)  # shapetrace: ignore[softmax-before-cross-entropy]
        F.cross_entropy(model(x), y)  # shapetrace: ignore
    assert t.findings == ()


def test_a_comment_for_another_code_does_not_silence(model, quiet):
    x, y = torch.randn(6, 10), torch.tensor([0, 1, 2, 3, 0, 1])
    with shapetrace.trace(model) as t:
        F.cross_entropy(model(x), y)  # shapetrace: ignore[class-dim]
    assert codes(t) == ["softmax-before-cross-entropy"]


def test_notes_are_quiet(recwarn):
    model = nn.Linear(10, 4)
    with shapetrace.trace(model) as t:
        F.mse_loss(model(torch.randn(6, 10)), torch.zeros(6, 4, dtype=torch.long))
    assert [(f.code, f.severity) for f in t.findings] == [("target-dtype", "note")]
    assert not [w for w in recwarn if issubclass(w.category, ShapeTraceWarning)]


def test_the_text_has_its_parts_in_order(model, quiet):
    with shapetrace.trace(model) as t:
        step(model)
    text = str(t.findings[0])
    parts = ["cross_entropy", "(6, 4)", "Way back", "Culprit:", "Fix (untried)"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_a_layer_of_torch_is_named_as_the_module(model, quiet):
    with shapetrace.trace(model) as t:
        step(model)
    assert [(c.kind, c.name) for c in t.findings[0].culprits] == [("module", "1")]


def test_the_odd_dimension_is_marked(quiet):
    model = nn.Linear(10, 1)
    with shapetrace.trace(model) as t:
        ((model(torch.randn(6, 10)) - torch.randn(6, 2)) ** 2).mean()
    assert "(6, >1<)" in str(t.findings[0])
    assert t.findings[0].where == "function:sub"


def test_findings_can_be_pickled(model, quiet):
    with shapetrace.trace(model) as t:
        step(model)
    assert pickle.loads(pickle.dumps(t.findings)) == t.findings


def test_hooks_alone_say_nothing(model):
    with shapetrace.trace(model, functions=False) as t:
        step(model)
    assert t.findings == ()


def test_an_index_that_no_class_has_is_an_error_where_the_kernel_did_not_raise():
    model = nn.Linear(10, 4)
    target = torch.tensor([0, 1, 2, 3])
    with shapetrace.trace(model) as t:
        F.cross_entropy(model(torch.randn(4, 10)), target)
    (known,) = t.recording.value_ranges
    for span, wanted in (((0, 3), []), ((0, 4), ["error"]), ((-100, 3), [])):
        rec = dataclasses.replace(t.recording, value_ranges={known: span})
        found = run_checks(Graph(rec), {"target-out-of-range"})
        assert [one.severity for one in found] == wanted


def test_a_tensor_that_goes_to_another_device_and_back_in_forward_is_found():
    class Net(nn.Module):
        def forward(self, x):
            return x.to(torch.float64).to(torch.float32)

    net = Net()
    with shapetrace.trace(net) as t:
        net(torch.randn(3))
    # as it would have been recorded, had the tensor come from a GPU
    out, back = [call for call in t.functions if call.name == "to"]
    gpu = torch.device("cuda", 0)
    there = tuple(dataclasses.replace(ref, device=gpu) for ref in out.inputs)
    home = tuple(dataclasses.replace(ref, device=gpu) for ref in back.outputs)
    functions = (
        dataclasses.replace(out, inputs=there),
        dataclasses.replace(back, outputs=home),
    )
    rec = dataclasses.replace(t.recording, functions=functions)
    found = run_checks(Graph(rec), {"device-transfer"})
    assert [one.code for one in found] == ["device-transfer"]


@pytest.mark.parametrize("codes", [3, None, "class-dim", {"class"}, ["class-dim", 1]])
def test_codes_that_are_none_are_said_to_be_wrong(codes):
    with pytest.raises(shapetrace.UsageError, match="checks="):
        shapetrace.trace(checks=codes)


def test_every_check_says_in_one_line_what_it_is_for():
    assert all(check.summary and "\n" not in check.summary for check in CHECKS.values())


def test_what_nothing_uses_is_noted():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.extra = nn.Linear(10, 4), nn.Linear(10, 4)

        def forward(self, x):
            self.extra(x)
            return self.main(x)

    net = Net()
    with shapetrace.trace(net) as t:
        net(torch.randn(6, 10))
    (found,) = t.findings
    assert (found.code, found.where) == ("unused-output", "module:extra")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_what_a_forward_that_was_cut_short_had_not_used_yet_is_not_unused(error):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch = nn.Sequential(nn.Linear(10, 4), nn.ReLU())

        def forward(self, x):
            kept = self.branch(x)
            raise error
            return kept

    net = Net()
    with pytest.raises(error), shapetrace.trace(net) as t:
        net(torch.randn(6, 10))
    assert "unused-output" not in {found.code for found in t.findings}


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_checkpointing_runs_again_is_not_unused(reentrant):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(10, 10), nn.Linear(10, 4)
            self.block = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 10))

        def forward(self, x):
            x = self.first(x)
            return self.last(checkpoint(self.block, x, use_reentrant=reentrant))

    net = Net()
    with shapetrace.trace(net) as t:
        F.mse_loss(net(torch.randn(6, 10)), torch.rand(6, 4)).backward()
    assert [call.name for call in t.calls if call.recomputed][:2] == [
        "block",
        "block.0",
    ]
    assert t.findings == ()


def test_each_warning_says_how_its_own_finding_is_seen(model):
    with pytest.warns(ShapeTraceWarning) as seen:
        with shapetrace.trace(model) as t:
            x = torch.randn(6, 10)
            x.unsqueeze(1)
            step(nn.Sequential(nn.Identity(), model))
            F.cross_entropy(model(x), torch.tensor([0, 1, 2, 3, 0, 1]))
    said = {str(one.message).split(":")[0]: str(one.message) for one in seen}
    assert len(said) > 1
    for number, found in enumerate(t.findings):
        assert f"print(t.findings[{number}]) tells" in said[found.code]
