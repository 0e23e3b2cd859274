import torch
import torch.nn as nn

SOURCE = 'https://github.com/Nixtla/neuralforecast/pull/1072'
CATEGORY = 'layer'
DESCRIPTION = ('NBEATSx with an exogenous stack: with future and static features the basis is their concatenation along the features, '
               'but static features have no time axis: (16, 36, 3) and (16, 4).')

H, INPUT_SIZE = 12, 24


class IdentityBasis(nn.Module):
    def __init__(self, backcast_size, forecast_size):
        super().__init__()
        self.backcast_size, self.forecast_size = backcast_size, forecast_size

    def forward(self, theta):
        return theta[:, :self.backcast_size], theta[:, self.backcast_size:]


class ExogenousBasis(nn.Module):
    def __init__(self, forecast_size):
        super().__init__()
        self.forecast_size = forecast_size

    def forward(self, theta, futr_exog):
        backcast_basis = futr_exog[:, :-self.forecast_size, :].permute(0, 2, 1)
        forecast_basis = futr_exog[:, -self.forecast_size:, :].permute(0, 2, 1)
        cut_point = forecast_basis.shape[1]
        backcast = torch.einsum('bp,bpt->bt', theta[:, cut_point:], backcast_basis)
        forecast = torch.einsum('bp,bpt->bt', theta[:, :cut_point], forecast_basis)
        return backcast, forecast


class NBEATSBlock(nn.Module):
    def __init__(self, input_size, h, futr_input_size, hist_input_size, stat_input_size, n_theta, mlp_units, basis):
        super().__init__()
        self.input_size, self.h = input_size, h
        self.futr_input_size, self.hist_input_size, self.stat_input_size = futr_input_size, hist_input_size, stat_input_size
        width = input_size + hist_input_size * input_size + futr_input_size * (input_size + h) + stat_input_size
        layers = []
        for units in mlp_units:
            layers += [nn.Linear(width, units), nn.ReLU()]
            width = units
        self.layers = nn.Sequential(*layers, nn.Linear(width, n_theta))
        self.basis = basis

    def forward(self, insample_y, futr_exog, hist_exog, stat_exog):
        batch_size = len(insample_y)
        if self.hist_input_size > 0:
            insample_y = torch.cat((insample_y, hist_exog.reshape(batch_size, -1)), dim=1)
        if self.futr_input_size > 0:
            insample_y = torch.cat((insample_y, futr_exog.reshape(batch_size, -1)), dim=1)
        if self.stat_input_size > 0:
            insample_y = torch.cat((insample_y, stat_exog.reshape(batch_size, -1)), dim=1)
        theta = self.layers(insample_y)

        if isinstance(self.basis, ExogenousBasis):
            if self.futr_input_size > 0 and self.stat_input_size > 0:
                futr_exog = torch.cat((futr_exog, stat_exog), dim=2)
            elif self.stat_input_size > 0:
                futr_exog = stat_exog.unsqueeze(1).expand(-1, self.input_size + self.h, -1)
            return self.basis(theta, futr_exog)
        return self.basis(theta)


class NBEATSx(nn.Module):
    def __init__(self, h, input_size, n_futr, n_hist, n_stat, stack_types=('identity', 'exogenous'), mlp_units=(32, 32)):
        super().__init__()
        self.h = h
        self.blocks = nn.ModuleList()
        for kind in stack_types:
            if kind == 'identity':
                n_theta, basis = input_size + h, IdentityBasis(input_size, h)
            else:
                n_theta, basis = 2 * (n_futr + n_stat), ExogenousBasis(h)
            self.blocks.append(NBEATSBlock(input_size, h, n_futr, n_hist, n_stat, n_theta, mlp_units, basis))

    def forward(self, windows_batch):
        residuals = windows_batch['insample_y'].flip(dims=(-1,))
        forecast = windows_batch['insample_y'][:, -1:].repeat(1, self.h)
        for block in self.blocks:
            backcast, block_forecast = block(residuals, windows_batch['futr_exog'], windows_batch['hist_exog'], windows_batch['stat_exog'])
            residuals = residuals - backcast
            forecast = forecast + block_forecast
        return forecast


class MAE(nn.Module):
    def forward(self, y, y_hat, mask):
        return (torch.abs(y - y_hat) * mask).sum() / mask.sum()


def build():
    return NBEATSx(H, INPUT_SIZE, n_futr=3, n_hist=1, n_stat=4)


def step(model):
    n = 16
    windows = dict(insample_y=torch.randn(n, INPUT_SIZE), futr_exog=torch.randn(n, INPUT_SIZE + H, 3),
                   hist_exog=torch.randn(n, INPUT_SIZE, 1), stat_exog=torch.randn(n, 4))
    return MAE()(torch.randn(n, H), model(windows), torch.ones(n, H))


# stat_exog.unsqueeze(1).expand(-1, futr_exog.shape[1], -1)
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['function:cat'], dim=None, got=None, wanted=None,
             hint_any=['unsqueeze', 'expand', 'dimension', 'time', 'stat'])
MENDED = [('torch.cat((futr_exog, stat_exog), dim=2)',
           'torch.cat((futr_exog, stat_exog.unsqueeze(1).expand(-1, futr_exog.shape[1], -1)), dim=2)')]
