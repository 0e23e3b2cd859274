from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/thuml/Time-Series-Library/issues/254'
CATEGORY = 'layer'
DESCRIPTION = "Imputation with features='MS': outputs and batch_x are cut to the last variable, the mask of missing values still covers all of them."


class Inception_Block(nn.Module):
    def __init__(self, c_in, c_out, num_kernels=3):
        super().__init__()
        self.kernels = nn.ModuleList(nn.Conv2d(c_in, c_out, 2 * i + 1, padding=i) for i in range(num_kernels))

    def forward(self, x):
        return torch.stack([k(x) for k in self.kernels], dim=-1).mean(-1)


def FFT_for_Period(x, k=2):
    xf = torch.fft.rfft(x, dim=1)
    frequency_list = xf.abs().mean(0).mean(-1)
    frequency_list[0] = 0
    _, top = torch.topk(frequency_list.detach(), k)
    return [x.shape[1] // int(f) for f in top], xf.abs().mean(-1)[:, top]


class TimesBlock(nn.Module):
    def __init__(self, configs):
        super().__init__()
        self.seq_len, self.k = configs.seq_len, configs.top_k
        self.conv = nn.Sequential(Inception_Block(configs.d_model, configs.d_ff), nn.GELU(), Inception_Block(configs.d_ff, configs.d_model))

    def forward(self, x):
        B, T, N = x.size()
        periods, weight = FFT_for_Period(x, self.k)
        res = []
        for period in periods:
            length = -(-T // period) * period
            out = F.pad(x, (0, 0, 0, length - T))
            out = out.reshape(B, length // period, period, N).permute(0, 3, 1, 2).contiguous()
            out = self.conv(out).permute(0, 2, 3, 1).reshape(B, -1, N)
            res.append(out[:, :T, :])
        weight = F.softmax(weight, dim=1)[:, None, None, :]
        return (torch.stack(res, dim=-1) * weight).sum(-1) + x


class TimesNet(nn.Module):
    def __init__(self, configs):
        super().__init__()
        self.enc_embedding = nn.Linear(configs.enc_in, configs.d_model)
        self.mark_embedding = nn.Linear(4, configs.d_model, bias=False)
        self.model = nn.ModuleList(TimesBlock(configs) for _ in range(configs.e_layers))
        self.layer_norm = nn.LayerNorm(configs.d_model)
        self.projection = nn.Linear(configs.d_model, configs.c_out)

    def imputation(self, x_enc, x_mark_enc, mask):
        means = torch.sum(x_enc, dim=1) / torch.sum(mask == 1, dim=1).clamp(min=1)
        means = means.unsqueeze(1).detach()
        x_enc = (x_enc - means).masked_fill(mask == 0, 0)
        stdev = torch.sqrt(torch.sum(x_enc * x_enc, dim=1) / torch.sum(mask == 1, dim=1).clamp(min=1) + 1e-5).unsqueeze(1).detach()
        x_enc = x_enc / stdev
        enc_out = self.enc_embedding(x_enc) + self.mark_embedding(x_mark_enc)
        for block in self.model:
            enc_out = self.layer_norm(block(enc_out))
        return self.projection(enc_out) * stdev + means

    def forward(self, x_enc, x_mark_enc, mask):
        return self.imputation(x_enc, x_mark_enc, mask)


class Exp_Imputation:
    def __init__(self, args):
        self.args = args
        self.criterion = nn.MSELoss()

    def train_step(self, model, batch_x, batch_x_mark):
        B, T, N = batch_x.shape
        mask = torch.rand((B, T, N))
        mask[mask <= self.args.mask_rate] = 0
        mask[mask > self.args.mask_rate] = 1
        inp = batch_x.masked_fill(mask == 0, 0)
        outputs = model(inp, batch_x_mark, mask)
        f_dim = -1 if self.args.features == 'MS' else 0
        outputs = outputs[:, :, f_dim:]
        batch_x = batch_x[:, :, f_dim:]
        return self.criterion(outputs[mask == 0], batch_x[mask == 0])


args = SimpleNamespace(features='MS', seq_len=24, enc_in=6, c_out=6, d_model=8, d_ff=8, top_k=2, e_layers=2, mask_rate=0.25, batch_size=6)


def build():
    return TimesNet(args)


def step(model):
    batch_x, batch_x_mark = torch.randn(args.batch_size, args.seq_len, args.enc_in), torch.rand(args.batch_size, args.seq_len, 4) - .5
    return Exp_Imputation(args).train_step(model, batch_x, batch_x_mark)


# real fix: mask = mask[:, :, f_dim:] as well
# outputs (6, 24, 1) indexed by a mask (6, 24, 6)
TRUTH = dict(raises='IndexError', at='function:getitem', culprits=['function:getitem', 'function:eq'], dim=2, got=6, wanted=1,
             hint_any=['mask', 'slice', '[:, :, ', 'index', 'getitem'])
MENDED = [('        batch_x = batch_x[:, :, f_dim:]\n', '        batch_x = batch_x[:, :, f_dim:]\n        mask = mask[:, :, f_dim:]\n')]
