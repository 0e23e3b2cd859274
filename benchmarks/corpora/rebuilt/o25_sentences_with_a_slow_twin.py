import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/xbdxwyh/mocose/issues/2'
CATEGORY = 'correct'
DESCRIPTION = 'MoCoSE sentence vectors: online branch with a predictor, offline branch that follows slowly, a queue of negatives from earlier batches.'


class SentenceEncoder(nn.Module):
    def __init__(self, vocab=70, dim=24):
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim, padding_idx=0)
        self.dropout = nn.Dropout(0.1)
        self.gru = nn.GRU(dim, dim, batch_first=True)

    def forward(self, ids):
        out, _ = self.gru(self.dropout(self.embedding(ids)))
        mask = ids.ne(0).unsqueeze(-1)
        return (out * mask).sum(dim=1) / mask.sum(dim=1)


def pooler(dim):
    return nn.Sequential(nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.Tanh())


class MoCoSEModel(nn.Module):
    def __init__(self, dim=24, K=32, ema_decay=0.9, tau=0.05):
        super().__init__()
        self.ema_decay, self.tau = ema_decay, tau
        self.online_encoder, self.online_pooler = SentenceEncoder(dim=dim), pooler(dim)
        self.target_encoder = copy.deepcopy(self.online_encoder)
        self.target_pooler = copy.deepcopy(self.online_pooler)
        self.predictor = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))
        self.register_buffer('queue', F.normalize(torch.randn(K, dim), dim=1))

    @torch.no_grad()
    def update(self):
        for online, target in ((self.online_encoder, self.target_encoder), (self.online_pooler, self.target_pooler)):
            for p, q in zip(online.parameters(), target.parameters()):
                q.data.mul_(self.ema_decay).add_(p.data, alpha=1 - self.ema_decay)

    @torch.no_grad()
    def enqueue(self, keys):
        self.queue = torch.cat([keys.detach(), self.queue], dim=0)[:self.queue.size(0)]

    def forward(self, ids):
        q = F.normalize(self.predictor(self.online_pooler(self.online_encoder(ids))), dim=1)
        k = F.normalize(self.target_pooler(self.target_encoder(ids)), dim=1)
        l_batch = q @ k.t()
        l_queue = q @ self.queue.clone().t()
        logits = torch.cat([l_batch, l_queue], dim=1) / self.tau
        labels = torch.arange(q.size(0))
        return F.cross_entropy(logits, labels), k


def freeze(model):
    non_optimizer_list = [model.target_encoder, model.target_pooler]
    for layer in non_optimizer_list:
        for para in layer.parameters():
            para.requires_grad = False


def build():
    model = MoCoSEModel()
    freeze(model)
    return model


def step(model):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    model.train()
    for _ in range(3):
        ids = torch.randint(1, 70, (8, 12))
        ids = ids.masked_fill(torch.arange(12) >= torch.randint(5, 13, (8, 1)), 0)
        loss, keys = model(ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.update()
        model.enqueue(keys)
    return loss.detach()


# The offline branch runs without no_grad or detach, but its parameters do not require gradients and follow by the moving average.
TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
