"""What is data is found from the recording: however a batch was put together."""

from __future__ import annotations

import re

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from shapetrace.checks import CHECKS
from tests.checks.test_checks_docs import FOLDER, ON_DEVICES, executed


def collated(workers):
    def bring(*tensors):
        data = TensorDataset(*tensors)
        return next(iter(DataLoader(data, len(tensors[0]), num_workers=workers)))

    return bring


def stacked(*tensors):
    return [torch.stack([one.clone() for one in tensor]) for tensor in tensors]


def joined(*tensors):
    return [torch.cat(tensor.clone().split(1)) for tensor in tensors]


def assigned(*tensors):
    """A buffer of zeros, filled row by row."""
    found = []
    for tensor in tensors:
        buffer = torch.zeros(tensor.shape, dtype=tensor.dtype)
        for at in range(len(tensor)):
            buffer[at] = tensor[at]
        found.append(buffer)
    return found


def drawn(*tensors):
    """Picked by an index from something larger, as from a replay memory."""
    index = torch.randperm(2 * len(tensors[0]))[: len(tensors[0])] % len(tensors[0])
    return [torch.cat([tensor, tensor])[index] for tensor in tensors]


def shuffled(*tensors):
    order = list(range(len(tensors[0])))[::-1]
    return [tensor[order] for tensor in tensors]


WAYS = {
    "loader": collated(0),
    "workers": collated(2),
    "stack": stacked,
    "cat": joined,
    "buffer": assigned,
    "index": drawn,
    "list": shuffled,
}


def run(code, which, way):
    """The findings of an example whose data comes up inside of the block."""
    page = (FOLDER / f"{code}.md").read_text()
    block = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[which]
    names, data = re.search(r"^(x|x, y) = (.*)$", block, re.MULTILINE).groups()
    block = block.replace(f"{names} = {data}", f"given = [{data}]")
    block = re.sub(
        r"^( *)with shapetrace.trace\(model\) as t:\n",
        lambda found: f"{found[0]}{found[1]}    {names}, = bring(*given)\n",
        block,
        flags=re.MULTILINE,
    )
    return executed(f"{code}, {way}.md", block, bring=WAYS[way])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("code", [c for c in CHECKS if c not in ON_DEVICES])
def test_a_mistake_is_found_whoever_made_the_batch(code, way):
    assert run(code, 0, way) == [code]


@pytest.mark.filterwarnings("error")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("code", CHECKS)
def test_a_correct_program_is_silent_whoever_made_the_batch(code, way):
    assert run(code, 1, way) == []
