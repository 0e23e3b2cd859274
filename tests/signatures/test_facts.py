"""The one table of facts: losses, kinds of functions, sizes of layers."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from shapetrace.checks import run_checks
from shapetrace.lineage import Graph
from shapetrace.lineage.loss_calls import broadcast_ledger, losses
from shapetrace.lineage.loss_calls import sides as sides_of
from shapetrace.records import FunctionCall, ModuleInfo, Origin, Recording, TensorRef
from shapetrace.signatures import is_loss, kind, loss, loss_input, loss_target, table
from shapetrace.signatures.kinds import KINDS
from shapetrace.signatures.layers import LAYERS
from shapetrace.signatures.loss_facts import index_losses
from shapetrace.signatures.sizes import size_given, size_taken, sizes

LOSSES = [name for name in dir(F) if is_loss(name)]


def test_every_loss_of_torch_has_its_facts():
    named = {name for name in dir(F) if name.endswith("_loss")}
    odd = {"cross_entropy", "binary_cross_entropy", "kl_div", "linear_cross_entropy"}
    assert named | {name for name in odd if hasattr(F, name)} <= set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_a_prediction_is_named_as_torch_names_it(name):
    call = FunctionCall(0, None, name, f"torch.nn.functional.{name}", (), ())
    facts = loss(name)
    ref = TensorRef(f"kwargs['{facts.prediction}']", 7, (2, 3), torch.float32, "cpu")
    call = FunctionCall(0, None, name, call.qualname, (ref,), ())
    assert loss_input(call) == 0 and loss_target(call) is None


def test_what_losses_apply_themselves_and_what_they_want():
    assert loss("cross_entropy")[3:5] == ("logits", "softmax")
    assert loss("nll_loss")[3:5] == ("log_probabilities", "log_softmax")
    assert loss("binary_cross_entropy").takes == "probabilities"
    assert loss("mse_loss")[3:6] == ("values", None, ("values",))


def test_the_classes_are_where_the_signature_says():
    assert [loss(n).class_dim for n in ("cross_entropy", "ctc_loss", "mse_loss")] == [
        1,
        2,
        None,
    ]
    assert loss("multilabel_soft_margin_loss").class_dim == -1


def test_the_target_of_an_index_loss_is_found_by_its_place():
    logits, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    for name, place in index_losses().items():
        if name != "linear_cross_entropy":
            args = [logits, logits]
            args[place] = target
            getattr(F, name)(*args)


def test_each_function_has_one_kind():
    names = [
        name
        for line in KINDS.splitlines()
        for name in line.split()[1:]
        if not line.startswith("#")
    ]
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_every_kind_of_function_exists_in_torch():
    homes = (torch, torch.Tensor, F, torch.functional, torch.special, torch._VF)
    for line in KINDS.splitlines():
        for name in line.split()[1:] if not line.startswith("#") else ():
            spellings = (name, f"{name}_", f"__{name}__", name.replace("linalg_", ""))
            assert any(
                hasattr(home, one)
                for home in (*homes, torch.linalg, torch._C._nn, torch.nn.init)
                for one in spellings
            ), name


def test_in_place_forms_are_of_the_same_kind():
    assert kind("relu_") == kind("relu") == "activation"


LAYER = [
    nn.Linear(5, 7),
    nn.Bilinear(5, 6, 7),
    nn.Embedding(9, 4),
    nn.Conv2d(6, 8, (3, 2), groups=2),
    nn.ConvTranspose2d(6, 8, (3, 2), groups=2),
    nn.BatchNorm2d(5),
    nn.LayerNorm((3, 4)),
    nn.GroupNorm(2, 6),
    nn.LSTM(5, 7),
    nn.InstanceNorm1d(5, affine=True),
    nn.RMSNorm(5),
]


@pytest.mark.parametrize("layer", LAYER, ids=lambda layer: type(layer).__name__)
def test_an_attribute_is_the_size_that_the_table_says(layer):
    tensors = dict(layer.named_parameters()) | dict(layer.named_buffers())
    seen = 0
    for name, places in sizes(type(layer).__name__).items():
        for place in places:
            if place.tensor not in tensors or not hasattr(layer, name):
                continue
            shape, value = tensors[place.tensor].shape, getattr(layer, name)
            over = 1 if place.over is None else getattr(layer, place.over)
            seen += 1
            if place.dim is None:
                assert tuple(shape) == tuple(value)
            else:
                assert shape[place.dim] == value // over
    assert seen


def test_what_a_layer_takes_and_makes():
    info = ModuleInfo("c", "Conv2d", "", attributes={"in_channels": 3})
    assert size_taken(info, (2, 5, 8, 8)) == size_taken(info, (5, 8, 8))
    assert size_taken(info, (2, 5, 8, 8)) == ("in_channels", 5)
    assert [size_given(n) for n in ("Linear", "LSTM", "LayerNorm", "ReLU")] == [
        "out_features",
        "hidden_size",
        None,
        None,
    ]


def test_normalising_layers_are_those_with_norm_in_their_name():
    named = {name for name in LAYERS if "Norm" in name}
    assert {n for n in LAYERS if kind(LAYERS[n].function) == "norm"} == named - {
        "LocalResponseNorm"
    }


def test_a_new_loss_is_one_line(monkeypatch):
    line = "wing_loss(input, target, width)  ..., ... => ...  | values | values\n"
    monkeypatch.setattr(table, "TABLE", table.TABLE + line)
    caches = (table.lines, table.facts, table.signatures, loss)
    for cache in caches:
        cache.cache_clear()
    try:
        given, target = (ref(f"args[{i}]", i, s) for i, s in enumerate([(8, 1), (8,)]))
        sides, out = (given, target), (ref("output", 2, ()),)
        call = FunctionCall(0, None, "wing_loss", "", sides, out, args=sides)
        origins = {i: Origin("outside", "") for i in range(2)}
        graph = Graph(Recording((), (call,), {}, origins))
        assert sides_of(graph, call) == sides and losses(graph) == (call,)
        assert [b.size for b in broadcast_ledger(graph)] == [8, 8]
        (found,) = run_checks(graph)
        assert (found.code, found.where) == ("silent-broadcast", "loss:wing_loss")
    finally:
        monkeypatch.undo()
        for cache in caches:
            cache.cache_clear()


def ref(path, ident, shape):
    return TensorRef(path, ident, shape, torch.float32, torch.device("cpu"))
