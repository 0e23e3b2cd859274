import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/vector-quantize-pytorch/issues/233'
CATEGORY = 'layer'
DESCRIPTION = 'Residual VQ with codebook_dim 8: the list of residuals is begun with the input of width 128, the later ones come after the projection.'


class VectorQuantize(nn.Module):
    def __init__(self, dim, codebook_size, decay=0.8, commitment_weight=1.0):
        super().__init__()
        self.decay, self.commitment_weight = decay, commitment_weight
        self.register_buffer('embed', torch.randn(codebook_size, dim))
        self.register_buffer('cluster_size', torch.ones(codebook_size))
        self.register_buffer('embed_avg', self.embed.clone())

    @torch.no_grad()
    def ema_update(self, flat, indices):
        onehot = F.one_hot(indices, len(self.embed)).type_as(flat)
        self.cluster_size.lerp_(onehot.sum(0), 1 - self.decay)
        self.embed_avg.lerp_(onehot.t() @ flat, 1 - self.decay)
        size = (self.cluster_size + 1e-5) / (self.cluster_size.sum() + 1e-5 * len(self.embed)) * self.cluster_size.sum()
        self.embed.copy_(self.embed_avg / size.unsqueeze(1))

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        indices = torch.cdist(flat, self.embed).argmin(dim=-1)
        quantized = self.embed[indices].view_as(x).clone()
        if self.training:
            self.ema_update(flat.detach(), indices)
        loss = F.mse_loss(quantized, x) * self.commitment_weight
        quantized = x + (quantized - x).detach()
        return quantized, indices.view(x.shape[:-1]), loss


class ResidualVQ(nn.Module):
    def __init__(self, *, dim, num_quantizers, codebook_dim=None, quantize_dropout=False, **kwargs):
        super().__init__()
        codebook_dim = codebook_dim or dim
        requires_projection = codebook_dim != dim
        self.project_in = nn.Linear(dim, codebook_dim) if requires_projection else nn.Identity()
        self.project_out = nn.Linear(codebook_dim, dim) if requires_projection else nn.Identity()
        self.quantize_dropout = quantize_dropout
        self.layers = nn.ModuleList([VectorQuantize(codebook_dim, **kwargs) for _ in range(num_quantizers)])

    def forward(self, x, return_all_residuals=True):
        all_losses, all_indices = [], []
        all_residuals = x.unsqueeze(-2)
        residual = self.project_in(x)
        quantized_out = 0.
        for quantizer in self.layers:
            quantized, indices, loss = quantizer(residual)
            residual = residual - quantized.detach()
            quantized_out = quantized_out + quantized
            all_indices.append(indices)
            all_losses.append(loss)
            if return_all_residuals:
                all_residuals = torch.cat((all_residuals, residual.unsqueeze(-2)), dim=-2)
        quantized_out = self.project_out(quantized_out)
        return quantized_out, torch.stack(all_indices, -1), torch.stack(all_losses), all_residuals


class SoundAutoencoder(nn.Module):
    def __init__(self, dim=128):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(1, 32, 7, 4, 3), nn.ELU(), nn.Conv1d(32, dim, 7, 4, 3))
        self.vq = ResidualVQ(dim=dim, num_quantizers=4, codebook_dim=8, codebook_size=64)
        self.decoder = nn.Sequential(nn.ConvTranspose1d(dim, 32, 8, 4, 2), nn.ELU(), nn.ConvTranspose1d(32, 1, 8, 4, 2))

    def forward(self, wave):
        z = self.encoder(wave).transpose(1, 2)
        z, indices, commit, residuals = self.vq(z)
        energy = residuals.pow(2).mean((0, 1, 3))
        return self.decoder(z.transpose(1, 2)), commit.sum(), energy, indices


def build():
    return SoundAutoencoder()


def step(model):
    wave = torch.randn(2, 1, 1024)
    recon, commit, energy, _ = model(wave)
    return F.l1_loss(recon, wave) + 0.25 * commit + 1e-3 * energy[-1]


# real fix: begin the list after project_in: all_residuals = residual.unsqueeze(-2)
# offending tensor: all_residuals (2, 64, 1, 128), the residual has width 8
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['function:unsqueeze', 'vq', 'vq.project_in'], dim=3, got=128, wanted=8,
             hint_any=['project', '128', 'unsqueeze'])
MENDED = [('        all_residuals = x.unsqueeze(-2)\n        residual = self.project_in(x)\n', '        residual = self.project_in(x)\n        all_residuals = residual.unsqueeze(-2)\n')]
