import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

SOURCE = 'https://github.com/SeanNaren/deepspeech.pytorch/pull/603'
CATEGORY = 'correct'
DESCRIPTION = 'DeepSpeech: frequencies folded into channels, (T,N,C) log probabilities for CTC, lengths halved by the convolutions; the batch equals the number of frames left (8).'


class SequenceWise(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        t, n = x.size(0), x.size(1)
        x = x.view(t * n, -1)
        return self.module(x).view(t, n, -1)


class MaskConv(nn.Module):
    def __init__(self, seq_module):
        super().__init__()
        self.seq_module = seq_module

    def forward(self, x, lengths):
        for module in self.seq_module:
            x = module(x)
            mask = torch.arange(x.size(3))[None, None, None, :] >= lengths[:, None, None, None]
            x = x.masked_fill(mask, 0)
        return x, lengths


class BatchRNN(nn.Module):
    def __init__(self, input_size, hidden_size, batch_norm=True):
        super().__init__()
        self.hidden_size = hidden_size
        self.batch_norm = SequenceWise(nn.BatchNorm1d(input_size)) if batch_norm else None
        self.rnn = nn.GRU(input_size, hidden_size, bidirectional=True)

    def forward(self, x, output_lengths):
        if self.batch_norm is not None:
            x = self.batch_norm(x)
        x = pack_padded_sequence(x, output_lengths, enforce_sorted=False)
        x, _ = pad_packed_sequence(self.rnn(x)[0])
        return x.view(x.size(0), x.size(1), 2, -1).sum(2).view(x.size(0), x.size(1), -1)


class DeepSpeech(nn.Module):
    def __init__(self, labels=16, n_freq=20, hidden=24, layers=2):
        super().__init__()
        self.conv = MaskConv(nn.Sequential(
            nn.Conv2d(1, 4, kernel_size=(5, 5), stride=(2, 2), padding=(2, 2)), nn.BatchNorm2d(4), nn.Hardtanh(0, 20),
            nn.Conv2d(4, 4, kernel_size=(5, 5), stride=(2, 1), padding=(2, 2)), nn.BatchNorm2d(4), nn.Hardtanh(0, 20)))
        self.rnns = nn.ModuleList([BatchRNN(4 * (n_freq // 4) if i == 0 else hidden, hidden, i > 0) for i in range(layers)])
        self.fc = nn.Sequential(SequenceWise(nn.Sequential(nn.BatchNorm1d(hidden), nn.Linear(hidden, labels, bias=False))))

    def get_seq_lens(self, lengths):
        return torch.div(lengths + 1, 2, rounding_mode='floor')

    def forward(self, x, lengths):
        output_lengths = self.get_seq_lens(lengths)
        x, _ = self.conv(x, output_lengths)
        n, c, f, t = x.shape
        x = x.view(n, c * f, t)
        x = x.transpose(1, 2).transpose(0, 1).contiguous()
        for rnn in self.rnns:
            x = rnn(x, output_lengths)
        return self.fc(x).transpose(0, 1), output_lengths


def collate(batch):
    spectrograms = pad_sequence([s.t() for s, _ in batch], batch_first=True)
    inputs = spectrograms.transpose(1, 2).unsqueeze(1)
    lengths = torch.tensor([s.size(1) for s, _ in batch])
    targets = torch.cat([t for _, t in batch])
    return inputs, targets, lengths, torch.tensor([len(t) for _, t in batch])


def build():
    return DeepSpeech()


def step(model):
    frames, words = [16, 13, 9, 16, 11, 7, 14, 10], [3, 2, 1, 4, 2, 1, 3, 2]
    batch = [(torch.randn(20, f), torch.randint(1, 16, (w,))) for f, w in zip(frames, words)]
    inputs, targets, lengths, target_sizes = collate(batch)
    out, output_sizes = model(inputs, lengths)
    out = out.transpose(0, 1).log_softmax(-1)
    criterion = nn.CTCLoss(blank=0, reduction='sum', zero_infinity=True)
    return criterion(out.float(), targets, output_sizes, target_sizes) / out.size(1)


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
