import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH, SOURCE, TARGET, EMBED, HIDDEN, WORDS = 5, 9, 7, 12, 20, 30


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, EMBED)
        self.rnn = nn.GRU(EMBED, HIDDEN, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(HIDDEN * 2, HIDDEN)

    def forward(self, src):
        outputs, hidden = self.rnn(self.embedding(src))
        hidden = torch.tanh(self.fc(torch.cat([hidden[0], hidden[1]], dim=1)))
        return outputs, hidden


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.Linear(HIDDEN * 3, HIDDEN)
        self.v = nn.Linear(HIDDEN, 1, bias=False)

    def forward(self, hidden, outputs):
        length = outputs.shape[1]
        hidden = hidden.unsqueeze(1).repeat(1, length, 1)
        energy = torch.tanh(self.attn(torch.cat([hidden, outputs], dim=2)))
        return F.softmax(self.v(energy).squeeze(2), dim=1)


class Decoder(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.attention = attention
        self.embedding = nn.Embedding(WORDS, EMBED)
        self.rnn = nn.GRU(HIDDEN * 2 + EMBED, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, WORDS)

    def forward(self, token, hidden, outputs):
        embedded = self.embedding(token).unsqueeze(1)
        weights = self.attention(hidden, outputs).unsqueeze(1)
        context = torch.bmm(weights, outputs)
        output, hidden = self.rnn(
            torch.cat([embedded, context], dim=2), hidden.unsqueeze(0)
        )
        return self.out(output.squeeze(1)), hidden.squeeze(0)


class Seq2Seq(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder(Attention())

    def forward(self, src, trg):
        outputs, hidden = self.encoder(src)
        logits = []
        for t in range(trg.shape[1] - 1):
            step_logits, hidden = self.decoder(trg[:, t], hidden, outputs)
            logits.append(step_logits)
        return torch.stack(logits, dim=1)


def build():
    return Seq2Seq()


def step(model):
    src = torch.randint(0, WORDS, (BATCH, SOURCE))
    trg = torch.randint(0, WORDS, (BATCH, TARGET))
    output = model(src, trg)
    return F.cross_entropy(output.reshape(-1, WORDS), trg[:, 1:].reshape(-1))


EQUAL = dict(BATCH=8, SOURCE=8, TARGET=8, EMBED=8, HIDDEN=8, WORDS=8)
