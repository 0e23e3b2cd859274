import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/rosinality/vq-vae-2-pytorch/issues/20'
CATEGORY = 'correct'
DESCRIPTION = 'VQ-VAE: the decoder is given input + (quantize - input).detach(); the codebook is kept as a moving average without gradient.'


class Quantize(nn.Module):
    def __init__(self, dim, n_embed, decay=0.99, eps=1e-5):
        super().__init__()
        self.dim, self.n_embed, self.decay, self.eps = dim, n_embed, decay, eps
        embed = torch.randn(dim, n_embed)
        self.register_buffer('embed', embed)
        self.register_buffer('cluster_size', torch.zeros(n_embed))
        self.register_buffer('embed_avg', embed.clone())

    def forward(self, input):
        flatten = input.reshape(-1, self.dim)
        dist = flatten.pow(2).sum(1, keepdim=True) - 2 * flatten @ self.embed + self.embed.pow(2).sum(0, keepdim=True)
        _, embed_ind = (-dist).max(1)
        embed_onehot = F.one_hot(embed_ind, self.n_embed).type(flatten.dtype)
        embed_ind = embed_ind.view(*input.shape[:-1])
        quantize = F.embedding(embed_ind, self.embed.transpose(0, 1))
        if self.training:
            embed_sum = flatten.transpose(0, 1) @ embed_onehot
            self.cluster_size.data.mul_(self.decay).add_(embed_onehot.sum(0), alpha=1 - self.decay)
            self.embed_avg.data.mul_(self.decay).add_(embed_sum.detach(), alpha=1 - self.decay)
            n = self.cluster_size.sum()
            cluster_size = (self.cluster_size + self.eps) / (n + self.n_embed * self.eps) * n
            self.embed.data.copy_(self.embed_avg / cluster_size.unsqueeze(0))
        diff = (quantize.detach() - input).pow(2).mean()
        quantize = input + (quantize - input).detach()
        return quantize, diff, embed_ind


class ResBlock(nn.Module):
    def __init__(self, channel):
        super().__init__()
        self.conv = nn.Sequential(nn.ReLU(), nn.Conv2d(channel, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, channel, 1))

    def forward(self, input):
        out = self.conv(input)
        out += input
        return out


class VQVAE(nn.Module):
    def __init__(self, channel=16, embed_dim=8, n_embed=12):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(3, channel, 4, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(channel, channel, 3, 1, 1), ResBlock(channel))
        self.quantize_conv = nn.Conv2d(channel, embed_dim, 1)
        self.quantize = Quantize(embed_dim, n_embed)
        self.dec = nn.Sequential(nn.Conv2d(embed_dim, channel, 3, 1, 1), ResBlock(channel), nn.ConvTranspose2d(channel, 3, 4, 2, 1))

    def forward(self, input):
        quant = self.quantize_conv(self.enc(input)).permute(0, 2, 3, 1)
        quant, diff, _ = self.quantize(quant)
        quant = quant.permute(0, 3, 1, 2)
        return self.dec(quant), diff.unsqueeze(0)


def build():
    return VQVAE()


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    criterion = nn.MSELoss()
    for img in torch.rand(2, 4, 3, 16, 16):
        model.zero_grad()
        out, latent_loss = model(img)
        loss = criterion(out, img) + 0.25 * latent_loss.mean()
        loss.backward()
        optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
