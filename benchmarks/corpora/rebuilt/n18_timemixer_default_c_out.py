from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/thuml/Time-Series-Library/issues/441'
CATEGORY = 'layer'
DESCRIPTION = 'TimeMixer on a table of ten columns, all of which are forecast from all.'


class Normalize(nn.Module):
    def __init__(self, num_features, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.affine_weight = nn.Parameter(torch.ones(num_features))
        self.affine_bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, x, mode):
        if mode == 'norm':
            self.mean = x.mean(dim=1, keepdim=True).detach()
            self.stdev = (x.var(dim=1, keepdim=True, unbiased=False) + self.eps).sqrt().detach()
            return (x - self.mean) / self.stdev * self.affine_weight + self.affine_bias
        return (x - self.affine_bias) / (self.affine_weight + self.eps) * self.stdev + self.mean


class SeriesDecomp(nn.Module):
    def __init__(self, kernel_size=3):
        super().__init__()
        self.avg = nn.AvgPool1d(kernel_size, 1, kernel_size // 2, count_include_pad=False)

    def forward(self, x):
        trend = self.avg(x.permute(0, 2, 1)).permute(0, 2, 1)
        return x - trend, trend


class PastDecomposableMixing(nn.Module):
    def __init__(self, configs, lengths):
        super().__init__()
        self.decomposition = SeriesDecomp()
        self.down = nn.ModuleList([nn.Linear(a, b) for a, b in zip(lengths[:-1], lengths[1:])])
        self.up = nn.ModuleList([nn.Linear(b, a) for a, b in reversed(list(zip(lengths[:-1], lengths[1:])))])
        self.out_cross_layer = nn.Sequential(nn.Linear(configs.d_model, configs.d_ff), nn.GELU(), nn.Linear(configs.d_ff, configs.d_model))

    def forward(self, x_list):
        parts = [self.decomposition(x) for x in x_list]
        seasons, trends = [s.permute(0, 2, 1) for s, _ in parts], [t.permute(0, 2, 1) for _, t in parts]
        for i, layer in enumerate(self.down):
            seasons[i + 1] = seasons[i + 1] + layer(seasons[i])
        for i, layer in enumerate(self.up):
            k = len(trends) - 1 - i
            trends[k - 1] = trends[k - 1] + layer(trends[k])
        return [x + self.out_cross_layer((s + t).permute(0, 2, 1)) for x, s, t in zip(x_list, seasons, trends)]


class Model(nn.Module):
    def __init__(self, configs):
        super().__init__()
        self.configs, self.pred_len = configs, configs.pred_len
        lengths = [configs.seq_len // 2 ** i for i in range(configs.down_sampling_layers + 1)]
        self.enc_embedding = nn.Linear(1, configs.d_model)
        self.pdm_blocks = nn.ModuleList([PastDecomposableMixing(configs, lengths) for _ in range(configs.e_layers)])
        self.predict_layers = nn.ModuleList([nn.Linear(n, configs.pred_len) for n in lengths])
        self.projection_layer = nn.Linear(configs.d_model, 1)
        self.normalize_layers = nn.ModuleList([Normalize(configs.enc_in) for _ in lengths])

    def multi_scale_process_inputs(self, x_enc):
        xs = [x_enc]
        for _ in range(self.configs.down_sampling_layers):
            xs.append(F.avg_pool1d(xs[-1].permute(0, 2, 1), 2).permute(0, 2, 1))
        return xs

    def forward(self, x_enc):
        x_list, enc_out_list = self.multi_scale_process_inputs(x_enc), []
        for i, x in enumerate(x_list):
            B, T, N = x.size()
            x = self.normalize_layers[i](x, 'norm')
            x = x.permute(0, 2, 1).contiguous().reshape(B * N, T, 1)
            enc_out_list.append(self.enc_embedding(x))
        for block in self.pdm_blocks:
            enc_out_list = block(enc_out_list)
        dec_out = torch.stack(self.future_multi_mixing(B, enc_out_list), dim=-1).sum(-1)
        return self.normalize_layers[0](dec_out, 'denorm')

    def future_multi_mixing(self, B, enc_out_list):
        dec_out_list = []
        for i, enc_out in enumerate(enc_out_list):
            dec_out = self.predict_layers[i](enc_out.permute(0, 2, 1)).permute(0, 2, 1)
            dec_out = self.projection_layer(dec_out)
            dec_out = dec_out.reshape(B, self.configs.c_out, self.pred_len).permute(0, 2, 1).contiguous()
            dec_out_list.append(dec_out)
        return dec_out_list


args = SimpleNamespace(features='M', seq_len=16, pred_len=12, enc_in=10, dec_in=10, c_out=1, d_model=16, d_ff=32, e_layers=2,
                       down_sampling_layers=2, batch_size=8)


def build():
    return Model(args)


def step(model):
    series = torch.randn(200, args.enc_in).cumsum(0)
    starts = torch.randint(0, 200 - args.seq_len - args.pred_len, (args.batch_size,)).tolist()
    batch_x = torch.stack([series[s:s + args.seq_len] for s in starts])
    batch_y = torch.stack([series[s + args.seq_len:s + args.seq_len + args.pred_len] for s in starts])
    f_dim = -1 if args.features == 'MS' else 0
    outputs = model(batch_x)
    return F.mse_loss(outputs[:, -args.pred_len:, f_dim:], batch_y[:, :, f_dim:])


# real fix: --c_out 10, the number of the columns (the network forecasts each column by itself)
# offending tensor: dec_out (80, 12, 1), 80 = 8 * 10 series, reshaped to (8, 1, 12)
TRUTH = dict(raises='RuntimeError', at='function:reshape', culprits=['function:reshape'], dim=None, got=None, wanted=None,
             hint_any=['c_out', '10', '960', 'channel', 'column'])
MENDED = [('c_out=1,', 'c_out=10,')]
