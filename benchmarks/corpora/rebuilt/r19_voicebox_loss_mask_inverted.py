import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/voicebox-pytorch/issues/6'
CATEGORY = 'silent'
DESCRIPTION = 'Flow matching infill: frames with mask True are hidden and must be predicted, but masked_fill(mask, 0) keeps the loss of the others.'


class LearnedSinusoidalPosEmb(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(dim // 2))

    def forward(self, x):
        freqs = x[:, None] * self.weights[None] * 2 * math.pi
        return torch.cat((freqs.sin(), freqs.cos()), dim=-1)


class AdaptiveRMSNorm(nn.Module):
    def __init__(self, dim, cond_dim):
        super().__init__()
        self.scale = dim ** 0.5
        self.to_gamma = nn.Linear(cond_dim, dim)
        self.to_beta = nn.Linear(cond_dim, dim)

    def forward(self, x, cond):
        normed = F.normalize(x, dim=-1) * self.scale
        return normed * (1 + self.to_gamma(cond)[:, None]) + self.to_beta(cond)[:, None]


class Block(nn.Module):
    def __init__(self, dim, cond_dim, heads=4):
        super().__init__()
        self.norm1, self.norm2 = AdaptiveRMSNorm(dim, cond_dim), AdaptiveRMSNorm(dim, cond_dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ff = nn.Sequential(nn.Linear(dim, dim * 2), nn.GELU(), nn.Linear(dim * 2, dim))

    def forward(self, x, cond):
        h = self.norm1(x, cond)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return x + self.ff(self.norm2(x, cond))


class VoiceBox(nn.Module):
    def __init__(self, num_phonemes=30, dim_in=20, dim=32, depth=2):
        super().__init__()
        self.sinu_pos_emb = nn.Sequential(LearnedSinusoidalPosEmb(dim), nn.Linear(dim, dim), nn.SiLU())
        self.to_phoneme_emb = nn.Embedding(num_phonemes, 16)
        self.to_embed = nn.Linear(dim_in * 2 + 16, dim)
        self.pos = nn.Parameter(torch.randn(1, 200, dim) * 0.1)
        self.layers = nn.ModuleList(Block(dim, dim) for _ in range(depth))
        self.to_pred = nn.Linear(dim, dim_in, bias=False)

    def forward(self, x, *, times, cond, cond_token_ids, mask, target):
        cond = cond * ~mask[..., None]
        embed = torch.cat((x, self.to_phoneme_emb(cond_token_ids), cond), dim=-1)
        x = self.to_embed(embed) + self.pos[:, :x.shape[1]]
        time_emb = self.sinu_pos_emb(times)
        for layer in self.layers:
            x = layer(x, time_emb)
        x = self.to_pred(x)

        loss = F.mse_loss(x, target, reduction='none')
        loss = loss.mean(dim=-1)
        loss = loss.masked_fill(mask, 0.)
        num = loss.sum(dim=-1)
        den = mask.sum(dim=-1).clamp(min=1e-5)
        return (num / den).mean()


def mask_from_frac_lengths(seq_len, frac_lengths):
    lengths = (frac_lengths * seq_len).long()
    start = ((seq_len - lengths) * torch.rand_like(frac_lengths)).long()
    seq = torch.arange(seq_len)
    return (seq >= start[:, None]) & (seq < (start + lengths)[:, None])


class ConditionalFlowMatcher(nn.Module):
    def __init__(self, voicebox, sigma=1e-5):
        super().__init__()
        self.voicebox, self.sigma = voicebox, sigma

    def forward(self, x1, phoneme_ids):
        batch, seq_len = x1.shape[:2]
        x0 = torch.randn_like(x1)
        times = torch.rand(batch)
        t = times.view(batch, 1, 1)
        w = (1 - (1 - self.sigma) * t) * x0 + t * x1
        flow = x1 - (1 - self.sigma) * x0
        mask = mask_from_frac_lengths(seq_len, torch.empty(batch).uniform_(0.7, 1.0))
        return self.voicebox(w, times=times, cond=x1, cond_token_ids=phoneme_ids, mask=mask, target=flow)


def build():
    return ConditionalFlowMatcher(VoiceBox())


def step(model):
    return model(torch.randn(4, 60, 20), torch.randint(0, 30, (4, 60)))


# real fix: loss.masked_fill(~mask, 0.)
TRUTH = dict(raises=None, at='function:masked_fill', culprits=['function:masked_fill'], dim=None, got=None, wanted=None,
             hint_any=['~', 'invert', 'opposite', 'not mask', 'complement'])
MENDED = [('loss.masked_fill(mask, 0.)', 'loss.masked_fill(~mask, 0.)')]
