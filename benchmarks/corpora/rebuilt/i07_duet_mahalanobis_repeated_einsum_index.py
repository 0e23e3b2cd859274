import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/decisionintelligence/DUET/issues/6'
CATEGORY = 'silent'
DESCRIPTION = 'Channel mask from a learned Mahalanobis distance: einsum("dd,bxcd->bxcd", A, diff) takes the diagonal of A, where A was to be multiplied with the differences.'


class MahalanobisMask(nn.Module):
    def __init__(self, input_size):
        super().__init__()
        freq = input_size // 2 + 1
        self.A = nn.Parameter(torch.randn(freq, freq))

    def prob_distance(self, x):
        xf = torch.abs(torch.fft.rfft(x, dim=-1))
        diff = xf.unsqueeze(2) - xf.unsqueeze(1)                       # b, c, c, f
        temp = torch.einsum("dd,bxcd->bxcd", self.A, diff)
        dist = torch.einsum("bxcd,bxcd->bxc", temp, temp)
        exp_dist = 1 / (dist + 1e-10)
        off_diagonal = 1 - torch.eye(x.shape[1], device=x.device)
        exp_dist = exp_dist * off_diagonal
        p = exp_dist / exp_dist.max(dim=-1, keepdim=True).values.detach()
        return (p * off_diagonal + torch.eye(x.shape[1], device=x.device)) * 0.99

    def forward(self, x):
        p = self.prob_distance(x)
        logits = torch.stack([torch.log(p / (1 - p) + 1e-10), torch.log((1 - p) / (p + 1e-10) + 1e-10)], dim=-1)
        sample = F.gumbel_softmax(logits, hard=True)[..., 0]
        return sample.unsqueeze(1), p


class ChannelAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x, mask):
        b, c, d = x.shape
        q, k, v = self.qkv(x).view(b, c, 3, self.n_heads, d // self.n_heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / (d // self.n_heads) ** 0.5
        scores = scores.masked_fill(mask == 0, -1e9)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, c, d))


class Forecaster(nn.Module):
    def __init__(self, seq_len=24, pred_len=12, d_model=16, n_heads=2):
        super().__init__()
        self.mask_generator = MahalanobisMask(seq_len)
        self.embed = nn.Linear(seq_len, d_model)
        self.attn = ChannelAttention(d_model, n_heads)
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, pred_len)

    def forward(self, x):
        mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True) + 1e-5
        series = ((x - mean) / std).transpose(1, 2)                      # b, c, l
        mask, p = self.mask_generator(series)
        h = self.embed(series)
        h = self.norm(h + self.attn(h, mask))
        return self.head(h).transpose(1, 2) * std + mean, p


def build():
    return Forecaster()


def step(model):
    series = torch.randn(6, 36, 7).cumsum(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    out, p = model(series[:, :24])
    loss = F.l1_loss(out, series[:, 24:]) + 0.01 * p.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# real fix: torch.einsum("dk,bxck->bxcd", A, diff)
TRUTH = dict(raises=None, at='function:einsum', culprits=['function:einsum', 'mask_generator'], dim=None, got=None, wanted=None,
             hint_any=['diagonal', 'repeated', 'dk', 'matrix', 'contract'])
MENDED = [('"dd,bxcd->bxcd"', '"dk,bxck->bxcd"')]
