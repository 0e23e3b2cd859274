import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = ('https://github.com/facebookresearch/denoiser/issues/47 (112543 against 112499 in the validation after a good epoch; that the noisy and the clean file '
          'differ is read from the sizes: the network gives back the length of its input)')
CATEGORY = 'loss'
DESCRIPTION = ('Speech enhancement with Demucs: the training cuts segments from both recordings, the validation takes whole files, and a noisy file is 44 samples '
               'shorter than the clean one.')


class BLSTM(nn.Module):
    def __init__(self, dim, layers=2, bi=False):
        super().__init__()
        self.lstm = nn.LSTM(bidirectional=bi, num_layers=layers, hidden_size=dim, input_size=dim)
        self.linear = nn.Linear(2 * dim, dim) if bi else None

    def forward(self, x, hidden=None):
        x, hidden = self.lstm(x, hidden)
        if self.linear:
            x = self.linear(x)
        return x, hidden


class Demucs(nn.Module):
    def __init__(self, chin=1, chout=1, hidden=6, depth=4, kernel_size=8, stride=4, growth=2, floor=1e-3):
        super().__init__()
        self.depth, self.kernel_size, self.stride, self.floor = depth, kernel_size, stride, floor
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        for index in range(depth):
            self.encoder.append(nn.Sequential(nn.Conv1d(chin, hidden, kernel_size, stride), nn.ReLU(), nn.Conv1d(hidden, hidden * 2, 1), nn.GLU(1)))
            decode = [nn.Conv1d(hidden, 2 * hidden, 1), nn.GLU(1), nn.ConvTranspose1d(hidden, chout, kernel_size, stride)]
            if index > 0:
                decode.append(nn.ReLU())
            self.decoder.insert(0, nn.Sequential(*decode))
            chout, chin, hidden = hidden, hidden, int(growth * hidden)
        self.lstm = BLSTM(chin)

    def valid_length(self, length):
        for _ in range(self.depth):
            length = max(math.ceil((length - self.kernel_size) / self.stride) + 1, 1)
        for _ in range(self.depth):
            length = (length - 1) * self.stride + self.kernel_size
        return int(length)

    def forward(self, mix):
        std = mix.mean(dim=1, keepdim=True).std(dim=-1, keepdim=True)
        x = mix / (self.floor + std)
        length = mix.shape[-1]
        x = F.pad(x, (0, self.valid_length(length) - length))
        skips = []
        for encode in self.encoder:
            x = encode(x)
            skips.append(x)
        x = self.lstm(x.permute(2, 0, 1))[0].permute(1, 2, 0)
        for decode in self.decoder:
            skip = skips.pop(-1)
            x = decode(x + skip[..., :x.shape[-1]])
        return std * x[..., :length]


class Audioset:
    def __init__(self, files, length=None):
        self.files, self.length = files, length

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        out = self.files[index]
        return out[..., :self.length] if self.length else out


class NoisyCleanSet:
    def __init__(self, noisy, clean, length=None):
        self.noisy_set = Audioset(noisy, length)
        self.clean_set = Audioset(clean, length)
        assert len(self.clean_set) == len(self.noisy_set)

    def __getitem__(self, index):
        return self.noisy_set[index], self.clean_set[index]

    def __len__(self):
        return len(self.noisy_set)


class Solver:
    def __init__(self, model, tr_loader, cv_loader):
        self.model, self.tr_loader, self.cv_loader = model, tr_loader, cv_loader
        self.optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)

    def train(self):
        self._run_one_epoch(self.tr_loader)
        with torch.no_grad():
            return self._run_one_epoch(self.cv_loader, cross_valid=True)

    def _run_one_epoch(self, loader, cross_valid=False):
        total_loss = 0
        for noisy, clean in loader:
            estimate = self.model(noisy)
            loss = F.l1_loss(clean, estimate)
            if not cross_valid:
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            total_loss = total_loss + loss.detach()
        return total_loss / len(loader)


def build():
    torch.manual_seed(0)
    return Demucs()


def step(model):
    lengths = (2400, 3211, 2808, 3043)
    clean = [torch.randn(1, n) * 0.1 for n in lengths]
    noisy = [c + torch.randn_like(c) * 0.05 for c in clean]
    noisy[-1] = noisy[-1][..., :-44]
    tr_loader = torch.utils.data.DataLoader(NoisyCleanSet(noisy, clean, length=2000), batch_size=4, shuffle=True)
    cv_loader = torch.utils.data.DataLoader(NoisyCleanSet(noisy, clean), batch_size=1)
    return Solver(model, tr_loader, cv_loader).train()


TRUTH = dict(raises='RuntimeError', at='loss:l1_loss', culprits=['input', 'target'], dim=2, got=2999, wanted=3043, hint_any=['2999', 'length', 'input', 'target'])
MENDED = [('        return self.noisy_set[index], self.clean_set[index]',
           '        noisy, clean = self.noisy_set[index], self.clean_set[index]\n        n = min(noisy.shape[-1], clean.shape[-1])\n        return noisy[..., :n], clean[..., :n]')]
