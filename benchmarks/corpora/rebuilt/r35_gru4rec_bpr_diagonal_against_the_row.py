import torch
import torch.nn as nn

SOURCE = 'https://github.com/hidasib/GRU4Rec/issues/33'
CATEGORY = 'correct'
DESCRIPTION = 'GRU4Rec: scores (B, B+S) against the targets of the whole mini-batch; the diagonal as a column minus the matrix is the in-batch BPR.'


class GRUCell(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.cell = nn.GRUCell(input_size, hidden_size)
        self.drop = nn.Dropout(0.1)

    def forward(self, x, h, reset):
        h = h * (1 - reset)[:, None]
        h = self.cell(x, h)
        return self.drop(h), h


class GRU4RecModel(nn.Module):
    def __init__(self, n_items, layers=(32,), embedding=32, final_act='linear'):
        super().__init__()
        self.Wy = nn.Embedding(n_items, layers[-1])
        self.By = nn.Embedding(n_items, 1)
        self.E = nn.Embedding(n_items, embedding)
        sizes = [embedding, *layers]
        self.G = nn.ModuleList(GRUCell(a, b) for a, b in zip(sizes[:-1], sizes[1:]))
        nn.init.zeros_(self.By.weight)

    def embed(self, X):
        return self.E(X)

    def hidden_step(self, x, H, reset):
        new = []
        for i, layer in enumerate(self.G):
            x, h = layer(x, H[i], reset)
            new.append(h)
        return x, new

    def score_items(self, x, Y):
        O, B = self.Wy(Y), self.By(Y)
        return torch.mm(x, O.T) + B.T

    def forward(self, X, H, Y, reset):
        x, H = self.hidden_step(self.embed(X), H, reset)
        return self.score_items(x, Y), H


class BPR:
    def __call__(self, R, Y, M):
        target_scores = torch.diag(R).reshape(M, 1)
        return (-torch.log(torch.sigmoid(target_scores - R) + 1e-24)).mean()


class SessionDataIterator:
    def __init__(self, n_items, batch_size, n_sample):
        self.n_items, self.batch_size, self.n_sample = n_items, batch_size, n_sample
        self.sessions = [torch.randint(0, n_items, (n,)) for n in torch.randint(3, 8, (batch_size * 4,)).tolist()]

    def __iter__(self):
        active, following = list(range(self.batch_size)), self.batch_size
        position = [0] * self.batch_size
        reset = torch.ones(self.batch_size)
        while True:
            in_idx = torch.stack([self.sessions[s][p] for s, p in zip(active, position)])
            out_idx = torch.stack([self.sessions[s][p + 1] for s, p in zip(active, position)])
            sample = torch.randint(0, self.n_items, (self.n_sample,))
            yield in_idx, torch.cat([out_idx, sample]), reset
            reset = torch.zeros(self.batch_size)
            for i, s in enumerate(active):
                position[i] += 1
                if position[i] + 1 == len(self.sessions[s]):
                    if following == len(self.sessions):
                        return
                    active[i], position[i], reset[i] = following, 0, 1.
                    following += 1


def build():
    return GRU4RecModel(n_items=100)


def step(model):
    batch_size, loss_function, losses = 12, BPR(), []
    H = [torch.zeros(batch_size, 32)]
    for t, (in_idx, out_idx, reset) in enumerate(SessionDataIterator(100, batch_size, n_sample=20)):
        H = [h.detach() for h in H]
        R, H = model(in_idx, H, out_idx, reset)
        losses.append(loss_function(R, out_idx, batch_size))
        if t == 5:
            break
    return torch.stack(losses).mean()


TRUTH = dict(raises=None, at=None, culprits=[])
