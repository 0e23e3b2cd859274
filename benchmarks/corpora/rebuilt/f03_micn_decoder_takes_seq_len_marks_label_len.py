import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/wanghq21/MICN/issues/14'
CATEGORY = 'layer'
DESCRIPTION = 'MICN: the decoder input is the last seq_len=96 steps plus pred_len zeros, the time marks of the data set cover label_len=48 plus pred_len.'


class Configs:
    seq_len, label_len, pred_len = 96, 48, 24
    enc_in = dec_in = c_out = 7
    d_model, n_heads, d_layers, dropout = 32, 4, 1, 0.05
    conv_kernel = [12, 16]
    freq_dim = 4


class MovingAvg(nn.Module):
    def __init__(self, kernel_size):
        super().__init__()
        self.kernel_size = kernel_size
        self.avg = nn.AvgPool1d(kernel_size=kernel_size, stride=1)

    def forward(self, x):
        front = x[:, 0:1].repeat(1, self.kernel_size - 1 - (self.kernel_size - 1) // 2, 1)
        end = x[:, -1:].repeat(1, (self.kernel_size - 1) // 2, 1)
        return self.avg(torch.cat([front, x, end], dim=1).permute(0, 2, 1)).permute(0, 2, 1)


class SeriesDecompMulti(nn.Module):
    def __init__(self, kernels):
        super().__init__()
        self.moving_avg = nn.ModuleList(MovingAvg(k) for k in kernels)

    def forward(self, x):
        means = sum(m(x) for m in self.moving_avg) / len(self.moving_avg)
        return x - means, means


class PositionalEmbedding(nn.Module):
    def __init__(self, d_model, max_len=500):
        super().__init__()
        pos = torch.arange(max_len).float()[:, None]
        div = torch.exp(torch.arange(0, d_model, 2).float() * -(9.21 / d_model))
        self.register_buffer('pe', torch.stack([(pos * div).sin(), (pos * div).cos()], -1).flatten(1)[None])

    def forward(self, x):
        return self.pe[:, :x.size(1)]


class DataEmbedding(nn.Module):
    def __init__(self, c_in, d_model, freq_dim, dropout):
        super().__init__()
        self.value_embedding = nn.Conv1d(c_in, d_model, 3, padding=1, padding_mode='circular', bias=False)
        self.position_embedding = PositionalEmbedding(d_model)
        self.temporal_embedding = nn.Linear(freq_dim, d_model, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, x_mark):
        x = self.value_embedding(x.permute(0, 2, 1)).transpose(1, 2) + self.position_embedding(x) + self.temporal_embedding(x_mark)
        return self.dropout(x)


class MIC(nn.Module):
    def __init__(self, d_model, kernels, dropout):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(d_model, d_model, k, stride=k, padding=k // 2) for k in kernels)
        self.ups = nn.ModuleList(nn.ConvTranspose1d(d_model, d_model, k, stride=k) for k in kernels)
        self.merge = nn.Conv2d(d_model, d_model, (len(kernels), 1))
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        h, scales = x.transpose(1, 2), []
        for conv, up in zip(self.convs, self.ups):
            scales.append(up(torch.tanh(conv(h)))[..., :h.size(-1)])
        mg = self.merge(torch.stack(scales, dim=2)).squeeze(2).transpose(1, 2)
        return self.norm(x + self.dropout(mg))


class MICN(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.pred_len, self.seq_len = c.pred_len, c.seq_len
        self.decomp_multi = SeriesDecompMulti([k + 1 for k in c.conv_kernel])
        self.regression = nn.Linear(c.seq_len, c.pred_len)
        self.dec_embedding = DataEmbedding(c.dec_in, c.d_model, c.freq_dim, c.dropout)
        self.conv_trans = nn.ModuleList(MIC(c.d_model, c.conv_kernel, c.dropout) for _ in range(c.d_layers))
        self.projection = nn.Linear(c.d_model, c.c_out)

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):
        seasonal_init_enc, trend = self.decomp_multi(x_enc)
        trend = self.regression(trend.permute(0, 2, 1)).permute(0, 2, 1)
        zeros = torch.zeros([x_dec.shape[0], self.pred_len, x_dec.shape[2]])
        seasonal_init_dec = torch.cat([seasonal_init_enc[:, -self.seq_len:, :], zeros], dim=1)
        dec_out = self.dec_embedding(seasonal_init_dec, x_mark_dec)
        for layer in self.conv_trans:
            dec_out = layer(dec_out)
        dec_out = self.projection(dec_out)
        return dec_out[:, -self.pred_len:, :] + trend


def build():
    return MICN(Configs)


def get_batch(args, data, stamp, index):
    xs, ys, xm, ym = [], [], [], []
    for s_begin in index:
        s_end = s_begin + args.seq_len
        r_begin, r_end = s_end - args.label_len, s_end + args.pred_len
        xs.append(data[s_begin:s_end]), ys.append(data[r_begin:r_end])
        xm.append(stamp[s_begin:s_end]), ym.append(stamp[r_begin:r_end])
    return [torch.stack(v) for v in (xs, ys, xm, ym)]


def step(model):
    args = Configs
    data, stamp = torch.randn(400, 7), torch.rand(400, 4) - 0.5
    batch_x, batch_y, batch_x_mark, batch_y_mark = get_batch(args, data, stamp, [3, 77, 120, 210, 5, 8, 33, 250])
    dec_inp = torch.zeros_like(batch_y[:, -args.pred_len:, :])
    dec_inp = torch.cat([batch_y[:, :args.label_len, :], dec_inp], dim=1)
    outputs = model(batch_x, batch_x_mark, dec_inp, batch_y_mark)
    return F.mse_loss(outputs, batch_y[:, -args.pred_len:, :])


# real fix: label_len = seq_len in the configuration
# offending tensor: seasonal_init_dec (8, 120, 7), the marks x_mark_dec are (8, 72, 4)
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['input', 'function:cat', 'dec_embedding.temporal_embedding', 'function:stack'], dim=1, got=72, wanted=120,
             hint_any=['label_len', 'seq_len', 'mark', 'length'])
MENDED = [('seq_len, label_len, pred_len = 96, 48, 24', 'seq_len, label_len, pred_len = 96, 96, 24')]
