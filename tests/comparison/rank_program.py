"""Training steps as every rank runs them, one for each argument, which names what is
odd on the last rank. Rank 0 leaves what came of each in a text and a JSON file."""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import shapetrace


class Slow(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.3)
        return super().forward(x)


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        rank = dist.get_rank()
        odd = rank == dist.get_world_size() - 1
        slow = kind in ("slow", "ddp slow") and odd
        self.first = nn.Linear(8, 6)
        self.second = (Slow if slow else nn.Linear)(6, 4)
        self.again = kind == "calls" and odd
        self.swapped = kind == "order" and odd

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).relu()
        if self.again:
            self.second(x)
        return self.second(x)


def step(kind: str) -> None:
    rank = dist.get_rank()
    odd = rank == dist.get_world_size() - 1
    torch.manual_seed(0)
    net = Net(kind)
    model = DistributedDataParallel(net) if "ddp" in kind else net
    x = torch.ones(5 if kind == "shape" and odd else 3, 8)
    if kind == "fails" and odd:
        x = torch.ones(3, 7)
    t = shapetrace.trace(model, memory=kind == "memory")
    try:
        with t:
            if kind == "killed" and odd:
                os.kill(os.getpid(), signal.SIGKILL)
            loss = model(x).pow(2).mean()
            if kind == "collectives":
                collectives(late=odd)
            if kind == "handles":
                handles(late=odd)
            if kind == "fails":
                dist.all_reduce(loss)
            if kind != "memory":
                loss.backward()
    except RuntimeError as error:
        write(f"{kind}.notes{rank}", "\n".join(getattr(error, "__notes__", [])))
        if odd:
            time.sleep(8)  # rank 0 is to see its own timeout, not a closed connection
            raise
    ranks = t.gather(timeout=1 if kind == "killed" else 30)
    assert (ranks is None) == (rank != 0)
    if ranks is not None:
        write(f"{kind}.txt", str(ranks))
        ranks.to_json(os.path.join(os.environ["RANKS_FOLDER"], f"{kind}.json"))


def collectives(*, late: bool) -> None:
    """Two that the program calls itself, to which the last rank comes late."""
    time.sleep(0.3 * late)
    dist.all_reduce(torch.ones(2))
    time.sleep(0.2 * late)
    dist.barrier()
    torch.ones(2)


def handles(*, late: bool) -> None:
    """As buckets of gradients are sent on their way, and all waited for in one line."""
    time.sleep(0.3 * late)
    works = [dist.all_reduce(torch.ones(2), async_op=True) for _ in range(3)]
    torch.ones(2) + 1
    [work.wait() for work in works]


def write(name: str, text: str) -> None:
    with open(os.path.join(os.environ["RANKS_FOLDER"], name), "w") as file:
        file.write(text)


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=4))
    for kind in sys.argv[1:]:
        step(kind)
