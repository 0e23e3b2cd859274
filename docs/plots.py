"""The pictures of plots in `docs/pictures`: a ResNet-18 in training.

    python docs/plots.py

makes all of them anew, with torchvision and matplotlib.
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib import pyplot
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18

import shapetrace

PICTURES = Path(__file__).parent / "pictures"
KINDS = ("time", "steps", "memory", "roofline")


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = resnet18(num_classes=10)
    optimizer = torch.optim.AdamW(model.parameters())
    images, labels = torch.randn(32, 3, 64, 64), torch.randint(0, 10, (32,))
    loader = DataLoader(TensorDataset(images, labels), batch_size=8)
    with shapetrace.trace(model, memory=True, backward=True) as t:
        for images, labels in loader:
            cross_entropy(model(images), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
    for kind in KINDS:
        figure = t.plot(kind).get_figure()
        figure.savefig(PICTURES / f"{kind}.png", dpi=110)
        pyplot.close(figure)
        print(f"wrote {PICTURES / kind}.png")


if __name__ == "__main__":
    main()
