import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/sktime/pytorch-forecasting/issues/1071 (numbers of issue 1065: 1x35 and 24x64; repaired in pull 1359)'
CATEGORY = 'layer'
DESCRIPTION = 'N-HiTS sizes its first layer with the covariates that are known in the future, for past and future alike; the past has more of them.'

HPARAMS = dict(
    context_length=6, prediction_length=3, output_size=1, static_hidden_size=0, hidden_size=64, n_blocks=(1, 1, 1), n_layers=2,
    pooling_sizes=(2, 2, 1), downsample=(3, 2, 1), dropout=0.1,
    target='value',
    time_varying_reals_encoder=['time_idx', 'relative_time_idx', 'log_value', 'exp_value', 'value'],
    time_varying_reals_decoder=['time_idx', 'relative_time_idx'],
)


def linear(in_features, out_features, dropout):
    return [nn.Linear(in_features, out_features), nn.ReLU(), nn.Dropout(dropout)]


class IdentityBasis(nn.Module):
    def __init__(self, backcast_size, forecast_size):
        super().__init__()
        self.backcast_size, self.forecast_size = backcast_size, forecast_size

    def forward(self, backcast_theta, forecast_theta):
        forecast = F.interpolate(forecast_theta, size=self.forecast_size, mode='linear')
        return backcast_theta, forecast


class NHiTSBlock(nn.Module):
    def __init__(self, hp, covariate_size, pooling_size, downsample):
        super().__init__()
        self.context_length, self.prediction_length = hp['context_length'], hp['prediction_length']
        self.output_size, self.covariate_size = hp['output_size'], covariate_size
        self.n_theta = max(self.prediction_length // downsample, 1)
        pooled = -(-self.context_length // pooling_size)
        self.pooling_layer = nn.MaxPool1d(pooling_size, stride=pooling_size, ceil_mode=True)
        sizes = [pooled * self.output_size + (self.context_length + self.prediction_length) * covariate_size + hp['static_hidden_size']]
        sizes += [hp['hidden_size']] * hp['n_layers']
        layers = [m for i, o in zip(sizes, sizes[1:]) for m in linear(i, o, hp['dropout'])]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], self.context_length * self.output_size + self.n_theta * self.output_size))
        self.basis = IdentityBasis(self.context_length, self.prediction_length)

    def forward(self, encoder_y, encoder_x_t, decoder_x_t):
        batch_size = len(encoder_y)
        y = self.pooling_layer(encoder_y.transpose(1, 2)).transpose(1, 2).reshape(batch_size, -1)
        if self.covariate_size > 0:
            y = torch.cat((y, encoder_x_t.reshape(batch_size, -1), decoder_x_t.reshape(batch_size, -1)), 1)
        theta = self.layers(y)
        backcast, forecast = theta.split([self.context_length * self.output_size, self.n_theta * self.output_size], dim=1)
        backcast, forecast = self.basis(backcast.view(batch_size, self.output_size, -1), forecast.view(batch_size, self.output_size, -1))
        return backcast.transpose(1, 2), forecast.transpose(1, 2)


class NHiTS(nn.Module):
    def __init__(self, hparams):
        super().__init__()
        self.hparams = hparams
        self.blocks = nn.ModuleList(NHiTSBlock(hparams, self.covariate_size, p, d)
                                    for n, p, d in zip(hparams['n_blocks'], hparams['pooling_sizes'], hparams['downsample']) for _ in range(n))

    @property
    def encoder_covariates(self):
        return [n for n in self.hparams['time_varying_reals_encoder'] if n != self.hparams['target']]

    @property
    def decoder_covariates(self):
        return [n for n in self.hparams['time_varying_reals_decoder'] if n != self.hparams['target']]

    @property
    def covariate_size(self):
        return len(self.decoder_covariates)

    def forward(self, x):
        names = self.hparams['time_varying_reals_encoder']
        pick = lambda t, wanted: t[..., [names.index(n) for n in wanted]]
        encoder_y = pick(x['encoder_cont'], [self.hparams['target']])
        encoder_x_t, decoder_x_t = pick(x['encoder_cont'], self.encoder_covariates), pick(x['decoder_cont'], self.decoder_covariates)
        level = encoder_y[:, -1:]
        residual, forecast = encoder_y - level, level.repeat(1, self.hparams['prediction_length'], 1)
        backcasts = []
        for block in self.blocks:
            block_backcast, block_forecast = block(residual, encoder_x_t, decoder_x_t)
            residual = residual - block_backcast
            forecast = forecast + block_forecast
            backcasts.append(residual)
        return dict(prediction=forecast, backcast=torch.stack(backcasts).mean(0))


def build():
    return NHiTS(HPARAMS)


def step(model):
    value = 2 + torch.rand(16, 9).cumsum(1)
    t = torch.arange(9.).expand(16, 9)
    columns = dict(time_idx=t, relative_time_idx=t / 9, log_value=value.log(), exp_value=(value / 8).exp(), value=value)
    cont = torch.stack([columns[n] for n in HPARAMS['time_varying_reals_encoder']], dim=-1)
    out = model(dict(encoder_cont=cont[:, :6], decoder_cont=cont[:, 6:]))
    return F.smooth_l1_loss(out['prediction'].squeeze(-1), value[:, 6:]) + 0.1 * out['backcast'].abs().mean()


# real fix: count past and future covariates by themselves: context_length * encoder_covariate_size + prediction_length * decoder_covariate_size
# offending tensor: input of blocks.0.layers.0 (16, 3 + 6*4 + 3*2 = 33); the layer was built for 3 + 9*2 = 21
TRUTH = dict(raises='RuntimeError', at='module:blocks.0.layers.0', culprits=['blocks.0.layers.0', 'blocks.0', 'function:cat', 'input'], dim=1, got=33, wanted=21,
             hint_any=['covariate', 'encoder', 'in_features', 'cat'])
MENDED = [('(self.context_length + self.prediction_length) * covariate_size',
           'self.context_length * len([n for n in hp[\'time_varying_reals_encoder\'] if n != hp[\'target\']]) + self.prediction_length * covariate_size')]
