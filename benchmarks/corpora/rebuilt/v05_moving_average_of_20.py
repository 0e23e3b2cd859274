import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/thuml/Autoformer/issues/185 (explained in #84, the same in FEDformer #2 and intel/ipex-llm #5424)'
CATEGORY = 'layer'
DESCRIPTION = 'Autoformer with an even moving_avg: both ends are padded by (kernel - 1) // 2, so that the moving mean is one step short.'


class moving_avg(nn.Module):
    """Moving average block to highlight the trend of time series"""

    def __init__(self, kernel_size, stride):
        super().__init__()
        self.kernel_size = kernel_size
        self.avg = nn.AvgPool1d(kernel_size=kernel_size, stride=stride, padding=0)

    def forward(self, x):
        front = x[:, 0:1, :].repeat(1, (self.kernel_size - 1) // 2, 1)
        end = x[:, -1:, :].repeat(1, (self.kernel_size - 1) // 2, 1)
        x = torch.cat([front, x, end], dim=1)
        x = self.avg(x.permute(0, 2, 1))
        return x.permute(0, 2, 1)


class series_decomp(nn.Module):
    def __init__(self, kernel_size):
        super().__init__()
        self.moving_avg = moving_avg(kernel_size, stride=1)

    def forward(self, x):
        moving_mean = self.moving_avg(x)
        res = x - moving_mean
        return res, moving_mean


class EncoderLayer(nn.Module):
    def __init__(self, d_model, n_heads, d_ff, kernel_size):
        super().__init__()
        self.attention = nn.MultiheadAttention(d_model, n_heads, batch_first=True)
        self.conv1 = nn.Conv1d(d_model, d_ff, 1, bias=False)
        self.conv2 = nn.Conv1d(d_ff, d_model, 1, bias=False)
        self.decomp1, self.decomp2 = series_decomp(kernel_size), series_decomp(kernel_size)

    def forward(self, x):
        x, _ = self.decomp1(x + self.attention(x, x, x, need_weights=False)[0])
        y = self.conv2(F.gelu(self.conv1(x.transpose(1, 2)))).transpose(1, 2)
        return self.decomp2(x + y)[0]


class DecoderLayer(nn.Module):
    def __init__(self, d_model, n_heads, c_out, kernel_size):
        super().__init__()
        self.cross = nn.MultiheadAttention(d_model, n_heads, batch_first=True)
        self.decomp = series_decomp(kernel_size)
        self.projection = nn.Conv1d(d_model, c_out, 3, padding=1, padding_mode='circular', bias=False)

    def forward(self, x, cross):
        x, trend = self.decomp(x + self.cross(x, cross, cross, need_weights=False)[0])
        return x, self.projection(trend.transpose(1, 2)).transpose(1, 2)


class Autoformer(nn.Module):
    def __init__(self, configs):
        super().__init__()
        self.pred_len, self.label_len = configs['pred_len'], configs['label_len']
        d_model, heads, kernel, c = configs['d_model'], configs['n_heads'], configs['moving_avg'], configs['enc_in']
        self.decomp = series_decomp(kernel)
        self.enc_embedding, self.dec_embedding = nn.Linear(c, d_model), nn.Linear(c, d_model)
        self.encoder = nn.ModuleList(EncoderLayer(d_model, heads, 2 * d_model, kernel) for _ in range(configs['e_layers']))
        self.decoder = nn.ModuleList(DecoderLayer(d_model, heads, c, kernel) for _ in range(configs['d_layers']))
        self.projection = nn.Linear(d_model, c)

    def forward(self, x_enc):
        mean = x_enc.mean(1, keepdim=True).expand(-1, self.pred_len, -1)
        zeros = torch.zeros_like(mean)
        seasonal_init, trend_init = self.decomp(x_enc)
        trend = torch.cat([trend_init[:, -self.label_len:], mean], dim=1)
        seasonal = torch.cat([seasonal_init[:, -self.label_len:], zeros], dim=1)
        enc = self.enc_embedding(x_enc)
        for layer in self.encoder:
            enc = layer(enc)
        dec = self.dec_embedding(seasonal)
        for layer in self.decoder:
            dec, residual_trend = layer(dec, enc)
            trend = trend + residual_trend
        return (trend + self.projection(dec))[:, -self.pred_len:]


def build():
    return Autoformer(dict(enc_in=8, d_model=32, n_heads=8, e_layers=2, d_layers=1, label_len=48, pred_len=96, moving_avg=20))


def step(model):
    rates = torch.randn(8, 192, 8).cumsum(1) * 0.01          # eight exchange rates
    batch_x, batch_y = rates[:, :96], rates[:, 96:]
    return F.mse_loss(model(batch_x), batch_y)


# real fix: pad (kernel_size - 1) in all: front by kernel_size - 1 - (kernel_size - 1) // 2 (or use an odd moving_avg)
# offending tensor: moving_mean (8, 95, 8) where (8, 96, 8) is needed
TRUTH = dict(raises='RuntimeError', at='function:sub',
             culprits=['decomp.moving_avg.avg', 'decomp.moving_avg', 'function:repeat', 'function:cat'], dim=1, got=95, wanted=96,
             hint_any=['kernel', 'pad', 'odd', 'repeat'])
MENDED = [('front = x[:, 0:1, :].repeat(1, (self.kernel_size - 1) // 2, 1)',
           'front = x[:, 0:1, :].repeat(1, self.kernel_size - 1 - (self.kernel_size - 1) // 2, 1)')]
