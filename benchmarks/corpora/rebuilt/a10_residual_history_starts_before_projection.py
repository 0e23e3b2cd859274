import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/vector-quantize-pytorch/issues/233'
CATEGORY = 'layer'
DESCRIPTION = 'Image tokenizer with residual quantisation: the list of residuals starts with the 128 features before project_in, the following ones have codebook_dim 8.'


class Codebook(nn.Module):
    def __init__(self, size, dim, decay=0.99):
        super().__init__()
        self.decay = decay
        self.register_buffer('embed', F.normalize(torch.randn(size, dim), dim=-1))
        self.register_buffer('usage', torch.zeros(size))

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        dist = torch.cdist(flat.detach(), self.embed)
        ind = dist.argmin(-1)
        if self.training:
            counts = F.one_hot(ind, self.embed.shape[0]).float().sum(0)
            self.usage.mul_(self.decay).add_(counts, alpha=1 - self.decay)
        return self.embed[ind].view_as(x), ind.view(x.shape[:-1])


class VectorQuantize(nn.Module):
    def __init__(self, dim, codebook_size, commitment_weight=1.):
        super().__init__()
        self.codebook = Codebook(codebook_size, dim)
        self.commitment_weight = commitment_weight

    def forward(self, x):
        quantized, indices = self.codebook(x)
        commit = F.mse_loss(x, quantized.detach()) * self.commitment_weight
        return x + (quantized - x).detach(), indices, commit


class ResidualVQ(nn.Module):
    def __init__(self, *, dim, num_quantizers, codebook_size, codebook_dim=None, shared_codebook=False):
        super().__init__()
        codebook_dim = codebook_dim or dim
        requires_projection = codebook_dim != dim
        self.project_in = nn.Linear(dim, codebook_dim) if requires_projection else nn.Identity()
        self.project_out = nn.Linear(codebook_dim, dim) if requires_projection else nn.Identity()
        self.layers = nn.ModuleList(VectorQuantize(codebook_dim, codebook_size) for _ in range(num_quantizers))
        if shared_codebook:
            for layer in self.layers[1:]:
                layer.codebook = self.layers[0].codebook

    def forward(self, x, return_residuals=False):
        all_residuals = x.unsqueeze(-2)
        x = self.project_in(x)
        quantized_out, residual = 0., x
        all_losses, all_indices = [], []
        for layer in self.layers:
            quantized, indices, loss = layer(residual)
            residual = residual - quantized.detach()
            quantized_out = quantized_out + quantized
            all_residuals = torch.cat((all_residuals, residual.unsqueeze(-2)), dim=-2)
            all_indices.append(indices)
            all_losses.append(loss)
        ret = (self.project_out(quantized_out), torch.stack(all_indices, -1), torch.stack(all_losses, -1))
        return ret + (all_residuals,) if return_residuals else ret


class Tokenizer(nn.Module):
    def __init__(self, ch=32, dim=128, codebook_dim=8):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, ch, 4, 2, 1), nn.SiLU(), nn.GroupNorm(8, ch), nn.Conv2d(ch, dim, 4, 2, 1))
        self.quantizer = ResidualVQ(dim=dim, num_quantizers=4, codebook_size=64, codebook_dim=codebook_dim, shared_codebook=True)
        self.decoder = nn.Sequential(nn.ConvTranspose2d(dim, ch, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(ch, 3, 4, 2, 1))

    def forward(self, image):
        z = self.encoder(image)
        b, c, h, w = z.shape
        q, indices, commit, residuals = self.quantizer(z.flatten(2).transpose(1, 2), return_residuals=True)
        recon = self.decoder(q.transpose(1, 2).reshape(b, c, h, w))
        energy = residuals.pow(2).mean(-1)
        shrink = F.relu(energy[..., 1:] - energy[..., :-1]).mean()
        return recon, commit.sum(), shrink


def build():
    return Tokenizer()


def step(model):
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    recon, commit, shrink = model(image)
    return F.l1_loss(recon, image) + 0.25 * commit + 0.1 * shrink


# real fix: all_residuals = x.unsqueeze(-2) after x = self.project_in(x)
# offending tensor: all_residuals (2, 64, 1, 128) beside residual (2, 64, 1, 8)
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['function:unsqueeze', 'quantizer', 'function:cat'], dim=3, got=128, wanted=8,
             hint_any=['project_in', 'unsqueeze', 'before', '128'])
MENDED = [('        all_residuals = x.unsqueeze(-2)\n        x = self.project_in(x)\n', '        x = self.project_in(x)\n        all_residuals = x.unsqueeze(-2)\n')]
