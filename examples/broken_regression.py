"""A regression whose last layer is one output short: the loss call raises.

Plain PyTorch on real data: 20 athletes, three exercises in, three body measurements
out (scikit-learn's Linnerud set). Ask what is wrong with

    shapetrace run examples/broken_regression.py
"""

import torch
from sklearn.datasets import load_linnerud
from torch import nn


class Regressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(3, 16)
        self.act = nn.ReLU()
        self.fc2 = nn.Linear(16, 2)

    def forward(self, exercises):
        return self.fc2(self.act(self.fc1(exercises)))


def main():
    torch.manual_seed(0)
    data = load_linnerud()
    exercises = torch.tensor(data.data, dtype=torch.float32)
    body = torch.tensor(data.target, dtype=torch.float32)

    model = Regressor()
    loss = nn.functional.mse_loss(model(exercises), body)
    loss.backward()
    print(f"loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
