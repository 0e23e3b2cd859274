"""Programs of the table in `construct_programs`: data loaders and training."""

from __future__ import annotations

from typing import Any

import torch
from construct_table import Watch, net, program, step
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Squares(Dataset[Any]):
    """Uses a module in its workers."""

    def __init__(self) -> None:
        self.layer = nn.Linear(1, 4)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, at: int) -> torch.Tensor:
        with torch.no_grad():
            return self.layer(torch.full((1,), float(at)))


def load(watch: Watch, how: str) -> Any:
    model, data = net(), Squares()
    with watch(model):
        loader = DataLoader(
            data, batch_size=2, num_workers=1, multiprocessing_context=how
        )
        return [model(batch) for batch in loader]


@program
def workers_forked(watch: Watch) -> Any:
    return load(watch, "fork")


@program
def workers_spawned(watch: Watch) -> Any:
    return load(watch, "spawn")


@program
def averaged_copies(watch: Watch) -> Any:
    model = net()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model):
        for _ in range(3):
            step(model, torch.ones(2, 4))
            optimizer.step()
            averaged.update_parameters(model)
    return averaged(torch.ones(2, 4)), model.state_dict()
