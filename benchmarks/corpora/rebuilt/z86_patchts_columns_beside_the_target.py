import math

import torch
import torch.nn as nn

SOURCE = 'https://github.com/etna-team/etna/issues/345'
CATEGORY = 'loss'
DESCRIPTION = ('PatchTS works on the target column alone (channel independent, channels folded into the batch); with a lag '
               'feature in the data frame make_samples takes two columns and gives twice as many forecasts as targets.')


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.1, max_len=200):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.register_buffer('pe', pe)

    def forward(self, x):
        x = torch.reshape(x, (x.shape[0] * x.shape[1], x.shape[2], x.shape[3]))
        x = x.permute(1, 0, 2)
        return self.dropout(x + self.pe[: x.size(0)])


class PatchTSNet(nn.Module):
    def __init__(self, encoder_length, patch_len, stride, num_layers, hidden_size, feedforward_size, nhead):
        super().__init__()
        self.patch_len, self.stride = patch_len, stride
        layer = nn.TransformerEncoderLayer(hidden_size, nhead, feedforward_size)
        self.model = nn.Sequential(nn.Linear(patch_len, hidden_size), PositionalEncoding(hidden_size),
                                   nn.TransformerEncoder(layer, num_layers))
        max_patch_num = (encoder_length - patch_len) // stride + 1
        self.projection = nn.Sequential(nn.Flatten(start_dim=-2), nn.Linear(hidden_size * max_patch_num, 1))
        self.loss = nn.MSELoss()

    def _get_prediction(self, x):
        x = x.permute(0, 2, 1)
        x = x.unfold(dimension=-1, size=self.patch_len, step=self.stride)
        y = self.model(x)
        return self.projection(y.permute(1, 0, 2))

    def step(self, batch):
        encoder_real, decoder_real = batch['encoder_real'].float(), batch['decoder_real'].float()
        decoder_target = batch['decoder_target'].float()
        outputs, x = [], encoder_real
        for i in range(decoder_real.shape[1]):
            outputs.append(self._get_prediction(x))
            x = torch.cat((x[:, 1:, :], torch.unsqueeze(decoder_real[:, i, :], dim=1)), dim=1)
        target_prediction = torch.unsqueeze(torch.cat(outputs, dim=1), dim=2)
        return self.loss(target_prediction, decoder_target), decoder_target, target_prediction


def make_samples(df, encoder_length, decoder_length):
    numeric = [c for c in df if c not in ('segment', 'timestamp')]
    values_real = torch.stack([df[c] for c in numeric], dim=1)
    values_target = df['target'].unsqueeze(1)
    for start in range(len(values_target) - encoder_length - decoder_length + 1):
        cut, end = start + encoder_length, start + encoder_length + decoder_length
        yield dict(encoder_real=values_real[start:cut], decoder_real=values_real[cut:end],
                   encoder_target=values_target[start:cut], decoder_target=values_target[cut:end])


def lag_transform(df, lag):
    df[f'lag_{lag}'] = torch.cat([df['target'].new_zeros(lag), df['target'][:-lag]])
    return df


HORIZON = 7


def build():
    return PatchTSNet(encoder_length=2 * HORIZON, patch_len=2, stride=1, num_layers=2, hidden_size=16, feedforward_size=32, nhead=4)


def step(model):
    t = torch.arange(40.)
    df = lag_transform({'timestamp': t, 'segment': 'segment_1', 'target': torch.sin(t / 7) + 0.1 * torch.randn(40)}, HORIZON)
    samples = list(make_samples(df, 2 * HORIZON, HORIZON))[:12]
    batch = {k: torch.stack([s[k] for s in samples]) for k in samples[0]}
    loss, _, _ = model.step(batch)
    return loss


# expected behaviour by the maintainers: the model ignores all columns except target
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['input', 'function:stack', 'function:reshape', 'model.1'], dim=0,
             got=24, wanted=12, hint_any=['channel', 'column', 'feature', 'fold', 'x.shape[0] * x.shape[1]'])
MENDED = [("numeric = [c for c in df if c not in ('segment', 'timestamp')]", "numeric = ['target']")]
