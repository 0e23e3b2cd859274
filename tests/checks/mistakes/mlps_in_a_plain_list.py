"""RESMLPS: the sub-MLPs stand in a plain Python list, so the optimizer never gets
their weights.

https://github.com/LianpoWang/SLIIF/issues/13
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

B, N, D = 4, 30, 12


class ResMLP(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x):
        return x + self.fc2(F.relu(self.fc1(x)))


class ImplicitDecoder(nn.Module):
    def __init__(self, in_dim, depth):
        super().__init__()
        self.coord = nn.Linear(2, in_dim)
        self.mlps = [ResMLP(in_dim, 2 * in_dim) for _ in range(depth)]
        self.out = nn.Linear(in_dim, 3)

    def forward(self, feat, coord):
        x = feat + self.coord(coord)
        for mlp in self.mlps:
            x = mlp(x)
        return self.out(x)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(9, D)
        self.decoder = ImplicitDecoder(D, 4)

    def forward(self, patch, coord):
        return self.decoder(self.encoder(patch), coord)


def build():
    return Model()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for _ in range(2):
        patch, coord, rgb = (
            torch.rand(B, N, 9),
            torch.rand(B, N, 2),
            torch.rand(B, N, 3),
        )
        loss = F.l1_loss(model(patch, coord), rgb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


#: the same sizes, equal
COINCIDENT = "B, N, D = 12, 12, 12"
CULPRITS = [
    "ResMLP",
    "ResMLP.fc1",
    "ResMLP.fc2",
    "decoder",
    "decoder.ResMLP",
    "decoder.fc1",
    "decoder.mlps",
    "decoder.mlps.0",
    "fc1",
]
MENDED = [
    (
        "        self.mlps = [ResMLP(in_dim, 2 * in_dim) for _ in range(depth)]\n",
        "        self.mlps = nn.ModuleList([ResMLP(in_dim, 2 * in_dim) for _ in range(depth)])\n",  # noqa: E501
    ),
]
