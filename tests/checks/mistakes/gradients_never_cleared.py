"""base_trainer: optimizer.zero_grad() is never called, so each step uses the sum of
all gradients so far.

https://github.com/yastrebksv/TennisCourtDetector/issues/7
"""

import torch
import torch.nn as nn

B, C, S = 3, 8, 16


class ConvBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(cin, cout, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(cout)
        )

    def forward(self, x):
        return self.block(x)


class TrackNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = ConvBlock(3, C), ConvBlock(C, C)
        self.pool, self.ups = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
        self.conv3, self.head = ConvBlock(C, C), nn.Conv2d(C, 15, 1)

    def forward(self, x):
        x = self.ups(self.conv2(self.pool(self.conv1(x))))
        return self.head(self.conv3(x))


def build():
    return TrackNet()


def train(model, loader, optimizer, criterion):
    model.train()
    losses = []
    for image, heatmap in loader:
        out = model(image)
        loss = criterion(torch.sigmoid(out), heatmap)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    loader = [(torch.rand(B, 3, S, S), torch.rand(B, 15, S, S)) for _ in range(3)]
    train(model, loader, optimizer, nn.MSELoss())


#: the same sizes, equal
COINCIDENT = "B, C, S = 8, 8, 8"
CULPRITS = ["function:backward", "function:step", "function:zero_grad"]
MENDED = [
    (
        "        loss = criterion(torch.sigmoid(out), heatmap)\n",
        (
            "        loss = criterion(torch.sigmoid(out), heatmap)\n"
            "        optimizer.zero_grad()\n"
        ),
    ),
]
