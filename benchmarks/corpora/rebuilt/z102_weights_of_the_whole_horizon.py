import torch
import torch.nn as nn

SOURCE = 'https://github.com/sktime/pytorch-forecasting/pull/1318'
CATEGORY = 'layer'
DESCRIPTION = ('Forecaster with sample weights and randomize_length: the step cuts decoder inputs and targets to a random shorter '
               'horizon, the weights in y[1] keep all 10 steps.')

QUANTILES = [0.1, 0.5, 0.9]


class QuantileLoss(nn.Module):
    def __init__(self, quantiles):
        super().__init__()
        self.quantiles = quantiles

    def loss(self, y_pred, target):
        losses = []
        for i, q in enumerate(self.quantiles):
            errors = target - y_pred[..., i]
            losses.append(torch.max((q - 1) * errors, q * errors).unsqueeze(-1))
        return 2 * torch.cat(losses, dim=2)

    def mask_losses(self, losses, lengths):
        mask = torch.arange(losses.size(1))[None] < lengths[:, None]
        return losses * mask.unsqueeze(-1), mask.sum() * losses.size(-1)

    def forward(self, y_pred, y, lengths):
        target, weight = y
        losses = self.loss(y_pred, target)
        if weight is not None:
            losses = losses * weight.unsqueeze(-1)
        losses, count = self.mask_losses(losses, lengths)
        return losses.sum() / count


class GatedLinearUnit(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.fc, self.norm = nn.Linear(size, 2 * size), nn.LayerNorm(size)

    def forward(self, x, skip):
        return self.norm(nn.functional.glu(self.fc(x), dim=-1) + skip)


class TemporalFusion(nn.Module):
    def __init__(self, encoder_reals, decoder_reals, hidden_size=16, attention_head_size=2, output_size=3):
        super().__init__()
        self.enc_in, self.dec_in = nn.Linear(encoder_reals, hidden_size), nn.Linear(decoder_reals, hidden_size)
        self.lstm_encoder = nn.LSTM(hidden_size, hidden_size, batch_first=True)
        self.lstm_decoder = nn.LSTM(hidden_size, hidden_size, batch_first=True)
        self.attn = nn.MultiheadAttention(hidden_size, attention_head_size, batch_first=True)
        self.gate_lstm, self.gate_attn = GatedLinearUnit(hidden_size), GatedLinearUnit(hidden_size)
        self.output_layer = nn.Linear(hidden_size, output_size)
        self.loss = QuantileLoss(QUANTILES)

    def forward(self, x):
        enc, dec = self.enc_in(x['encoder_cont']), self.dec_in(x['decoder_cont'])
        enc_out, state = self.lstm_encoder(enc)
        dec_out, _ = self.lstm_decoder(dec, state)
        query = self.gate_lstm(dec_out, dec)
        out, _ = self.attn(query, torch.cat([enc_out, query], 1), torch.cat([enc_out, query], 1), need_weights=False)
        return self.output_layer(self.gate_attn(out, query))

    def randomize(self, x, y, ratio=0.6):
        new_decoder_length = max(1, int(x['decoder_lengths'].max() * ratio))
        x = dict(x, decoder_cont=x['decoder_cont'][:, :new_decoder_length],
                 decoder_lengths=x['decoder_lengths'].clamp(max=new_decoder_length))
        y = (y[0][:, :new_decoder_length], y[1])
        return x, y

    def step(self, batch, randomize_length=True):
        x, y = batch
        if self.training and randomize_length:
            x, y = self.randomize(x, y)
        return self.loss(self(x), y, x['decoder_lengths'])


class TimeSeriesDataSet(torch.utils.data.Dataset):
    def __init__(self, n=32, max_encoder_length=20, max_prediction_length=10):
        self.n, self.enc, self.dec = n, max_encoder_length, max_prediction_length

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        series = torch.sin(torch.arange(self.enc + self.dec) / 4 + i)
        known = torch.randn(self.enc + self.dec, 2)
        x = dict(encoder_cont=torch.cat([series[:self.enc, None], known[:self.enc]], 1), decoder_cont=known[self.enc:],
                 decoder_lengths=self.dec)
        return x, (series[self.enc:], torch.ones(self.dec) * (1 + i % 3))


def build():
    return TemporalFusion(encoder_reals=3, decoder_reals=2)


def step(model):
    batch = next(iter(torch.utils.data.DataLoader(TimeSeriesDataSet(), batch_size=16)))
    return model.train().step(batch)


# y[1][:, :new_decoder_length]
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['input', 'target', 'function:unsqueeze'], dim=1, got=10, wanted=6,
             hint_any=['weight', 'length', 'input', 'slice', 'time'])
MENDED = [('y = (y[0][:, :new_decoder_length], y[1])', 'y = (y[0][:, :new_decoder_length], y[1][:, :new_decoder_length])')]
