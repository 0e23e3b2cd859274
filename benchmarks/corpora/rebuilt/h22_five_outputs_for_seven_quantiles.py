import torch
import torch.nn as nn

SOURCE = 'https://github.com/sktime/pytorch-forecasting/issues/1261'
CATEGORY = 'layer'
DESCRIPTION = 'Temporal fusion transformer with output_size=5, while QuantileLoss() has seven quantiles by default. The batch holds seven series.'


class QuantileLoss(nn.Module):
    def __init__(self, quantiles=(0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)):
        super().__init__()
        self.quantiles = list(quantiles)

    def loss(self, y_pred, target):
        losses = []
        for i, q in enumerate(self.quantiles):
            errors = target - y_pred[..., i]
            losses.append(torch.max((q - 1) * errors, q * errors).unsqueeze(-1))
        return 2 * torch.cat(losses, dim=2)

    def forward(self, y_pred, target):
        return self.loss(y_pred, target).mean()


class GatedResidualNetwork(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.fc1 = nn.Linear(input_size, hidden_size)
        self.elu = nn.ELU()
        self.fc2 = nn.Linear(hidden_size, 2 * hidden_size)
        self.glu = nn.GLU(dim=-1)
        self.resample = nn.Linear(input_size, hidden_size) if input_size != hidden_size else nn.Identity()
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, x):
        return self.norm(self.glu(self.fc2(self.elu(self.fc1(x)))) + self.resample(x))


class TemporalFusionTransformer(nn.Module):
    def __init__(self, n_encoder, n_decoder, hidden_size=16, attention_head_size=1, output_size=7, loss=None):
        super().__init__()
        self.loss = QuantileLoss() if loss is None else loss
        self.encoder_grn = GatedResidualNetwork(n_encoder, hidden_size)
        self.decoder_grn = GatedResidualNetwork(n_decoder, hidden_size)
        self.lstm_encoder = nn.LSTM(hidden_size, hidden_size, batch_first=True)
        self.lstm_decoder = nn.LSTM(hidden_size, hidden_size, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(hidden_size, attention_head_size, batch_first=True)
        self.pos_wise_ff = GatedResidualNetwork(hidden_size, hidden_size)
        self.output_layer = nn.Linear(hidden_size, output_size)

    @classmethod
    def from_dataset(cls, dataset, **kwargs):
        return cls(n_encoder=dataset.n_encoder, n_decoder=dataset.n_decoder, **kwargs)

    def forward(self, x):
        encoder = self.encoder_grn(x['encoder_cont'])
        decoder = self.decoder_grn(x['decoder_cont'])
        enc, state = self.lstm_encoder(encoder)
        dec, _ = self.lstm_decoder(decoder, state)
        both = torch.cat([enc, dec], dim=1)
        attn, _ = self.multihead_attn(dec, both, both)
        return self.output_layer(self.pos_wise_ff(attn + dec))


class TimeSeriesDataSet:
    n_encoder, n_decoder = 3, 2

    def batch(self, size=7, max_encoder_length=20, max_prediction_length=6):
        g = torch.Generator().manual_seed(19)
        x = dict(encoder_cont=torch.randn(size, max_encoder_length, self.n_encoder, generator=g),
                 decoder_cont=torch.randn(size, max_prediction_length, self.n_decoder, generator=g))
        return x, torch.randn(size, max_prediction_length, generator=g)


def build():
    torch.manual_seed(0)
    training = TimeSeriesDataSet()
    return TemporalFusionTransformer.from_dataset(
        training,
        hidden_size=16,
        attention_head_size=4,
        output_size=5,
        loss=QuantileLoss(),
    )


def step(model):
    x, y = TimeSeriesDataSet().batch()
    return model.loss(model(x), y)


TRUTH = dict(raises='IndexError', at='function:getitem', culprits=['output_layer', 'loss', ''], dim=2, got=5, wanted=7,
             hint_any=['7', 'quantile', 'output_layer', 'out_features'])
MENDED = [('output_size=5,', 'output_size=7,')]
