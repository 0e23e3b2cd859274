import torch
import torch.nn as nn

SOURCE = 'https://github.com/amzn/ss-aga-kgc/issues/8 ([200, 1] against [200]; how the two came to differ is reconstructed)'
CATEGORY = 'loss'
DESCRIPTION = 'Knowledge graph completion: the energy of the true tail stays (batch, 1), those of the corrupted tails are averaged to (batch,); MarginRankingLoss wants the same number of dimensions.'


class RelationalEncoder(nn.Module):
    def __init__(self, num_entities, dim):
        super().__init__()
        self.entity = nn.Embedding(num_entities, dim)
        self.transform = nn.Linear(dim, dim)
        self.attention = nn.Linear(2 * dim, 1)

    def forward(self, ids, neighbours):
        x = self.entity(ids)
        nb = self.transform(self.entity(neighbours))
        score = self.attention(torch.cat([x.unsqueeze(-2).expand_as(nb), nb], dim=-1))
        return x + (score.softmax(dim=-2) * nb).sum(dim=-2)


class SSAGA(nn.Module):
    def __init__(self, num_entities=60, num_relations=7, dim=32, margin=0.3):
        super().__init__()
        self.encoder = RelationalEncoder(num_entities, dim)
        self.relation = nn.Embedding(num_relations, dim)
        self.criterion_KG = nn.MarginRankingLoss(margin=margin, reduction='mean')

    def define_loss(self, h, r, t):
        return torch.norm(h + r - t, p=2, dim=-1)

    def forward_kg(self, h, r, t, t_neg, nb_h, nb_t, nb_neg):
        h = self.encoder(h, nb_h).unsqueeze(1)
        rel = self.relation(r).unsqueeze(1)
        t = self.encoder(t, nb_t).unsqueeze(1)
        t_neg = self.encoder(t_neg, nb_neg)
        pos_loss = self.define_loss(h, rel, t)
        neg_loss = self.define_loss(h, rel, t_neg).mean(dim=1)
        target = torch.tensor([-1.0])
        return self.criterion_KG(pos_loss, neg_loss, target)


def build():
    return SSAGA()


def step(model):
    batch, negatives, k = 20, 4, 5
    draw = lambda *size: torch.randint(0, 60, size)
    return model.forward_kg(draw(batch), torch.randint(0, 7, (batch,)), draw(batch), draw(batch, negatives),
                            draw(batch, k), draw(batch, k), draw(batch, negatives, k))


# real fix: one energy of shape (batch,) for the true tail too, pos_loss.squeeze(1)
TRUTH = dict(raises='RuntimeError', at='loss:margin_ranking_loss', culprits=['function:mean', 'function:norm', 'function:unsqueeze'],
             dim=None, got=None, wanted=None, hint_any=['squeeze', 'keepdim', 'dimension'])
MENDED = [('self.define_loss(h, rel, t)\n', 'self.define_loss(h, rel, t).squeeze(1)\n')]
