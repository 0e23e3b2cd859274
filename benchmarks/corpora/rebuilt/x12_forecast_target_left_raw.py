import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/sktime/pytorch-forecasting/issues/2360'
CATEGORY = 'silent'
DESCRIPTION = 'Forecasting: the encoder window is normalised with its own mean and std, the decoder target of the same series stays on its raw scale.'


class EncoderNormalizer:
    """Fitted on one encoder window."""

    def fit_transform(self, y):
        self.center_, self.scale_ = y.mean(), y.std().clamp(min=1e-6)
        return self.transform(y)

    def transform(self, y):
        return (y - self.center_) / self.scale_

    def get_parameters(self):
        return torch.stack([self.center_, self.scale_])


class TimeSeries:
    def __init__(self, n_series=4, length=80):
        t = torch.arange(length).float()
        level, period = 100 + 80 * torch.rand(n_series, 1), torch.randint(6, 14, (n_series, 1))
        self.target = level + 0.3 * t + 12 * torch.sin(2 * torch.pi * t / period) + torch.randn(n_series, length)
        self.covariates = torch.stack([torch.sin(2 * torch.pi * t / 7), torch.cos(2 * torch.pi * t / 7)], dim=1)

    def __getitem__(self, i):
        return dict(target=self.target[i], features=self.covariates)


class ProcessedEncoderDecoderDataset(Dataset):
    def __init__(self, series, windows, target_normalizer):
        self.series, self.windows, self.target_normalizer = series, windows, target_normalizer

    def __len__(self):
        return len(self.windows)

    def __getitem__(self, idx):
        series_idx, start, enc_length, pred_length = self.windows[idx]
        data = self.series[series_idx]
        encoder_indices = slice(start, start + enc_length)
        decoder_indices = slice(start + enc_length, start + enc_length + pred_length)
        target_past = self.target_normalizer.fit_transform(data['target'][encoder_indices])
        x = dict(
            encoder_cont=data['features'][encoder_indices],
            decoder_cont=data['features'][decoder_indices],
            target_past=target_past.unsqueeze(-1),
            target_scale=self.target_normalizer.get_parameters(),
        )
        y = data['target'][decoder_indices]
        if y.ndim == 1:
            y = y.unsqueeze(-1)
        return x, y


class EncoderDecoderDataModule:
    def __init__(self, series, max_encoder_length=24, max_prediction_length=8, batch_size=10):
        windows = [(i, s, max_encoder_length, max_prediction_length) for i in range(4) for s in range(0, 40, 4)]
        self.batch_size = batch_size
        self.train_dataset = ProcessedEncoderDecoderDataset(series, windows, EncoderNormalizer())

    def train_dataloader(self):
        return DataLoader(self.train_dataset, batch_size=self.batch_size, shuffle=True)


class RecurrentForecaster(nn.Module):
    def __init__(self, n_cont=2, hidden=24):
        super().__init__()
        self.encoder = nn.LSTM(n_cont + 1, hidden, batch_first=True)
        self.decoder = nn.LSTM(n_cont, hidden, batch_first=True)
        self.norm = nn.LayerNorm(hidden)
        self.output_layer = nn.Linear(hidden, 1)

    def forward(self, x):
        _, state = self.encoder(torch.cat([x['encoder_cont'], x['target_past']], dim=-1))
        out, _ = self.decoder(x['decoder_cont'], state)
        return self.output_layer(self.norm(out))

    def predict(self, x):
        center, scale = x['target_scale'][:, None, None].unbind(-1)
        return self(x) * scale + center

    def training_step(self, batch, loss):
        x, y = batch
        return loss(self(x), y)


def build():
    return RecurrentForecaster()


def step(model):
    datamodule = EncoderDecoderDataModule(TimeSeries())
    batch = next(iter(datamodule.train_dataloader()))
    return model.training_step(batch, nn.L1Loss())


# real fix: y = self.target_normalizer.transform(data['target'][decoder_indices]), with what was fitted on the encoder window
TRUTH = dict(raises=None, at='loss:l1_loss', culprits=['target'], dim=None, got=None, wanted=None,
             hint_any=['scale', 'normali', 'range', 'magnitude', 'standard'])
MENDED = [("        y = data['target'][decoder_indices]\n", "        y = self.target_normalizer.transform(data['target'][decoder_indices])\n")]
