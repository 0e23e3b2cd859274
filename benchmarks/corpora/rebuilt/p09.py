from types import SimpleNamespace

import torch
import torch.nn as nn

SOURCE = 'https://github.com/jianzhnie/TsFormer/issues/2'
CATEGORY = 'loss'
DESCRIPTION = 'Recurrent baseline in a forecasting framework: it gives one output for each of the 96 input steps, pred_len is 192: the cut to the last pred_len steps keeps 96.'

args = SimpleNamespace(model='GRU', seq_len=96, label_len=48, pred_len=192, enc_in=7, c_out=7, d_model=16, e_layers=2, dropout=0.1,
                       features='M', batch_size=8)


class RNN(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.pred_len = a.pred_len
        self.embed = nn.Linear(a.enc_in, a.d_model)
        self.rnn = getattr(nn, a.model)(a.d_model, a.d_model, a.e_layers, batch_first=True, dropout=a.dropout)
        self.norm = nn.LayerNorm(a.d_model)
        self.out = nn.Linear(a.d_model, a.c_out)

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):
        mean, std = x_enc.mean(1, keepdim=True), x_enc.std(1, keepdim=True) + 1e-5
        h, _ = self.rnn(self.embed((x_enc - mean) / std))
        y = self.out(self.norm(h))
        return y * std + mean


class DatasetCustom:
    def __init__(self, a, n=400):
        self.a = a
        t = torch.arange(float(n)).unsqueeze(1)
        self.data = torch.sin(t / 24 * 6.283 + torch.rand(1, a.enc_in)) + 0.1 * torch.randn(n, a.enc_in)
        self.stamp = torch.cat([(t % 24) / 23 - 0.5, (t // 24 % 7) / 6 - 0.5], 1)

    def __getitem__(self, s):
        a = self.a
        s_end = s + a.seq_len
        r_begin, r_end = s_end - a.label_len, s_end + a.pred_len
        return self.data[s:s_end], self.data[r_begin:r_end], self.stamp[s:s_end], self.stamp[r_begin:r_end]


class Exp:
    def __init__(self, a, model):
        self.args, self.model, self.criterion = a, model, nn.MSELoss()

    def process_one_batch(self, batch_x, batch_y, mark_x, mark_y):
        a = self.args
        dec_inp = torch.cat([batch_y[:, :a.label_len], torch.zeros_like(batch_y[:, -a.pred_len:])], dim=1)
        outputs = self.model(batch_x, mark_x, dec_inp, mark_y)
        f_dim = -1 if a.features == 'MS' else 0
        outputs = outputs[:, -a.pred_len:, f_dim:]
        return outputs, batch_y[:, -a.pred_len:, f_dim:]

    def train(self):
        data = DatasetCustom(self.args)
        batch = [torch.stack(p) for p in zip(*[data[i] for i in range(self.args.batch_size)])]
        pred, true = self.process_one_batch(*batch)
        return self.criterion(pred, true)


def build():
    return RNN(args)


def step(model):
    return Exp(args, model).train()


# real fix: such a model needs pred_len <= seq_len, or a head from seq_len to pred_len steps: nn.Linear(seq_len, pred_len) over the time
# offending tensor: outputs (8, 96, 7), 192 steps expected
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['', 'rnn', 'function:getitem'], dim=1, got=96, wanted=192,
             hint_any=['pred_len', 'time', 'step', 'seq', 'length', 'slice'])
MENDED = [('        self.out = nn.Linear(a.d_model, a.c_out)\n', '        self.out = nn.Linear(a.d_model, a.c_out)\n        self.time = nn.Linear(a.seq_len, a.pred_len)\n'),
          ('y = self.out(self.norm(h))', 'y = self.time(self.out(self.norm(h)).transpose(1, 2)).transpose(1, 2)')]
