import random
import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/yilundu/improved_contrastive_divergence/issues/7'
CATEGORY = 'silent'
DESCRIPTION = 'Energy-based model of digits: conditional residual blocks give one number, Langevin steps with a replay buffer give the negatives.'


def swish(x):
    return x * torch.sigmoid(x)


class CondResBlock(nn.Module):
    def __init__(self, downsample=True, filters=8, classes=16, norm=True):
        super().__init__()
        self.filters, self.downsample = filters, downsample
        self.bn1 = nn.InstanceNorm2d(filters, affine=True) if norm else None
        self.conv1 = nn.Conv2d(filters, filters, kernel_size=3, stride=1, padding=1)
        self.bn2 = nn.InstanceNorm2d(filters, affine=True) if norm else None
        self.conv2 = nn.Conv2d(filters, filters, kernel_size=3, stride=1, padding=1)
        self.latent_map = nn.Linear(classes, 2 * filters)
        self.latent_map_2 = nn.Linear(classes, 2 * filters)
        self.act = swish
        if downsample:
            self.conv_downsample = nn.Conv2d(filters, 2 * filters, kernel_size=3, stride=1, padding=1)
            self.avg_pool = nn.AvgPool2d(3, stride=2, padding=1)

    def forward(self, x, y):
        x_orig = x
        if y is not None:
            latent_map = self.latent_map(y).view(-1, 2 * self.filters, 1, 1)
            gain, bias = latent_map[:, :self.filters], latent_map[:, self.filters:]
        x = self.conv1(x)
        if self.bn1 is not None:
            x = self.bn1(x)
        if y is not None:
            x = gain * x + bias
        x = self.act(x)
        if y is not None:
            latent_map = self.latent_map_2(y).view(-1, 2 * self.filters, 1, 1)
            gain, bias = latent_map[:, :self.filters], latent_map[:, self.filters:]
        x = self.conv2(x)
        if self.bn2 is not None:
            x = self.bn2(x)
        if y is not None:
            x = gain * x + bias
        x = self.act(x)
        x_out = x
        if self.downsample:
            x_out = self.conv_downsample(x_out)
            x_out = self.act(self.avg_pool(x_out))
        return x_out


class MNISTModel(nn.Module):
    def __init__(self, filter_dim=8, cond=True):
        super().__init__()
        self.act, self.cond = swish, cond
        self.conv1 = nn.Conv2d(1, filter_dim, kernel_size=3, stride=1, padding=1)
        self.res1 = CondResBlock(filters=filter_dim)
        self.res2 = CondResBlock(filters=2 * filter_dim)
        self.res3 = CondResBlock(filters=4 * filter_dim, downsample=False)
        self.energy_map = nn.Linear(filter_dim * 4, 1)
        self.map_fc1 = nn.Linear(10, 16)
        self.map_fc2 = nn.Linear(16, 16)

    def label_map(self, latent):
        return self.map_fc2(self.act(self.map_fc1(latent)))

    def forward(self, x, latent):
        latent = self.label_map(latent) if self.cond else None
        x = self.act(self.conv1(x.view(-1, 1, 28, 28)))
        x = self.res1(x, latent)
        x = self.res2(x, latent)
        x = self.res3(x, latent)
        x = self.act(x)
        x = x.mean(dim=2).mean(dim=2)
        return self.energy_map(x)


class ReplayBuffer:
    def __init__(self, size):
        self.size, self.storage = size, []

    def add(self, images):
        self.storage = (self.storage + list(images))[-self.size:]

    def sample(self, batch):
        return torch.stack(random.choices(self.storage, k=batch))


def gen_image(label, model, im_neg, num_steps, step_lr=1.0):
    for p in model.parameters():
        p.requires_grad_(False)
    for _ in range(num_steps):
        im_neg = (im_neg + 0.005 * torch.randn_like(im_neg)).detach().requires_grad_(True)
        im_grad = torch.autograd.grad(model(im_neg, label).sum(), im_neg)[0]
        im_neg = torch.clamp(im_neg - step_lr * im_grad, 0, 1)
    for p in model.parameters():
        p.requires_grad_(True)
    return im_neg.detach()


def build():
    return MNISTModel()


def step(model, batch=8, num_steps=3):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.0, 0.9))
    replay_buffer = ReplayBuffer(64)
    replay_buffer.add(torch.rand(batch, 28, 28))
    for _ in range(2):
        data = torch.rand(batch, 28, 28) * (torch.rand(batch, 28, 28) > 0.7)
        label = F.one_hot(torch.randint(0, 10, (batch,)), 10).float()
        start = replay_buffer.sample(batch)
        start = torch.where(torch.rand(batch, 1, 1) < 0.05, torch.rand_like(start), start)
        im_neg = gen_image(label, model, start, num_steps)
        replay_buffer.add(im_neg)
        pos_energy, neg_energy = model(data, label), model(im_neg, label)
        loss = (pos_energy - neg_energy).mean() + (pos_energy ** 2 + neg_energy ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    return loss.detach()


# x_orig is kept and never used: the residual blocks have no residual; the author: the line was lost in a refactoring
TRUTH = dict(raises=None, at='module:res1', culprits=['res1', 'res2', 'res3', 'function:add', 'function:__add__'], dim=None, got=None, wanted=None,
             hint_any=['residual', 'skip', 'x_orig', 'never', 'not used', 'unused', 'added'])
MENDED = [('        x_out = x\n', '        x_out = x_orig + x\n')]
