from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/thuml/Autoformer/issues/28'
CATEGORY = 'layer'
DESCRIPTION = 'Informer prediction: the future values are unknown, batch_y holds label_len rows only, so zeros_like(batch_y[:, -pred_len:]) has 24 rows and not 72.'


class TokenEmbedding(nn.Module):
    def __init__(self, c_in, d_model):
        super().__init__()
        self.tokenConv = nn.Conv1d(c_in, d_model, 3, padding=1, padding_mode='circular', bias=False)

    def forward(self, x):
        return self.tokenConv(x.permute(0, 2, 1)).transpose(1, 2)


class TimeFeatureEmbedding(nn.Module):
    def __init__(self, d_model, freq='h'):
        super().__init__()
        self.embed = nn.Linear({'h': 4, 't': 5, 'd': 3}[freq], d_model, bias=False)

    def forward(self, x):
        return self.embed(x)


class PositionalEmbedding(nn.Module):
    def __init__(self, d_model, max_len=200):
        super().__init__()
        pos = torch.arange(max_len).float()[:, None] * torch.exp(torch.arange(0, d_model, 2) * -(9.21 / d_model))
        self.register_buffer('pe', torch.stack((pos.sin(), pos.cos()), -1).flatten(1)[None])

    def forward(self, x):
        return self.pe[:, :x.size(1)]


class DataEmbedding(nn.Module):
    def __init__(self, c_in, d_model, freq):
        super().__init__()
        self.value_embedding = TokenEmbedding(c_in, d_model)
        self.position_embedding = PositionalEmbedding(d_model)
        self.temporal_embedding = TimeFeatureEmbedding(d_model, freq)

    def forward(self, x, x_mark):
        return self.value_embedding(x) + self.temporal_embedding(x_mark) + self.position_embedding(x)


class Model(nn.Module):
    def __init__(self, configs):
        super().__init__()
        self.pred_len = configs.pred_len
        self.enc_embedding = DataEmbedding(configs.enc_in, configs.d_model, configs.freq)
        self.dec_embedding = DataEmbedding(configs.dec_in, configs.d_model, configs.freq)
        self.encoder = nn.TransformerEncoderLayer(configs.d_model, 4, 64, dropout=0., batch_first=True)
        self.decoder = nn.TransformerDecoderLayer(configs.d_model, 4, 64, dropout=0., batch_first=True)
        self.projection = nn.Linear(configs.d_model, configs.c_out)

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):
        enc_out = self.encoder(self.enc_embedding(x_enc, x_mark_enc))
        dec_out = self.decoder(self.dec_embedding(x_dec, x_mark_dec), enc_out)
        return self.projection(dec_out)[:, -self.pred_len:]


class Dataset_Pred(torch.utils.data.Dataset):
    def __init__(self, args, border=120):
        self.args = args
        self.data_x = torch.randn(border, args.enc_in)
        self.data_stamp = torch.rand(border + args.pred_len, 4) - 0.5

    def __len__(self):
        return len(self.data_x) - self.args.seq_len + 1

    def __getitem__(self, index):
        s_end = index + self.args.seq_len
        r_begin = s_end - self.args.label_len
        r_end = r_begin + self.args.label_len + self.args.pred_len
        seq_x = self.data_x[index:s_end]
        seq_y = self.data_x[r_begin:r_begin + self.args.label_len]
        return seq_x, seq_y, self.data_stamp[index:s_end], self.data_stamp[r_begin:r_end]


class Exp_Main:
    def __init__(self, args):
        self.args = args
        self.model = Model(args)

    def predict(self, model):
        loader = torch.utils.data.DataLoader(Dataset_Pred(self.args), batch_size=4)
        batch_x, batch_y, batch_x_mark, batch_y_mark = next(iter(loader))
        dec_inp = torch.zeros_like(batch_y[:, -self.args.pred_len:, :]).float()
        dec_inp = torch.cat([batch_y[:, :self.args.label_len, :], dec_inp], dim=1).float()
        return model(batch_x, batch_x_mark, dec_inp, batch_y_mark)


exp = None


def build():
    global exp
    exp = Exp_Main(SimpleNamespace(seq_len=48, label_len=24, pred_len=72, enc_in=7, dec_in=7, c_out=7, d_model=16, freq='h'))
    return exp.model


def step(model):
    forecast = exp.predict(model)
    return F.mse_loss(forecast, torch.zeros(4, exp.args.pred_len, 7))


# real fix: dec_inp = torch.zeros([batch_y.shape[0], self.args.pred_len, batch_y.shape[2]])
# dec_inp is (4, 48, 7) while the time stamps are (4, 96, 4)
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['function:zeros_like', 'function:getitem'], dim=1, got=48, wanted=96,
             hint_any=['zeros', 'pred_len', 'cat', '96', '72', 'slice', 'length'])
MENDED = [('torch.zeros_like(batch_y[:, -self.args.pred_len:, :]).float()', 'torch.zeros([batch_y.shape[0], self.args.pred_len, batch_y.shape[2]]).float()')]
