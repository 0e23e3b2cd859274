import torch
import torch.nn as nn

SOURCE = 'https://whosebug.com/question/6539086/How-to-compute-Cross-Entropy-Loss-for-sequences'
CATEGORY = 'loss'
DESCRIPTION = 'Sequence continuation: the network returns batch x length x classes and the loss gets it as it is, with targets of batch x length.'


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=64):
        super().__init__()
        pos = torch.arange(max_len).unsqueeze(1) / 10000 ** (torch.arange(0, d_model, 2) / d_model)
        pe = torch.zeros(max_len, d_model)
        pe[:, 0::2], pe[:, 1::2] = torch.sin(pos), torch.cos(pos)
        self.register_buffer('pe', pe)

    def forward(self, x):
        return x + self.pe[:x.size(1)]


class NextStep(nn.Module):
    def __init__(self, numb_classes=16, d_model=32, hidden=40):
        super().__init__()
        self.embed = nn.Embedding(numb_classes, d_model)
        self.pos = PositionalEncoding(d_model)
        self.rnn = nn.GRU(d_model, hidden, num_layers=2, batch_first=True)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(hidden, numb_classes)

    def forward(self, seq):
        h, _ = self.rnn(self.pos(self.embed(seq)))
        return self.out(self.drop(h))


def make_sequences(n, length, numb_classes):
    start = torch.randint(0, numb_classes, (n, 1))
    stride = torch.randint(1, 4, (n, 1))
    return (start + stride * torch.arange(length)) % numb_classes


def train_batch(model, data, criterion):
    inputs, targets = data[:, :-1], data[:, 1:]
    prediction = model(inputs)
    return criterion(prediction, targets)


def build():
    torch.manual_seed(0)
    return NextStep()


def step(model):
    data = make_sequences(16, 13, 16)
    return train_batch(model, data, nn.CrossEntropyLoss())


# (16, 12, 16): the loss takes dim 1 as classes; answer: prediction.permute(0, 2, 1)
TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['out'], dim=1, got=12, wanted=16,
             hint_any=['permute', 'transpose', 'class', 'reshape', 'flatten'])
MENDED = [('criterion(prediction, targets)', 'criterion(prediction.permute(0, 2, 1), targets)')]
