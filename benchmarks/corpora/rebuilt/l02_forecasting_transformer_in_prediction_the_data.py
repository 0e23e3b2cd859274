import torch
import torch.nn as nn

SOURCE = 'https://blog.gitcode.com/ee0e438c22a581c9585b9c01e0331fc2.html'
CATEGORY = 'layer'
DESCRIPTION = 'Forecasting transformer: in prediction the data set gives label_len steps of seq_y only, so the zeros for the horizon are cut from too short a series.'


class Args:
    seq_len, label_len, pred_len = 96, 48, 96
    enc_in = dec_in = c_out = 7
    d_model, n_heads, n_marks = 32, 4, 4


class DatasetPred:
    def __init__(self, args, length=400):
        self.args = args
        self.data_x = torch.randn(length, args.enc_in)
        self.data_stamp = torch.rand(length + args.pred_len, args.n_marks)

    def __getitem__(self, index):
        s_end = index + self.args.seq_len
        r_begin = s_end - self.args.label_len
        r_end = r_begin + self.args.label_len + self.args.pred_len
        seq_x = self.data_x[index:s_end]
        seq_y = self.data_x[r_begin:r_begin + self.args.label_len]
        return seq_x, seq_y, self.data_stamp[index:s_end], self.data_stamp[r_begin:r_end]


class DataEmbedding(nn.Module):
    def __init__(self, c_in, n_marks, d_model):
        super().__init__()
        self.value_embedding = nn.Conv1d(c_in, d_model, 3, padding=1, padding_mode='circular')
        self.temporal_embedding = nn.Linear(n_marks, d_model, bias=False)

    def forward(self, x, x_mark):
        return self.value_embedding(x.permute(0, 2, 1)).transpose(1, 2) + self.temporal_embedding(x_mark)


class Transformer(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.pred_len = args.pred_len
        self.enc_embedding = DataEmbedding(args.enc_in, args.n_marks, args.d_model)
        self.dec_embedding = DataEmbedding(args.dec_in, args.n_marks, args.d_model)
        self.encoder = nn.TransformerEncoderLayer(args.d_model, args.n_heads, 64, 0., batch_first=True)
        self.decoder = nn.TransformerDecoderLayer(args.d_model, args.n_heads, 64, 0., batch_first=True)
        self.projection = nn.Linear(args.d_model, args.c_out)

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):
        memory = self.encoder(self.enc_embedding(x_enc, x_mark_enc))
        out = self.decoder(self.dec_embedding(x_dec, x_mark_dec), memory)
        return self.projection(out)[:, -self.pred_len:, :]


def build():
    torch.manual_seed(0)
    return Transformer(Args())


def step(model):
    args = Args()
    data = DatasetPred(args)
    batch_x, batch_y, x_mark, y_mark = [torch.stack(t) for t in zip(*[data[i] for i in range(4)])]
    dec_inp = torch.zeros_like(batch_y[:, -args.pred_len:, :])
    dec_inp = torch.cat([batch_y[:, :args.label_len, :], dec_inp], dim=1)
    outputs = model(batch_x, x_mark, dec_inp, y_mark)
    return outputs.pow(2).mean()


# real fix: the decoder's series has label_len + pred_len steps
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['input', 'function:zeros_like'], dim=1, got=96, wanted=144,
             hint_any=['144', '96', '48'])
MENDED = [('torch.zeros_like(batch_y[:, -args.pred_len:, :])', 'torch.zeros(batch_y.shape[0], args.pred_len, batch_y.shape[2])')]
