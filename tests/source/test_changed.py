"""What would be recorded of a module that is built with other arguments: what torch
itself builds."""

import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

import shapetrace
from shapetrace.source.constructor import all_changed, changed


def info_of(layer):
    with shapetrace.trace(layer) as t:
        pass
    return t.recording.modules[next(iter(t.recording.modules))]


def shapes(tensors):
    return {path: tuple(tensor.shape) for path, tensor in tensors}


@pytest.mark.parametrize(
    "old, changes, new",
    [
        (nn.Linear(4, 8), {"in_features": 6}, nn.Linear(6, 8)),
        (nn.Conv2d(4, 8, 3, groups=2), {"groups": 4}, nn.Conv2d(4, 8, 3, groups=4)),
        (nn.Conv1d(4, 8, 3), {"kernel_size": 5}, nn.Conv1d(4, 8, 5)),
        (nn.ConvTranspose2d(4, 8, 2), {"out_channels": 6}, nn.ConvTranspose2d(4, 6, 2)),
        (nn.LSTM(4, 8, 2), {"num_layers": 1}, nn.LSTM(4, 8, 1)),
        (nn.GRU(4, 8), {"hidden_size": 5}, nn.GRU(4, 5)),
        (nn.LayerNorm((3, 8)), {"normalized_shape": (8,)}, nn.LayerNorm(8)),
        (nn.LayerNorm(8), {"normalized_shape": 6}, nn.LayerNorm(6)),
        (nn.BatchNorm2d(8), {"num_features": 4}, nn.BatchNorm2d(4)),
        (nn.Embedding(9, 4), {"embedding_dim": 6}, nn.Embedding(9, 6)),
        (nn.Bilinear(2, 3, 4), {"in2_features": 5}, nn.Bilinear(2, 5, 4)),
        (
            nn.MultiheadAttention(8, 2),
            {"embed_dim": 6},
            nn.MultiheadAttention(6, 2),
        ),
        (
            nn.MultiheadAttention(8, 2, kdim=3),
            {"embed_dim": 6},
            nn.MultiheadAttention(6, 2, kdim=3),
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_the_tensors_are_those_that_torch_makes(old, changes, new):
    found = changed(info_of(old), **changes)
    assert shapes((p.path, p) for p in found.parameters) == shapes(
        new.named_parameters(recurse=False)
    )
    assert shapes((b.path, b) for b in found.buffers) == shapes(
        new.named_buffers(recurse=False)
    )
    assert found.attributes == info_of(new).attributes


def test_what_torch_does_not_build_is_an_error_with_its_words():
    info = info_of(nn.MultiheadAttention(8, 4))
    with pytest.raises(ValueError, match="divisible"):
        changed(info, embed_dim=9)


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_what_cannot_be_told_is_none():
    linear = info_of(nn.Linear(4, 8))
    assert changed(linear, heads=2) is None
    normed = info_of(nn.utils.weight_norm(nn.Linear(4, 8)))
    assert changed(normed, in_features=6) is None


def test_building_it_leaves_no_trace():
    info = info_of(nn.LSTM(4, 8, 2, dropout=0.5))
    state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one layer with dropout: torch warns of it
        changed(info, num_layers=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_embedding_is_built_without_what_torch_has_for_the_meta_device(tmp_path):
    """It takes a second to load."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, torch, shapetrace\n"
        "from torch import nn\n"
        "from shapetrace.source.constructor import changed\n"
        "model = nn.Sequential(nn.Embedding(9, 4))\n"
        "with shapetrace.trace(model) as t:\n"
        "    pass\n"
        "before = set(sys.modules)\n"
        "found = changed(t.recording.modules['0'], embedding_dim=6)\n"
        "assert [p.shape for p in found.parameters] == [(9, 6)]\n"
        "assert not [m for m in set(sys.modules) - before if '_decomp' in m]\n"
    )
    subprocess.run([sys.executable, str(program)], check=True)


def test_of_several_modules_each_is_built_as_it_was_itself():
    layers = nn.Sequential(
        nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(4, 8, bias=False), nn.Linear(4, 9)
    )
    with shapetrace.trace(layers) as t:
        pass
    old = [info for info in t.recording.modules.values() if info.type == "Linear"]
    new = all_changed(old, in_features=6)
    assert [[ref.shape for ref in new[info.name].parameters] for info in old] == [
        [(8, 6), (8,)],
        [(8, 6), (8,)],
        [(8, 6)],
        [(9, 6), (9,)],
    ]
    ids = [[ref.id for ref in info.parameters] for info in old]
    assert [[ref.id for ref in new[info.name].parameters] for info in old] == ids
