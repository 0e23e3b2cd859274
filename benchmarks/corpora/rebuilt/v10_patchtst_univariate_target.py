import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/timeseriesAI/tsai/issues/738 (the same in #713 and #803)'
CATEGORY = 'loss'
DESCRIPTION = 'PatchTST forecasts each of the 7 input variables, the dataset holds the future of one; both are flattened before the loss.'


class RevIN(nn.Module):
    def __init__(self, c_in, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(1, c_in, 1)), nn.Parameter(torch.zeros(1, c_in, 1))

    def forward(self, x, mode):
        if mode:
            self.mean = x.mean(-1, keepdim=True).detach()
            self.std = (x.var(-1, keepdim=True, unbiased=False) + self.eps).sqrt().detach()
            return (x - self.mean) / self.std * self.weight + self.bias
        return (x - self.bias) / self.weight * self.std + self.mean


class TSTiEncoder(nn.Module):
    def __init__(self, patch_num, patch_len, n_layers, d_model, n_heads, d_ff):
        super().__init__()
        self.W_P = nn.Linear(patch_len, d_model)
        self.W_pos = nn.Parameter(torch.empty(patch_num, d_model).uniform_(-0.02, 0.02))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(d_model, n_heads, d_ff, dropout=0.0, activation='gelu', batch_first=True) for _ in range(n_layers))

    def forward(self, x):                                     # (bs, nvars, patch_num, patch_len)
        n_vars = x.shape[1]
        x = self.W_P(x)
        u = x.reshape(x.shape[0] * n_vars, x.shape[2], x.shape[3]) + self.W_pos
        for layer in self.layers:
            u = layer(u)
        return u.reshape(-1, n_vars, u.shape[-2], u.shape[-1])


class FlattenHead(nn.Module):
    def __init__(self, nf, pred_dim):
        super().__init__()
        self.flatten, self.linear = nn.Flatten(start_dim=-2), nn.Linear(nf, pred_dim)

    def forward(self, x):
        return self.linear(self.flatten(x))


class PatchTST(nn.Module):
    def __init__(self, c_in, seq_len, pred_dim, patch_len=16, stride=8, n_layers=2, d_model=16, n_heads=4, d_ff=32):
        super().__init__()
        self.patch_len, self.stride = patch_len, stride
        patch_num = math.ceil((seq_len - patch_len) / stride) + 1
        self.pad = nn.ReplicationPad1d((0, (patch_num - 1) * stride + patch_len - seq_len))
        self.revin = RevIN(c_in)
        self.backbone = TSTiEncoder(patch_num, patch_len, n_layers, d_model, n_heads, d_ff)
        self.head = FlattenHead(patch_num * d_model, pred_dim)

    def forward(self, x):
        z = self.pad(self.revin(x, True))
        z = z.unfold(-1, self.patch_len, self.stride)
        return self.revin(self.head(self.backbone(z)), False)


class MSELossFlat(nn.Module):
    """MSE over flattened tensors, as fastai has it."""

    def forward(self, inp, targ):
        return F.mse_loss(inp.contiguous().view(-1), targ.contiguous().view(-1))


def prepare_forecasting_data(df, fcst_history, fcst_horizon, x_vars, y_vars, stride=1):
    X, y = [], []
    for start in range(0, len(df) - fcst_history - fcst_horizon + 1, stride):
        window = df[start:start + fcst_history + fcst_horizon]
        X.append(window[:fcst_history, x_vars].T)
        y.append(window[fcst_history:, y_vars].T)
    return torch.stack(X), torch.stack(y)


def build():
    return PatchTST(c_in=7, seq_len=104, pred_dim=60)


def step(model):
    df = torch.randn(360, 7).cumsum(0) * 0.1                  # national illness: ILITOTAL, OT, ...
    columns = list(range(7))
    X, y = prepare_forecasting_data(df, 104, 60, x_vars=columns, y_vars=columns[-1:], stride=4)
    y = y.squeeze(1)
    batch = torch.randperm(len(X))[:16]
    return MSELossFlat()(model(X[batch]), y[batch])


# real fix: y of shape (samples, variables, horizon) with all the input variables (the model forecasts each of its inputs)
# offending tensor: y (16, 60), flattened 960, where the forecast is (16, 7, 60), flattened 6720
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['target', 'head', 'input'], dim=0, got=960, wanted=6720,
             hint_any=['6720', '7', 'target', 'variable'])
MENDED = [('y_vars=columns[-1:], stride=4)', 'y_vars=columns, stride=4)'), ('    y = y.squeeze(1)\n', '')]
