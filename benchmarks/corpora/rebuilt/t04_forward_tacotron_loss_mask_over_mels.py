import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/axelspringer/ForwardTacotron/issues/21'
CATEGORY = 'silent'
DESCRIPTION = 'ForwardTacotron: masked L1 loss on (batch, mels, frames) spectrograms.'


class LengthRegulator(nn.Module):
    def forward(self, x, dur):
        rows = [torch.repeat_interleave(row, d, dim=0) for row, d in zip(x, dur)]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)


class SeriesPredictor(nn.Module):
    def __init__(self, emb, conv_dims=16):
        super().__init__()
        self.conv = nn.Conv1d(emb, conv_dims, 3, padding=1)
        self.rnn = nn.GRU(conv_dims, 8, batch_first=True, bidirectional=True)
        self.lin = nn.Linear(16, 1)

    def forward(self, x):
        x = F.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        return self.lin(self.rnn(x)[0])


class ForwardTacotron(nn.Module):
    def __init__(self, num_chars=30, emb=24, n_mels=16):
        super().__init__()
        self.embedding = nn.Embedding(num_chars, emb)
        self.dur_pred = SeriesPredictor(emb)
        self.lr = LengthRegulator()
        self.lstm = nn.LSTM(emb, 20, batch_first=True, bidirectional=True)
        self.lin = nn.Linear(40, n_mels)
        self.postnet = nn.Conv1d(n_mels, n_mels, 5, padding=2)

    def forward(self, x, mel, dur):
        x = self.embedding(x)
        dur_hat = self.dur_pred(x).squeeze(-1)
        x = self.lr(x, dur)
        x, _ = self.lstm(x)
        x = self.lin(x).transpose(1, 2)
        return self.pad(x, mel.size(2)), self.pad(x + self.postnet(x), mel.size(2)), dur_hat

    def pad(self, x, max_len):
        return F.pad(x[:, :, :max_len], [0, max_len - min(max_len, x.size(2))])


def sequence_mask(lens, max_len):
    ids = torch.arange(0, max_len)
    return (ids.unsqueeze(0) < lens.unsqueeze(1)).float()


class MaskedL1(nn.Module):
    def forward(self, x, target, lens):
        target.requires_grad = False
        max_len = target.size(1)
        mask = sequence_mask(lens, max_len)
        mask = mask.unsqueeze(2).expand_as(x)
        loss = F.l1_loss(x * mask, target * mask, reduction='sum')
        return loss / mask.sum()


def collate():
    dur = torch.randint(2, 6, (5, 11))
    dur[1, 9:] = 0
    dur[3, 8:] = 0
    lens = dur.sum(1)
    mels = torch.full((5, 16, int(lens.max())), -11.5)
    for k, n in enumerate(lens):
        mels[k, :, :n] = torch.randn(16, int(n))
    return torch.randint(1, 30, (5, 11)), mels, dur, lens


def build():
    return ForwardTacotron()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    l1_loss = MaskedL1()
    x, m, dur, lens = collate()
    m1_hat, m2_hat, dur_hat = model(x, m, dur)
    loss = l1_loss(m1_hat, m, lens) + l1_loss(m2_hat, m, lens) + 0.1 * F.l1_loss(dur_hat, dur.float())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


# frames are dimension 2 of (B, mels, frames): the mask over 16 positions is all ones and runs along the mel bins;
# fix: max_len = target.size(2), mask.unsqueeze(1)
TRUTH = dict(raises=None, at='function:expand_as', culprits=['function:unsqueeze', 'function:arange', 'function:expand_as'],
             dim=1, got=16, wanted=None, hint_any=['mask', 'size(2)', 'unsqueeze(1)', 'time', 'frames'])
MENDED = [('target.size(1)', 'target.size(2)'), ('mask.unsqueeze(2)', 'mask.unsqueeze(1)')]
