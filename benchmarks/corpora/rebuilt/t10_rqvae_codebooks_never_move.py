import torch
import torch.nn as nn
import torch.nn.functional as F
from typing import NamedTuple

SOURCE = 'https://github.com/EdoardoBotta/RQ-VAE-Recommender/pull/26'
CATEGORY = 'silent'
DESCRIPTION = 'RQ-VAE semantic ids for a generative recommender, straight-through forward mode.'


class QuantizeOutput(NamedTuple):
    embeddings: torch.Tensor
    ids: torch.Tensor


class Quantize(nn.Module):
    def __init__(self, embed_dim, n_embed):
        super().__init__()
        self.embedding = nn.Embedding(n_embed, embed_dim)
        nn.init.uniform_(self.embedding.weight)

    def forward(self, x):
        codebook = self.embedding.weight
        dist = (x ** 2).sum(1, keepdim=True) + (codebook.T ** 2).sum(0, keepdim=True) - 2 * x @ codebook.T
        ids = dist.detach().min(dim=1).indices
        emb = self.embedding(ids)
        emb_out = x + (emb - x).detach() if self.training else emb
        return QuantizeOutput(embeddings=emb_out, ids=ids)


class MLP(nn.Module):
    def __init__(self, input_dim, hidden_dims, out_dim):
        super().__init__()
        dims = [input_dim] + hidden_dims + [out_dim]
        self.mlp = nn.Sequential()
        for i, (a, b) in enumerate(zip(dims[:-1], dims[1:])):
            self.mlp.append(nn.Linear(a, b, bias=False))
            if i != len(dims) - 2:
                self.mlp.append(nn.SiLU())

    def forward(self, x):
        return self.mlp(x)


class RqVaeLoss(nn.Module):
    def __init__(self, commitment_weight):
        super().__init__()
        self.commitment_weight = commitment_weight

    def forward(self, query, value):
        emb_loss = ((query.detach() - value) ** 2).sum(dim=[-1, -2])
        query_loss = ((query - value.detach()) ** 2).sum(dim=[-1, -2])
        return emb_loss + self.commitment_weight * query_loss


class RqVae(nn.Module):
    def __init__(self, input_dim=24, embed_dim=8, hidden_dims=(16,), codebook_size=8, n_layers=3):
        super().__init__()
        self.layers = nn.ModuleList([Quantize(embed_dim, codebook_size) for _ in range(n_layers)])
        self.encoder = MLP(input_dim, list(hidden_dims), embed_dim)
        self.decoder = MLP(embed_dim, list(hidden_dims)[::-1], input_dim)
        self.rqvae_loss = RqVaeLoss(0.25)

    def get_semantic_ids(self, x):
        res = self.encoder(x)
        embs, residuals, sem_ids = [], [], []
        for layer in self.layers:
            residuals.append(res)
            quantized = layer(res)
            emb, ids = quantized.embeddings, quantized.ids
            res = res - emb.detach()
            embs.append(emb)
            sem_ids.append(ids)
        return torch.stack(embs, -1), torch.stack(residuals, -1), torch.stack(sem_ids, -1)

    def forward(self, x):
        embs, residuals, _ = self.get_semantic_ids(x)
        x_hat = self.decoder(embs.sum(axis=-1))
        reconstruction_loss = ((F.normalize(x_hat, dim=-1) - x) ** 2).sum(axis=-1)
        return (reconstruction_loss + self.rqvae_loss(residuals, embs)).mean()


def build():
    return RqVae()


def step(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-2, weight_decay=0.0)
    items = F.normalize(torch.randn(32, 24), dim=-1)
    model.train()
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(items)
        loss.backward()
        optimizer.step()
    return loss.detach()


# only the straight-through value is returned, so the codebook term of the loss pulls x instead of the codebook:
# no codebook has a gradient; fix: return the looked-up embedding as well and give that one to the loss
TRUTH = dict(raises=None, at='module:layers.0',
             culprits=['layers.0', 'layers.1', 'layers.2', 'layers.0.embedding', 'layers.1.embedding', 'layers.2.embedding',
                       'rqvae_loss', 'function:detach'],
             dim=None, got=None, wanted=None, hint_any=['gradient', 'detach', 'codebook', 'straight'])
MENDED = [('    ids: torch.Tensor', '    ids: torch.Tensor\n    raw: torch.Tensor'),
          ('embeddings=emb_out, ids=ids)', 'embeddings=emb_out, ids=ids, raw=emb)'),
          ('embs, residuals, sem_ids = [], [], []', 'embs, residuals, sem_ids, raws = [], [], [], []'),
          ('            embs.append(emb)', '            embs.append(emb)\n            raws.append(quantized.raw)'),
          ('torch.stack(sem_ids, -1)', 'torch.stack(raws, -1)'),
          ('embs, residuals, _ = self', 'embs, residuals, raw = self'),
          ('self.rqvae_loss(residuals, embs)', 'self.rqvae_loss(residuals, raw)')]
