import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own'
CATEGORY = 'correct'
DESCRIPTION = 'Recurrent word model with tied weights and truncated backpropagation; targets are one step ahead, states are carried and detached.'


class TiedLM(nn.Module):
    def __init__(self, vocab=90, d=32):
        super().__init__()
        self.emb = nn.Embedding(vocab, d)
        self.drop = nn.Dropout(0.1)
        self.rnn = nn.LSTM(d, d, num_layers=2, dropout=0.1)
        self.out = nn.Linear(d, vocab)
        self.out.weight = self.emb.weight

    def forward(self, ids, state):
        h, state = self.rnn(self.drop(self.emb(ids)), state)
        return self.out(self.drop(h)), state

    def start(self, n):
        return tuple(torch.zeros(2, n, 32) for _ in range(2))


def columns(stream, n):
    length = len(stream) // n
    return stream[:length * n].view(n, length).t().contiguous()       # (time, batch)


def chunks(data, bptt):
    for i in range(0, len(data) - 1, bptt):
        size = min(bptt, len(data) - 1 - i)
        yield data[i:i + size], data[i + 1:i + 1 + size].reshape(-1)


def build():
    return TiedLM()


def step(model):
    data = columns(torch.randint(0, 90, (8 * 25,)), 8)
    opt = torch.optim.SGD(model.parameters(), lr=0.5)
    model.train()
    state = model.start(8)
    for x, y in chunks(data, 8):
        state = tuple(s.detach() for s in state)
        logits, state = model(x, state)
        loss = F.cross_entropy(logits.view(-1, logits.size(-1)), y)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        opt.step()
    return (loss).detach()


# nothing to report
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
MENDED = []
