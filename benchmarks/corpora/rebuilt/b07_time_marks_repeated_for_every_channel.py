from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/kwuking/TimeMixer/issues/15'
CATEGORY = 'layer'
DESCRIPTION = 'TimeMixer with channel_independence=0: the time marks are still repeated for each of the 7 channels, the series keep the batch of 16.'


class SeriesDecomp(nn.Module):
    def __init__(self, kernel_size):
        super().__init__()
        self.kernel_size = kernel_size
        self.avg = nn.AvgPool1d(kernel_size, stride=1)

    def forward(self, x):
        side = (self.kernel_size - 1) // 2
        padded = torch.cat([x[:, :1].repeat(1, side, 1), x, x[:, -1:].repeat(1, side, 1)], dim=1)
        trend = self.avg(padded.permute(0, 2, 1)).permute(0, 2, 1)
        return x - trend, trend


class Normalize(nn.Module):
    def __init__(self, num_features, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.affine_weight, self.affine_bias = nn.Parameter(torch.ones(num_features)), nn.Parameter(torch.zeros(num_features))

    def forward(self, x, mode):
        if mode == 'norm':
            self.mean = x.mean(dim=1, keepdim=True).detach()
            self.stdev = torch.sqrt(x.var(dim=1, keepdim=True, unbiased=False) + self.eps).detach()
            return (x - self.mean) / self.stdev * self.affine_weight + self.affine_bias
        x = (x - self.affine_bias) / (self.affine_weight + self.eps * self.eps)
        return x * self.stdev + self.mean


class TokenEmbedding(nn.Module):
    def __init__(self, c_in, d_model):
        super().__init__()
        self.tokenConv = nn.Conv1d(c_in, d_model, 3, padding=1, padding_mode='circular', bias=False)

    def forward(self, x):
        return self.tokenConv(x.permute(0, 2, 1)).transpose(1, 2)


class DataEmbedding(nn.Module):
    def __init__(self, c_in, d_model, n_marks=4, dropout=0.1):
        super().__init__()
        self.value_embedding = TokenEmbedding(c_in, d_model)
        self.temporal_embedding = nn.Linear(n_marks, d_model, bias=False)
        self.dropout = nn.Dropout(p=dropout)

    def forward(self, x, x_mark):
        if x_mark is None:
            return self.dropout(self.value_embedding(x))
        return self.dropout(self.value_embedding(x) + self.temporal_embedding(x_mark))


class Model(nn.Module):
    def __init__(self, configs):
        super().__init__()
        self.configs = c = configs
        lengths = [c.seq_len // c.down_sampling_window ** i for i in range(c.down_sampling_layers + 1)]
        self.preprocess = SeriesDecomp(c.moving_avg)
        self.enc_embedding = DataEmbedding(1 if c.channel_independence else c.enc_in, c.d_model, dropout=c.dropout)
        self.mix = nn.ModuleList(nn.Sequential(nn.LayerNorm(c.d_model), nn.Linear(c.d_model, c.d_ff), nn.GELU(), nn.Linear(c.d_ff, c.d_model))
                                 for _ in range(c.e_layers))
        self.predict_layers = nn.ModuleList(nn.Linear(n, c.pred_len) for n in lengths)
        self.projection_layer = nn.Linear(c.d_model, 1 if c.channel_independence else c.c_out)
        self.regression_layers = nn.ModuleList(nn.Linear(n, c.pred_len) for n in lengths)
        self.normalize_layers = nn.ModuleList(Normalize(c.enc_in) for _ in lengths)
        self.down_pool = nn.AvgPool1d(c.down_sampling_window)

    def multi_scale(self, x, x_mark):
        xs, marks = [x], [x_mark]
        for _ in range(self.configs.down_sampling_layers):
            xs.append(self.down_pool(xs[-1].permute(0, 2, 1)).permute(0, 2, 1))
            marks.append(marks[-1][:, ::self.configs.down_sampling_window])
        return xs, marks

    def forward(self, x_enc, x_mark_enc):
        c = self.configs
        x_list, x_mark_list = [], []
        for i, (x, x_mark) in enumerate(zip(*self.multi_scale(x_enc, x_mark_enc))):
            B, T, N = x.size()
            x = self.normalize_layers[i](x, 'norm')
            if c.channel_independence == 1:
                x = x.permute(0, 2, 1).contiguous().reshape(B * N, T, 1)
            x_list.append(x)
            x_mark = x_mark.repeat(N, 1, 1)
            x_mark_list.append(x_mark)
        rests = [None] * len(x_list)
        if c.channel_independence == 0:
            x_list, rests = zip(*[self.preprocess(x) for x in x_list])
        dec_out_list = []
        for i, (x, x_mark, rest) in enumerate(zip(x_list, x_mark_list, rests)):
            enc_out = self.enc_embedding(x, x_mark)
            for layer in self.mix:
                enc_out = enc_out + layer(enc_out)
            dec_out = self.projection_layer(self.predict_layers[i](enc_out.permute(0, 2, 1)).permute(0, 2, 1))
            if rest is None:
                dec_out = dec_out.reshape(B, c.c_out, c.pred_len).permute(0, 2, 1)
            else:
                dec_out = dec_out + self.regression_layers[i](rest.permute(0, 2, 1)).permute(0, 2, 1)
            dec_out_list.append(dec_out)
        return self.normalize_layers[0](torch.stack(dec_out_list, dim=-1).sum(-1), 'denorm')


def build():
    return Model(SimpleNamespace(seq_len=96, pred_len=24, enc_in=7, c_out=7, d_model=16, d_ff=32, e_layers=2, dropout=0.1, moving_avg=25,
                                 channel_independence=0, down_sampling_layers=2, down_sampling_window=2))


def step(model):
    batch_x, batch_y = torch.randn(16, 96, 7), torch.randn(16, 72, 7)
    batch_x_mark = torch.rand(16, 96, 4) - 0.5
    outputs = model(batch_x, batch_x_mark)
    return F.mse_loss(outputs, batch_y[:, -24:])


# real fix: the repeat belongs under "if channel_independence == 1", where the channels went into the batch
# offending tensor: temporal embedding (112, 96, 16) added to the value embedding (16, 96, 16)
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['function:repeat', ''], dim=0, got=112, wanted=16,
             hint_any=['repeat', 'channel', 'x_mark', 'batch'])
MENDED = [('            x_mark = x_mark.repeat(N, 1, 1)\n', '            x_mark = x_mark.repeat(N, 1, 1) if c.channel_independence == 1 else x_mark\n')]
