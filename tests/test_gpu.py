"""What only an accelerator shows: waiting for it, breaking it, and what it holds."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
OPTIONS = [{}, {"memory": True, "backward": True}, {"max_calls": 3}]


def net():
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()),
        *(nn.Dropout(0.1), nn.Linear(8 * 14 * 14, 5)),
    )
    return model.cuda(), torch.randn(4, 3, 16, 16).cuda(), torch.arange(4).cuda()


def step(model, x, y):
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    return loss


@contextmanager
def no_wait():
    torch.cuda.synchronize()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls it a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("options", OPTIONS)
def test_nothing_waits_for_the_device_inside_the_block(options):
    model, x, y = net()
    step(model, x, y)
    with shapetrace.trace(model, **options) as t, no_wait():
        step(model, x, y)
    assert not any("incomplete" in note for note in t.recording.notes)
    assert (0, 3) in t.recording.value_ranges.values()
    assert all(call.device_ns is not None for call in t.calls)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_same_bits_and_nothing_is_kept(options):
    def run(**tracing):
        model, x, y = net()
        torch.manual_seed(3)
        if tracing:
            with shapetrace.trace(model, **tracing["options"]):
                loss = step(model, x, y)
        else:
            loss = step(model, x, y)
        grads = [one.grad.clone() for one in model.parameters()]
        return [loss.detach(), torch.cuda.get_rng_state(), *model.buffers(), *grads]

    run()
    plain = run()
    assert all(map(torch.equal, plain, run(options=options)))
    del plain
    before = torch.cuda.memory_allocated()
    run(options=options)
    assert torch.cuda.memory_allocated() == before


BROKEN = """
    import torch, shapetrace
    from torch import nn
    model = {model}
    model.cuda()
    x, y = {x}.cuda(), torch.tensor([0, {label}]).cuda()
    with shapetrace.trace(model) as t:
        nn.functional.cross_entropy(model(x), y).backward()
        torch.cuda.synchronize()
"""
LOOKUP = "nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 3))"


@pytest.mark.parametrize(
    "model, x, label, said",
    [
        ("nn.Linear(4, 3)", "torch.randn(2, 4)", 3, "index 3 is out of range; 3 (clas"),
        (LOOKUP, "torch.tensor([1, 7])", 2, "index 7 is out of range; 3 (num_embedd"),
        (LOOKUP, "torch.tensor([-1, 2])", 2, "index -1 is out of range; 3 (num_emb"),
    ],
)
def test_an_index_that_breaks_the_device_is_told(tmp_path, model, x, label, said):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(BROKEN.format(model=model, x=x, label=label)))
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1, "the user's exception alone ends the process"
    assert said in run.stderr
    assert "fault of shapetrace's own" not in run.stderr


def test_data_on_the_processor_is_told_with_the_line_that_moves_it():
    model, x, _ = net()
    with pytest.raises(RuntimeError), shapetrace.trace(model) as t:
        model(x.cpu())
    assert "devices differ, cpu and cuda:0" in t.failure.message
    assert '.to("cuda:0")' in t.failure.fixes[0].line


def test_memory_is_what_the_allocator_holds():
    model = nn.Sequential(*[nn.Linear(2048, 2048) for _ in range(6)]).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    x = torch.randn(4096, 2048).cuda()

    def run():
        model(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    run()
    torch.cuda.reset_peak_memory_stats()
    with shapetrace.trace(model, memory=True) as t:
        run()
    held = torch.cuda.max_memory_allocated()
    assert t.memory().other > 0
    need = t.memory_for(4096)
    assert need.low <= held <= need.high


def test_fused_attention_counts_as_torch_counts_it():
    from torch.utils.flop_counter import FlopCounterMode

    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True).cuda()
    x = torch.randn(2, 32, 64).cuda()
    with FlopCounterMode(display=False) as backward:
        output = layer(x).sum()
        forward = backward.get_total_flops()
        output.backward()
    with shapetrace.trace(layer) as t:
        layer(x).sum().backward()
    assert t.costs.flops == forward
    assert t.costs.backward_flops == backward.get_total_flops() - forward
