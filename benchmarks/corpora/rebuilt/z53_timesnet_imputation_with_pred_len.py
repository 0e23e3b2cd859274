from types import SimpleNamespace

import torch
import torch.fft
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/thuml/Time-Series-Library/issues/577'
CATEGORY = 'layer'
DESCRIPTION = 'TimesNet is run for imputation with the pred_len of the forecasting scripts; its blocks fold seq_len + pred_len steps, the input has seq_len.'


def FFT_for_Period(x, k=2):
    xf = torch.fft.rfft(x, dim=1)
    frequency_list = abs(xf).mean(0).mean(-1)
    frequency_list[0] = 0
    _, top_list = torch.topk(frequency_list, k)
    top_list = top_list.detach().cpu().numpy()
    period = x.shape[1] // top_list
    return period, abs(xf).mean(-1)[:, top_list]


class Inception_Block_V1(nn.Module):
    def __init__(self, in_channels, out_channels, num_kernels):
        super().__init__()
        self.kernels = nn.ModuleList(nn.Conv2d(in_channels, out_channels, 2 * i + 1, padding=i) for i in range(num_kernels))

    def forward(self, x):
        return torch.stack([kernel(x) for kernel in self.kernels], dim=-1).mean(-1)


class TimesBlock(nn.Module):
    def __init__(self, configs):
        super().__init__()
        self.seq_len, self.pred_len, self.k = configs.seq_len, configs.pred_len, configs.top_k
        self.conv = nn.Sequential(Inception_Block_V1(configs.d_model, configs.d_ff, configs.num_kernels), nn.GELU(),
                                  Inception_Block_V1(configs.d_ff, configs.d_model, configs.num_kernels))

    def forward(self, x):
        B, T, N = x.size()
        period_list, period_weight = FFT_for_Period(x, self.k)
        res = []
        for i in range(self.k):
            period = int(period_list[i])
            if (self.seq_len + self.pred_len) % period != 0:
                length = (((self.seq_len + self.pred_len) // period) + 1) * period
                padding = torch.zeros([x.shape[0], (length - (self.seq_len + self.pred_len)), x.shape[2]])
                out = torch.cat([x, padding], dim=1)
            else:
                length = (self.seq_len + self.pred_len)
                out = x
            out = out.reshape(B, length // period, period, N).permute(0, 3, 1, 2).contiguous()
            out = self.conv(out)
            out = out.permute(0, 2, 3, 1).reshape(B, -1, N)
            res.append(out[:, :(self.seq_len + self.pred_len), :])
        res = torch.stack(res, dim=-1)
        period_weight = F.softmax(period_weight, dim=1)
        period_weight = period_weight.unsqueeze(1).unsqueeze(1).repeat(1, T, N, 1)
        res = torch.sum(res * period_weight, -1)
        return res + x


class DataEmbedding(nn.Module):
    def __init__(self, c_in, d_model, n_mark=4):
        super().__init__()
        self.value_embedding = nn.Conv1d(c_in, d_model, 3, padding=1, padding_mode='circular', bias=False)
        self.temporal_embedding = nn.Linear(n_mark, d_model, bias=False)

    def forward(self, x, x_mark):
        return self.value_embedding(x.permute(0, 2, 1)).transpose(1, 2) + self.temporal_embedding(x_mark)


class Model(nn.Module):
    def __init__(self, configs):
        super().__init__()
        self.configs, self.task_name = configs, configs.task_name
        self.enc_embedding = DataEmbedding(configs.enc_in, configs.d_model)
        self.model = nn.ModuleList([TimesBlock(configs) for _ in range(configs.e_layers)])
        self.layer_norm = nn.LayerNorm(configs.d_model)
        if self.task_name == 'long_term_forecast':
            self.predict_linear = nn.Linear(configs.seq_len, configs.pred_len + configs.seq_len)
        self.projection = nn.Linear(configs.d_model, configs.c_out, bias=True)

    def imputation(self, x_enc, x_mark_enc, mask):
        means = (torch.sum(x_enc, dim=1) / torch.sum(mask == 1, dim=1)).unsqueeze(1).detach()
        x_enc = (x_enc - means).masked_fill(mask == 0, 0)
        stdev = torch.sqrt(torch.sum(x_enc * x_enc, dim=1) / torch.sum(mask == 1, dim=1) + 1e-5).unsqueeze(1).detach()
        enc_out = self.enc_embedding(x_enc / stdev, x_mark_enc)
        for block in self.model:
            enc_out = self.layer_norm(block(enc_out))
        return self.projection(enc_out) * stdev + means

    def forecast(self, x_enc, x_mark_enc):
        enc_out = self.enc_embedding(x_enc, x_mark_enc)
        enc_out = self.predict_linear(enc_out.permute(0, 2, 1)).permute(0, 2, 1)
        for block in self.model:
            enc_out = self.layer_norm(block(enc_out))
        return self.projection(enc_out)[:, -self.configs.pred_len:]

    def forward(self, x_enc, x_mark_enc, mask=None):
        if self.task_name == 'imputation':
            return self.imputation(x_enc, x_mark_enc, mask)
        return self.forecast(x_enc, x_mark_enc)


def build():
    args = SimpleNamespace(task_name='imputation', seq_len=24, label_len=12, pred_len=12, enc_in=7, c_out=7, d_model=16, d_ff=16, top_k=3,
                           num_kernels=3, e_layers=2, mask_rate=0.25)
    return Model(args)


def step(model):
    args = model.configs
    batch_x, batch_x_mark = torch.randn(4, args.seq_len, args.enc_in), torch.randn(4, args.seq_len, 4)
    mask = (torch.rand(batch_x.shape) > args.mask_rate).float()
    mask[:, 0] = 1
    outputs = model(batch_x.masked_fill(mask == 0, 0), batch_x_mark, mask)
    return nn.MSELoss()(outputs[mask == 0], batch_x[mask == 0])


# real fix: label_len and pred_len are 0 for imputation
TRUTH = dict(raises='RuntimeError', at='function:reshape', culprits=['function:reshape', 'function:zeros'], dim=None, got=None, wanted=None,
             hint_any=['pred_len', '36', '24', 'pad'])
MENDED = [('label_len=12, pred_len=12', 'label_len=0, pred_len=0')]
