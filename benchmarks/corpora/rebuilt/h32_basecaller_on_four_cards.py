import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/nanoporetech/bonito/issues/197 (answer: use a single GPU; the gathering over four cards is rebuilt on the CPU)'
CATEGORY = 'loss'
DESCRIPTION = 'Basecaller with CTC on four GPUs: the network returns (time, batch, classes), the replicas are gathered along dimension 0, so time grows and the batch is a quarter.'


class Permute(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.dims = dims

    def forward(self, x):
        return x.permute(*self.dims)


class Block(nn.Module):
    def __init__(self, in_channels, out_channels, kernel, stride=1):
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, stride, padding=kernel // 2)
        self.bn = nn.BatchNorm1d(out_channels)

    def forward(self, x):
        return F.silu(self.bn(self.conv(x)))


class Model(nn.Module):
    def __init__(self, alphabet='NACGT', features=32):
        super().__init__()
        self.alphabet = alphabet
        self.encoder = nn.Sequential(Block(1, 16, 9), Block(16, features, 9, stride=3), Block(features, features, 5))
        self.decoder = nn.Sequential(nn.Conv1d(features, len(alphabet), 1), Permute([2, 0, 1]), nn.LogSoftmax(dim=-1))

    def forward(self, x):
        return self.decoder(self.encoder(x))


class DataParallel(nn.Module):
    def __init__(self, module, devices=4):
        super().__init__()
        self.module = module
        self.devices = devices

    def forward(self, x):
        replicas = x.chunk(self.devices, dim=0)
        outputs = [self.module(part) for part in replicas]
        return torch.cat(outputs, dim=0)


def ctc_label_smoothing_loss(log_probs, targets, lengths, weights=None):
    T, N, C = log_probs.shape
    weights = weights if weights is not None else torch.cat([torch.tensor([0.4]), (0.1 / (C - 1)) * torch.ones(C - 1)])
    log_probs_lengths = torch.full(size=(N,), fill_value=T, dtype=torch.int64)
    loss = F.ctc_loss(log_probs.to(torch.float32), targets, log_probs_lengths, lengths, reduction='mean')
    label_smoothing_loss = -((log_probs * weights).mean())
    return loss + label_smoothing_loss


def build():
    return DataParallel(Model())


def step(model):
    chunks = torch.randn(16, 1, 120)
    lengths = torch.randint(6, 11, (16,))
    targets = torch.randint(1, 5, (16, 10))
    scores = model(chunks)
    return ctc_label_smoothing_loss(scores, targets, lengths)


# the scores are (160, 4, 5) instead of (40, 16, 5)
TRUTH = dict(raises='RuntimeError', at='loss:ctc_loss', culprits=['function:cat', 'function:permute', 'module.decoder.1'], dim=1, got=4, wanted=16,
             hint_any=['dim=1', 'gather', 'batch', 'cat', 'permute'])
MENDED = [('torch.cat(outputs, dim=0)', 'torch.cat(outputs, dim=1)')]
