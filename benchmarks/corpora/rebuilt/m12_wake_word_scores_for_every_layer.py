import torch
import torch.nn as nn

SOURCE = 'https://coderoad.ru/71565894 (translated from Stack Overflow: binary classification with an LSTM and a linear layer)'
CATEGORY = 'loss'
DESCRIPTION = 'Wake word detector: the classifier is put on hn, the final states of all layers and directions, (4,32,1) scores for (32,1) labels.'


class MFCC(nn.Module):
    def __init__(self, n_fft=200, hop=100, mels=26, n_mfcc=13):
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer('window', torch.hann_window(n_fft))
        self.register_buffer('mel', torch.rand(mels, n_fft // 2 + 1) / n_fft)
        k = torch.arange(mels).float()
        self.register_buffer('dct', torch.cos(torch.pi / mels * (k + 0.5)[None] * torch.arange(n_mfcc)[:, None]))

    def forward(self, wave):
        spec = torch.stft(wave, self.n_fft, self.hop, window=self.window, return_complex=True).abs().pow(2)
        return torch.matmul(self.dct, torch.log(torch.matmul(self.mel, spec) + 1e-6))


class SpecAugment(nn.Module):
    def forward(self, x):
        if self.training:
            start = int(torch.randint(0, x.size(-1) - 3, (1,)))
            x = x.clone()
            x[..., start:start + 3] = 0
        return x


class LSTMWakeWord(nn.Module):
    def __init__(self, input_size, hidden_size, num_layers, dropout, bidirectional, num_of_classes):
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.directions = 2 if bidirectional else 1
        self.mfcc, self.augment = MFCC(n_mfcc=input_size), SpecAugment()
        self.layernorm = nn.LayerNorm(input_size)
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, dropout=dropout, bidirectional=bidirectional, batch_first=True)
        self.classifier = nn.Linear(hidden_size, num_of_classes)

    def _init_hidden(self, batch_size):
        n, d, hs = self.num_layers, self.directions, self.hidden_size
        return torch.zeros(n * d, batch_size, hs), torch.zeros(n * d, batch_size, hs)

    def forward(self, wave):
        x = self.augment(self.mfcc(wave)).transpose(1, 2)
        x = self.layernorm(x)
        hidden = self._init_hidden(x.size(0))
        out, (hn, cn) = self.lstm(x, hidden)
        return self.classifier(hn)


def build():
    return LSTMWakeWord(input_size=13, hidden_size=32, num_layers=2, dropout=0.1, bidirectional=True, num_of_classes=1)


def step(model):
    wave = torch.randn(32, 4000) * 0.1
    label = (torch.rand(32) > 0.7).float()
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))
    pred = model(wave)
    return criterion(pred, label.unsqueeze(1))


# real fix: the state of the last layer only: self.classifier(hn[-1]) (or both directions of it)
# offending tensor: pred (4, 32, 1), target (32, 1)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['lstm', 'classifier', ''], dim=0, got=4, wanted=None,
             hint_any=['hn', 'layer', 'direction', '[-1]', 'hidden', 'state'])
MENDED = [('return self.classifier(hn)', 'return self.classifier(hn[-1])')]
