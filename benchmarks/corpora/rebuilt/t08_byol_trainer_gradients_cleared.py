import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/byol-pytorch/issues/93'
CATEGORY = 'silent'
DESCRIPTION = 'BYOL trainer: an accelerate-style loop around the learner.'


class MLP(nn.Sequential):
    def __init__(self, dim, projection_size, hidden_size=32):
        super().__init__(nn.Linear(dim, hidden_size), nn.BatchNorm1d(hidden_size), nn.ReLU(inplace=True),
                         nn.Linear(hidden_size, projection_size))


class NetWrapper(nn.Module):
    def __init__(self, net, dim, projection_size):
        super().__init__()
        self.net = net
        self.projector = MLP(dim, projection_size)

    def forward(self, x):
        return self.projector(self.net(x).flatten(1))


def loss_fn(x, y):
    x, y = F.normalize(x, dim=-1, p=2), F.normalize(y, dim=-1, p=2)
    return 2 - 2 * (x * y).sum(dim=-1)


class BYOL(nn.Module):
    def __init__(self, net, dim, projection_size=16, moving_average_decay=0.99):
        super().__init__()
        self.online_encoder = NetWrapper(net, dim, projection_size)
        self.target_encoder = copy.deepcopy(self.online_encoder)
        for p in self.target_encoder.parameters():
            p.requires_grad = False
        self.online_predictor = MLP(projection_size, projection_size)
        self.beta = moving_average_decay

    def augment(self, x):
        return torch.flip(x, (-1,)) + 0.1 * torch.randn_like(x)

    @torch.no_grad()
    def update_moving_average(self):
        for p, q in zip(self.online_encoder.parameters(), self.target_encoder.parameters()):
            q.mul_(self.beta).add_(p, alpha=1 - self.beta)

    def forward(self, x):
        one, two = self.augment(x), x
        images = torch.cat((one, two), dim=0)
        pred_one, pred_two = self.online_predictor(self.online_encoder(images)).chunk(2, dim=0)
        with torch.no_grad():
            target_one, target_two = self.target_encoder(images).detach().chunk(2, dim=0)
        return (loss_fn(pred_one, target_two) + loss_fn(pred_two, target_one)).mean()


class BYOLTrainer(nn.Module):
    def __init__(self, learner, lr=1e-2):
        super().__init__()
        self.byol = learner
        self.optimizer = torch.optim.Adam(self.byol.parameters(), lr=lr)

    def forward(self, dataloader, num_train_steps):
        for _ in range(num_train_steps):
            for images in dataloader:
                self.byol.train()
                loss = self.byol(images)
                loss.backward()
                self.optimizer.zero_grad()
                self.optimizer.step()
                self.byol.update_moving_average()
        return loss


def build():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    return BYOLTrainer(BYOL(net, dim=32))


def step(model):
    dataset = torch.rand(16, 3, 16, 16)
    return model(dataset.split(8), num_train_steps=3).detach()


# zero_grad right between backward and step: the optimizer never has a gradient; fix: zero_grad after step (or before backward)
TRUTH = dict(raises=None, at='function:zero_grad', culprits=['function:zero_grad', 'function:step', 'function:backward'],
             dim=None, got=None, wanted=None, hint_any=['zero_grad', 'gradient', 'order', 'before'])
MENDED = [('self.optimizer.zero_grad()\n                self.optimizer.step()', 'self.optimizer.step()\n                self.optimizer.zero_grad()')]
