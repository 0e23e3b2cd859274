import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, POINTS, WIDTH, CLASSES = 3, 20, 10, 6


class TNet(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.k = k
        self.conv = nn.Conv1d(k, WIDTH, 1)
        self.fc = nn.Linear(WIDTH, k * k)

    def forward(self, x):
        h = F.relu(self.conv(x)).max(dim=2)[0]
        identity = torch.eye(self.k).view(1, self.k * self.k)
        return (self.fc(h) + identity).view(-1, self.k, self.k)


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.transform = TNet(3)
        self.conv1 = nn.Conv1d(3, WIDTH, 1)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH * 2, 1)
        self.bn = nn.BatchNorm1d(WIDTH * 2)
        self.segment = nn.Conv1d(WIDTH * 3, CLASSES, 1)

    def forward(self, points):
        x = points.transpose(1, 2)
        x = torch.bmm(points, self.transform(x)).transpose(1, 2)
        local = F.relu(self.conv1(x))
        h = self.bn(self.conv2(local))
        world = h.max(dim=2, keepdim=True)[0].expand(-1, -1, points.shape[1])
        return self.segment(torch.cat([local, world], dim=1))


def build():
    return PointNet()


def step(model):
    points = torch.rand(BATCH, POINTS, 3)
    parts = torch.randint(0, CLASSES, (BATCH, POINTS))
    return F.cross_entropy(model(points), parts)


EQUAL = dict(BATCH=8, POINTS=8, WIDTH=8, CLASSES=8)
