import torch
import torch.nn as nn
from torch.utils.data import Dataset

SOURCE = 'https://duoke360.com/post/34724 (Chinese copy of a Stack Overflow question: sizes must match except in dimension 0, got 1219 and 440 in dimension 1)'
CATEGORY = 'layer'
DESCRIPTION = 'LSTM over audio features of sentences: the feature matrices of a batch have their own lengths and are put together without padding. 122 and 44 frames here.'


class Utterances(Dataset):
    def __init__(self, n_mfcc=13):
        g = torch.Generator().manual_seed(21)
        self.lengths = [122, 44, 87, 60, 122, 95]
        self.features = [torch.randn(n, n_mfcc, generator=g) for n in self.lengths]
        self.emotion = torch.randint(0, 4, (len(self.lengths),), generator=g)

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, i):
        return self.features[i], self.emotion[i]


def cmvn(x):
    return (x - x.mean(0, keepdim=True)) / (x.std(0, keepdim=True) + 1e-5)


class EmotionLSTM(nn.Module):
    def __init__(self, n_mfcc=13, hidden=24, classes=4):
        super().__init__()
        self.lstm = nn.LSTM(n_mfcc, hidden, num_layers=2, batch_first=True)
        self.out = nn.Linear(hidden, classes)

    def forward(self, batch):
        lengths = torch.tensor([len(x) for x in batch])
        x = torch.cat([cmvn(x).unsqueeze(0) for x in batch], dim=0)
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return self.out(h[-1])


def collate(samples):
    features, labels = zip(*samples)
    return list(features), torch.stack(labels)


def build():
    torch.manual_seed(0)
    return EmotionLSTM()


def step(model):
    data = Utterances()
    features, labels = collate([data[i] for i in range(len(data))])
    scores = model(features)
    return nn.functional.cross_entropy(scores, labels)


TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['function:cat', 'input'], dim=1, got=44, wanted=122,
             hint_any=['pad', 'length', 'pad_sequence'])
MENDED = [('torch.cat([cmvn(x).unsqueeze(0) for x in batch], dim=0)',
           'nn.utils.rnn.pad_sequence([cmvn(x) for x in batch], batch_first=True)')]
