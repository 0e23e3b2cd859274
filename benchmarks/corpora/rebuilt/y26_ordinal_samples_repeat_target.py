import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Li-Wanhua/POEs/issues/4'
CATEGORY = 'correct'
DESCRIPTION = 'Probabilistic ordinal embeddings: logits (samples, batch, classes) flattened, target.repeat(samples); the samples are the first dimension, so repeat and not repeat_interleave is right.'


class VGGish(nn.Module):
    def __init__(self, num_output=5, dim=24, max_t=6):
        super().__init__()
        self.max_t = max_t
        self.features = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.emd = nn.Sequential(nn.Linear(64, dim), nn.ReLU())
        self.var = nn.Sequential(nn.Linear(64, dim), nn.BatchNorm1d(dim, eps=0.001, affine=False))
        self.final = nn.Linear(dim, num_output)

    def forward(self, x, use_sto=True):
        x = self.features(x).flatten(1)
        emb, log_var = self.emd(x), self.var(x)
        sqrt_var = torch.exp(log_var * 0.5)
        if use_sto:
            rep_emb = emb[None].expand(self.max_t, *emb.shape)
            rep_sqrt_var = sqrt_var[None].expand(self.max_t, *sqrt_var.shape)
            logit = self.final(rep_emb + rep_sqrt_var * torch.randn_like(rep_emb))
        else:
            logit = self.final(emb)
        return logit, emb, log_var


class ProbOrdiLoss(nn.Module):
    def __init__(self, alpha=1e-3, beta=1e-2, margin=1.0):
        super().__init__()
        self.alpha, self.beta, self.margin = alpha, beta, margin

    def forward(self, logit, emb, log_var, target):
        sample_size, batch_size, num_class = logit.shape
        ce = F.cross_entropy(logit.view(-1, num_class), target.repeat(sample_size))
        kl = 0.5 * (log_var.exp() + emb ** 2 - 1 - log_var).sum(dim=-1).mean()
        mean_dist = (emb[:, None] - emb[None]).pow(2).sum(-1)
        std = torch.exp(0.5 * log_var)
        w2 = mean_dist + (std[:, None] - std[None]).pow(2).sum(-1)
        label_dist = (target[:, None] - target[None]).abs()
        closer = label_dist[:, :, None] < label_dist[:, None, :]
        triplet = F.relu(w2[:, :, None] + self.margin - w2[:, None, :])
        return ce + self.alpha * kl + self.beta * triplet[closer].mean()


def build():
    return VGGish()


def step(model):
    images, target = torch.rand(6, 3, 32, 32), torch.tensor([0, 1, 2, 3, 4, 2])
    return ProbOrdiLoss()(*model(images), target)


TRUTH = dict(raises=None, at=None, culprits=[])
