"""Tables that a module holds, of which more is asked than there is; a layer that is
called in the place of another."""

import runpy

import pytest
import torch
from failures import failure, first
from torch import nn


class Positions(nn.Module):
    """Positions by step, for data that comes with the steps first."""

    def __init__(self, max_len=10):
        super().__init__()
        self.register_buffer("pe", torch.zeros(max_len, 1, 6))

    def forward(self, x):
        return x + self.pe[: x.size(0)]


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin, self.positions = nn.Linear(5, 6), Positions()

    def forward(self, x):
        return self.positions(self.lin(x))


def test_positions_that_are_cut_by_the_number_of_samples():
    found = failure(Tagger(), torch.randn(32, 7, 5))
    assert found.culprits[0].name in ("getitem", "positions")
    assert "are asked of its" not in str(found)


MASKED = """
import torch
from torch import nn

import shapetrace


class Attention(nn.Module):
    def __init__(self, width, steps, heads=2):
        super().__init__()
        mask = torch.tril(torch.ones(steps, steps))
        self.register_buffer("mask", mask.view(1, 1, steps, steps))
        self.qkv, self.heads = nn.Linear(width, 3 * width), heads

    def split(self, x):
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)

    def forward(self, x):
        q, k, v = map(self.split, self.qkv(x).chunk(3, dim=-1))
        scores = q @ k.mT / v.size(-1) ** 0.5
        mask = self.mask[:, :, : x.size(1), : x.size(1)]
        scores = scores * mask - 1e9 * (1 - mask)
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


class Net(nn.Module):
    def __init__(self, width=8, steps=STEPS, blocks=2):
        super().__init__()
        self.blocks = nn.ModuleList(
            [Attention(width, steps) for _ in range(blocks)]
        )

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x


model = Net()
with shapetrace.trace(model):
    model(torch.randn(3, LONG, 8)).sum().backward()
"""


@pytest.mark.parametrize("steps, long", [(6, 15), (4, 8)])
def test_a_mask_is_made_larger_where_its_size_is_written_for_every_block(
    steps, long, tmp_path
):
    code = MASKED.replace("STEPS", str(steps)).replace("LONG", str(long))
    path = tmp_path / "masked.py"
    path.write_text(code)
    with pytest.raises(RuntimeError) as raised:
        runpy.run_path(str(path))
    said = "".join(raised.value.__notes__)
    assert f"{long} are asked of its {steps}" in " ".join(said.split())
    assert "Fix (verified)" in said
    assert f"+ def __init__(self, width=8, steps={long}, blocks=2):" in said
    path.write_text(code.replace(f"steps={steps}", f"steps={long}"))
    runpy.run_path(str(path))


class Shared(nn.Module):
    """A number that is for more than the table is not changed for the table alone."""

    def __init__(self, width=6):
        super().__init__()
        self.lin = nn.Linear(5, width)
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.lin(x) * self.scale[: x.size(1)] + x


def test_a_number_that_others_read_too_stays():
    found = failure(Shared(), torch.randn(4, 5))
    assert not any("width=" in fix.line for fix in found.fixes)


class Ladder(nn.Module):
    """Goes up by the first step twice, and never by the second."""

    def __init__(self):
        super().__init__()
        self.up1, self.up2 = nn.Linear(4, 8), nn.Linear(8, 6)

    def forward(self, x):
        x = self.up1(x)
        return self.up1(x.relu())


def test_a_layer_is_called_again_where_another_waits():
    found = failure(Ladder(), torch.randn(3, 4))
    assert first(found) == ("module", "up1")
    assert found.fixes[0].line == "return self.up2(x.relu())"
    said = "`model.up2` is never called, and this one twice"
    assert said in found.culprits[0].reason
