import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/cvg/glue-factory/issues/89'
CATEGORY = 'correct'
DESCRIPTION = 'LightGlue confidences: token is Linear + Sigmoid and the criterion is BCEWithLogitsLoss, but the loss calls token[0], the Linear, on detached descriptors.'


class TokenConfidence(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.token = nn.Sequential(nn.Linear(dim, 1), nn.Sigmoid())
        self.loss_fn = nn.BCEWithLogitsLoss(reduction='none')

    def forward(self, desc0, desc1):
        return self.token(desc0.detach()).squeeze(-1), self.token(desc1.detach()).squeeze(-1)

    def loss(self, desc0, desc1, la_now, la_final):
        logit0 = self.token[0](desc0.detach()).squeeze(-1)
        logit1 = self.token[0](desc1.detach()).squeeze(-1)
        la_now, la_final = la_now.detach(), la_final.detach()
        correct0 = la_final[:, :-1, :].max(-1).indices == la_now[:, :-1, :].max(-1).indices
        correct1 = la_final[:, :, :-1].max(-2).indices == la_now[:, :, :-1].max(-2).indices
        return (self.loss_fn(logit0, correct0.float()).mean(-1) + self.loss_fn(logit1, correct1.float()).mean(-1)) / 2.0


class CrossBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.to_qk, self.to_v = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.ffn = nn.Sequential(nn.Linear(2 * dim, 2 * dim), nn.LayerNorm(2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x0, x1):
        qk0, qk1, v0, v1 = self.to_qk(x0), self.to_qk(x1), self.to_v(x0), self.to_v(x1)
        sim = torch.einsum('bid,bjd->bij', qk0, qk1) / qk0.shape[-1] ** 0.5
        m0 = torch.einsum('bij,bjd->bid', F.softmax(sim, dim=-1), v1)
        m1 = torch.einsum('bji,bjd->bid', F.softmax(sim.transpose(-2, -1), dim=-1).transpose(-2, -1), v0)
        return x0 + self.ffn(torch.cat([x0, m0], -1)), x1 + self.ffn(torch.cat([x1, m1], -1))


def sigmoid_log_double_softmax(sim, z0, z1):
    b, m, n = sim.shape
    certainties = F.logsigmoid(z0) + F.logsigmoid(z1).transpose(1, 2)
    scores = sim.new_zeros(b, m + 1, n + 1)
    scores[:, :m, :n] = F.log_softmax(sim, 2) + F.log_softmax(sim.transpose(-1, -2), 2).transpose(-1, -2) + certainties
    scores[:, :-1, -1] = F.logsigmoid(-z0.squeeze(-1))
    scores[:, -1, :-1] = F.logsigmoid(-z1.squeeze(-1))
    return scores


class MatchAssignment(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim
        self.matchability, self.final_proj = nn.Linear(dim, 1), nn.Linear(dim, dim)

    def forward(self, desc0, desc1):
        mdesc0, mdesc1 = self.final_proj(desc0) / self.dim ** 0.25, self.final_proj(desc1) / self.dim ** 0.25
        sim = torch.einsum('bmd,bnd->bmn', mdesc0, mdesc1)
        return sigmoid_log_double_softmax(sim, self.matchability(desc0), self.matchability(desc1))


class LightGlue(nn.Module):
    def __init__(self, input_dim=24, dim=16, n_layers=3):
        super().__init__()
        self.input_proj = nn.Linear(input_dim, dim)
        self.transformers = nn.ModuleList(CrossBlock(dim) for _ in range(n_layers))
        self.log_assignment = nn.ModuleList(MatchAssignment(dim) for _ in range(n_layers))
        self.token_confidence = nn.ModuleList(TokenConfidence(dim) for _ in range(n_layers - 1))

    def forward(self, data):
        desc0, desc1 = self.input_proj(data['descriptors0']), self.input_proj(data['descriptors1'])
        all0, all1 = [], []
        for layer in self.transformers:
            desc0, desc1 = layer(desc0, desc1)
            all0.append(desc0)
            all1.append(desc1)
        return all0, all1

    def loss(self, preds, gt):
        all0, all1 = preds
        la_final = self.log_assignment[-1](all0[-1], all1[-1])
        nll, confidence, weights = 0, 0, 0
        for i, (d0, d1) in enumerate(zip(all0, all1)):
            la = self.log_assignment[i](d0, d1)
            w = 0.5 ** (len(all0) - 1 - i)
            pos = (la[:, :-1, :-1] * gt).sum((1, 2)) / gt.sum((1, 2)).clamp(min=1)
            neg = (la[:, :-1, -1] * (1 - gt.sum(2))).sum(1) / (1 - gt.sum(2)).sum(1).clamp(min=1)
            nll, weights = nll - w * (pos + neg) / 2, weights + w
            if i < len(all0) - 1:
                confidence = confidence + self.token_confidence[i].loss(d0, d1, la, la_final) / (len(all0) - 1)
        return nll / weights + confidence


def build():
    return LightGlue()


def step(model):
    b, n = 3, 10
    desc0 = F.normalize(torch.randn(b, n, 24), dim=-1)
    gt = torch.zeros(b, n, n)
    perm = torch.stack([torch.randperm(n) for _ in range(b)])
    gt.scatter_(2, perm.unsqueeze(-1), 1.0)
    gt[:, :3] = 0
    desc1 = F.normalize(torch.einsum('bij,bid->bjd', gt, desc0) + 0.1 * torch.randn(b, n, 24), dim=-1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    loss = model.loss(model(dict(descriptors0=desc0, descriptors1=desc1)), gt).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
