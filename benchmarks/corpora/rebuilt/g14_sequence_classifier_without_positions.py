import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'Stack Overflow, "How to use PyTorch\'s nn.TransformerEncoder for sequence classification" (copy: https://qa.1r1g.com/sf/ask/4066440311)'
CATEGORY = 'silent'
DESCRIPTION = 'nn.TransformerEncoder in the place of an LSTM for four classes reaches 25 %: the embeddings go into it without any position, it cannot tell one order from another.'


class SequenceClassifier(nn.Module):
    def __init__(self, vocab=30, dim=16, heads=2, layers=2, classes=4, dropout=0.1):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, dim)
        layer = nn.TransformerEncoderLayer(dim, heads, dim_feedforward=32, dropout=dropout)
        self.transformer = nn.TransformerEncoder(layer, layers)
        self.dropout = nn.Dropout(dropout)
        self.fc1 = nn.Linear(dim, dim)
        self.fc2 = nn.Linear(dim, classes)

    def forward(self, x_in, x_lengths=None, apply_softmax=False):
        x_in = self.embeddings(x_in)
        out = self.transformer(x_in)
        out = out[-1, :, :]
        z = self.dropout(out)
        z = self.fc1(z)
        z = self.dropout(z)
        y_pred = self.fc2(z)
        if apply_softmax:
            y_pred = F.softmax(y_pred, dim=1)
        return y_pred


def build():
    return SequenceClassifier()


def step(model):
    x = torch.randint(0, 30, (16, 16))
    y = torch.randint(0, 4, (16,))
    return F.cross_entropy(model(x), y)


# the answer: add positional encodings before the encoder
TRUTH = dict(raises=None, at='module:transformer', culprits=['transformer', 'embeddings', 'transformer.layers.0', 'transformer.layers.0.self_attn'],
             dim=None, got=None, wanted=None, hint_any=['position', 'order'])
MENDED = [('x_in = self.embeddings(x_in)\n', 'x_in = self.embeddings(x_in) + sinusoids(x_in.size(0), self.embeddings.embedding_dim)\n'),
          ('def build():', """def sinusoids(steps, dim):
    t = torch.arange(steps).unsqueeze(1)
    div = torch.exp(torch.arange(0, dim, 2) * (-9.21 / dim))
    return torch.stack([torch.sin(t * div), torch.cos(t * div)], 2).view(steps, 1, dim)


def build():""")]
