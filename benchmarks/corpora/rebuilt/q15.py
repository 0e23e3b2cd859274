import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/thunlp/OpenKE/issues/74'
CATEGORY = 'loss'
DESCRIPTION = 'TransE: with neg_rate=3 there are three corrupted triples for each true one; the margin ranking loss gets 50 positive and 150 negative scores.'


class Config:
    def __init__(self):
        self.entTotal, self.relTotal = 80, 12
        self.batch_size, self.negative_ent, self.negative_rel = 50, 3, 0
        self.hidden_size, self.margin, self.p_norm = 20, 1.0, 1
        self.lmbda = 0.01

    @property
    def batch_seq_size(self):
        return self.batch_size * (1 + self.negative_ent + self.negative_rel)

    def sampling(self):
        b = self.batch_size
        h, t, r = torch.randint(0, self.entTotal, (b,)), torch.randint(0, self.entTotal, (b,)), torch.randint(0, self.relTotal, (b,))
        hs, ts, rs = [h], [t], [r]
        for _ in range(self.negative_ent):
            corrupt, side = torch.randint(0, self.entTotal, (b,)), torch.rand(b) < 0.5
            hs.append(torch.where(side, corrupt, h))
            ts.append(torch.where(side, t, corrupt))
            rs.append(r)
        self.batch_h, self.batch_t, self.batch_r = torch.cat(hs), torch.cat(ts), torch.cat(rs)


class TransE(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.ent_embeddings = nn.Embedding(config.entTotal, config.hidden_size)
        self.rel_embeddings = nn.Embedding(config.relTotal, config.hidden_size)
        nn.init.xavier_uniform_(self.ent_embeddings.weight)
        nn.init.xavier_uniform_(self.rel_embeddings.weight)

    def get_positive_score(self, score):
        return score[0:self.config.batch_size]

    def get_negative_score(self, score):
        return score[self.config.batch_size:self.config.batch_seq_size]

    def _calc(self, h, t, r):
        return torch.norm(h + r - t, self.config.p_norm, -1)

    def loss_func(self, p_score, n_score):
        criterion = nn.MarginRankingLoss(self.config.margin)
        y = torch.tensor([-1.0])
        return criterion(p_score, n_score, y)

    def regularize(self, *parts):
        return sum(p.pow(2).mean() for p in parts) / len(parts)

    def forward(self):
        c = self.config
        h = F.normalize(self.ent_embeddings(c.batch_h), 2, -1)
        t = F.normalize(self.ent_embeddings(c.batch_t), 2, -1)
        r = self.rel_embeddings(c.batch_r)
        score = self._calc(h, t, r)
        p_score = self.get_positive_score(score)
        n_score = self.get_negative_score(score)
        return self.loss_func(p_score, n_score) + c.lmbda * self.regularize(h, t, r)


def build():
    return TransE(Config())


def step(model):
    model.config.sampling()
    return model()


# real fix: bring both to (neg_rate, batch): n_score.view(-1, batch_size), which broadcasts with the positives (or their mean)
# offending tensor: n_score (150,), 50 positives
TRUTH = dict(raises='RuntimeError', at='loss:margin_ranking_loss', culprits=['function:getitem', '', 'input'], dim=0, got=150, wanted=50,
             hint_any=['negative', 'view', 'slice', 'getitem', 'reshape', '3'])
MENDED = [('score[self.config.batch_size:self.config.batch_seq_size]', 'score[self.config.batch_size:self.config.batch_seq_size].view(-1, self.config.batch_size).mean(0)')]
