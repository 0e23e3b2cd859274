import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, LENGTH, WORDS, EMBED, HIDDEN, TAGS = 4, 9, 40, 14, 18, 7


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, EMBED, padding_idx=0)
        self.lstm = nn.LSTM(EMBED, HIDDEN, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.1)
        self.hidden2tag = nn.Linear(HIDDEN * 2, TAGS)

    def forward(self, words):
        embedded = self.dropout(self.embedding(words))
        out, _ = self.lstm(embedded)
        return self.hidden2tag(out)


def build():
    return Tagger()


def step(model):
    words = torch.randint(1, WORDS, (BATCH, LENGTH))
    tags = torch.randint(0, TAGS, (BATCH, LENGTH))
    scores = model(words)
    return F.cross_entropy(scores.permute(0, 2, 1), tags)


EQUAL = dict(BATCH=8, LENGTH=8, WORDS=8, EMBED=8, HIDDEN=8, TAGS=8)
