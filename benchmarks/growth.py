"""How the time at the end of a block grows with the calls in it: `python growth.py`.

Processor time of one thread, for each call in microseconds: what grows with the square
of the calls shows as a column that rises.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from time import thread_time

import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from shapetrace.checks import run_checks
from shapetrace.lineage import Graph, steps


def training(count: int) -> shapetrace.Trace:
    """Steps of a small classifier, the optimizer's own calls among them."""
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.Adam(net.parameters(), foreach=False)
    with shapetrace.trace(net, checks=False) as t:
        for _ in range(count):
            optimizer.zero_grad()
            x, y = torch.randn(4, 8), torch.randint(4, (4,))
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    return t


def truncated(count: int) -> shapetrace.Trace:
    """Steps of a recurrent model that carries its state along, detached."""
    cell, head = nn.LSTMCell(8, 8), nn.Linear(8, 4)
    state = None
    with shapetrace.trace(cell, head, checks=False) as t:
        for _ in range(count):
            state = cell(torch.randn(4, 8), state)
            F.cross_entropy(head(state[0]), torch.randint(4, (4,))).backward()
            state = tuple(one.detach() for one in state)
    return t


def unrolled(count: int) -> shapetrace.Trace:
    """One loss over all steps of a cell, whose outputs are stacked."""
    cell, head, state, outputs = nn.LSTMCell(8, 8), nn.Linear(8, 4), None, []
    with shapetrace.trace(cell, head, checks=False) as t:
        for _ in range(count):
            state = cell(torch.randn(4, 8), state)
            outputs.append(state[0])
        logits = head(torch.stack(outputs, 1))
        loss = F.cross_entropy(logits.mT, torch.randint(4, (4, count)))
        loss.sum()
    return t


def growing(count: int) -> shapetrace.Trace:
    """A sequence that is made longer by one place at a time, as in generation."""
    with shapetrace.trace(checks=False) as t:
        sequence = torch.zeros(4, 1)
        for _ in range(count):
            sequence = torch.cat([sequence, sequence[:, -1:] + 1], 1)
        sequence.sum()
    return t


def seconds(run: Callable[[], object]) -> float:
    start = thread_time()
    run()
    return thread_time() - start


def main(counts: Sequence[int] = (100, 200, 400, 800)) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    training(2).findings  # what is imported and cached once
    for program in (training, truncated, unrolled, growing):
        print(f"{program.__name__}: {(program.__doc__ or '').strip()}")
        for count in counts:
            t = program(count)
            calls = len(t.functions)
            graph = Graph(t.recording)
            checks = seconds(lambda: run_checks(graph))
            last = max(graph.tensors)
            lineage = seconds(lambda: steps(Graph(t.recording), last, None))
            print(
                f"  {count:6} steps {calls:7} calls  "
                f"checks {checks * 1e6 / calls:6.1f} us a call, {checks:6.2f} s  "
                f"lineage {lineage * 1e6 / calls:6.1f} us"
            )


if __name__ == "__main__":
    main([int(arg) for arg in sys.argv[1:]] or (100, 200, 400, 800))
