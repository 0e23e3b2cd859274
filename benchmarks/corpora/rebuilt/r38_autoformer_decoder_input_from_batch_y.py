import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/thuml/Autoformer/issues/177'
CATEGORY = 'correct'
DESCRIPTION = 'Decoder input is built from batch_y: its known label_len steps, then zeros for pred_len; nothing of the future leaks, no causal mask is needed.'


class Configs:
    seq_len, label_len, pred_len = 24, 12, 12
    enc_in = dec_in = c_out = 7
    d_model, n_heads, d_ff, moving_avg = 32, 4, 64, 5


class series_decomp(nn.Module):
    def __init__(self, kernel_size):
        super().__init__()
        self.kernel_size = kernel_size
        self.avg = nn.AvgPool1d(kernel_size=kernel_size, stride=1, padding=0)

    def forward(self, x):
        front = x[:, 0:1, :].repeat(1, (self.kernel_size - 1) // 2, 1)
        end = x[:, -1:, :].repeat(1, (self.kernel_size - 1) // 2, 1)
        moving_mean = self.avg(torch.cat([front, x, end], dim=1).permute(0, 2, 1)).permute(0, 2, 1)
        return x - moving_mean, moving_mean


class DataEmbedding(nn.Module):
    def __init__(self, c_in, d_model, d_mark=4):
        super().__init__()
        self.value_embedding = nn.Conv1d(c_in, d_model, 3, padding=1, padding_mode='circular', bias=False)
        self.temporal_embedding = nn.Linear(d_mark, d_model, bias=False)

    def forward(self, x, x_mark):
        return self.value_embedding(x.permute(0, 2, 1)).transpose(1, 2) + self.temporal_embedding(x_mark)


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.label_len, self.pred_len = c.label_len, c.pred_len
        self.decomp = series_decomp(c.moving_avg)
        self.enc_embedding = DataEmbedding(c.enc_in, c.d_model)
        self.dec_embedding = DataEmbedding(c.dec_in, c.d_model)
        self.encoder = nn.TransformerEncoderLayer(c.d_model, c.n_heads, c.d_ff, dropout=0.05, batch_first=True)
        self.decoder = nn.TransformerDecoderLayer(c.d_model, c.n_heads, c.d_ff, dropout=0.05, batch_first=True)
        self.projection = nn.Linear(c.d_model, c.c_out)

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):
        mean = torch.mean(x_enc, dim=1).unsqueeze(1).repeat(1, self.pred_len, 1)
        _, trend_init = self.decomp(x_enc)
        trend_init = torch.cat([trend_init[:, -self.label_len:, :], mean], dim=1)
        enc_out = self.encoder(self.enc_embedding(x_enc, x_mark_enc))
        dec_out = self.decoder(self.dec_embedding(x_dec, x_mark_dec), enc_out)
        dec_out = trend_init + self.projection(dec_out)
        return dec_out[:, -self.pred_len:, :]


class Dataset_Custom(torch.utils.data.Dataset):
    def __init__(self, c, length=120):
        t = torch.arange(length, dtype=torch.float)
        self.data = torch.stack([torch.sin(t / (3 + k)) + 0.1 * torch.randn(length) for k in range(c.enc_in)], dim=1)
        self.data = (self.data - self.data.mean(0)) / self.data.std(0)
        self.stamp = torch.stack([(t % p) / p - 0.5 for p in (7, 12, 24, 30)], dim=1)
        self.c = c

    def __getitem__(self, index):
        s_end = index + self.c.seq_len
        r_begin, r_end = s_end - self.c.label_len, s_end + self.c.pred_len
        return self.data[index:s_end], self.data[r_begin:r_end], self.stamp[index:s_end], self.stamp[r_begin:r_end]

    def __len__(self):
        return len(self.data) - self.c.seq_len - self.c.pred_len + 1


def build():
    return Model(Configs)


def step(model):
    args = Configs
    loader = torch.utils.data.DataLoader(Dataset_Custom(args), batch_size=12, shuffle=True, drop_last=True)
    batch_x, batch_y, batch_x_mark, batch_y_mark = next(iter(loader))
    dec_inp = torch.zeros_like(batch_y[:, -args.pred_len:, :]).float()
    dec_inp = torch.cat([batch_y[:, :args.label_len, :], dec_inp], dim=1).float()
    outputs = model(batch_x, batch_x_mark, dec_inp, batch_y_mark)
    batch_y = batch_y[:, -args.pred_len:, :]
    return F.mse_loss(outputs, batch_y)


TRUTH = dict(raises=None, at=None, culprits=[])
