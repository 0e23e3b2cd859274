"""One training step of a small CNN on scikit-learn's handwritten digits.

Plain PyTorch: nothing here knows of shapetrace. See what goes through each layer with

    shapetrace run --csv report.csv examples/digits.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class DigitNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.dropout = nn.Dropout(0.25)
        self.head = nn.Linear(32 * 2 * 2, 10)

    def forward(self, images):
        x = self.features(images)
        x = x.flatten(1)
        return self.head(self.dropout(x))


def main():
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    print(f"{len(images)} images of {images.shape[2]}x{images.shape[3]} pixels")

    loader = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True)
    model = DigitNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    batch, target = next(iter(loader))
    loss = criterion(model(batch), target)
    loss.backward()
    optimizer.step()
    print(f"loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
