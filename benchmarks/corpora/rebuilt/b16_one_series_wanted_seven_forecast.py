import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/timeseriesAI/tsai/issues/738 (what to do instead is said in issue 682: cut the channel out of the outputs, f_dim)'
CATEGORY = 'loss'
DESCRIPTION = 'PatchTST forecasts all 7 channels that it is given, the targets hold one of them (16, 60); the flat loss compares 6720 numbers with 960.'


class RevIN(nn.Module):
    def __init__(self, c_in, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(1, c_in, 1)), nn.Parameter(torch.zeros(1, c_in, 1))

    def normalize(self, x):
        self.sub = x.mean(-1, keepdim=True).detach()
        self.div = torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + self.eps).detach()
        return (x - self.sub) / self.div * self.weight + self.bias

    def denormalize(self, x):
        return (x - self.bias) / self.weight * self.div + self.sub


class FlattenHead(nn.Module):
    def __init__(self, nf, pred_dim, head_dropout=0.):
        super().__init__()
        self.flatten = nn.Flatten(start_dim=-2)
        self.layers = nn.Sequential(nn.Linear(nf, pred_dim), nn.Dropout(head_dropout))

    def forward(self, x):
        return self.layers(self.flatten(x))


class PatchTST(nn.Module):
    def __init__(self, c_in, c_out, seq_len, pred_dim, n_layers=2, n_heads=4, d_model=16, d_ff=32, dropout=0.1, patch_len=16, stride=8, padding_patch=True):
        super().__init__()
        self.n_vars, self.patch_len, self.stride = c_in, patch_len, stride
        patch_num = (seq_len - patch_len) // stride + 1 + int(padding_patch)
        self.revin_layer = RevIN(c_in)
        self.padding_patch_layer = nn.ReplicationPad1d((0, stride)) if padding_patch else nn.Identity()
        self.W_P = nn.Linear(patch_len, d_model)
        self.W_pos = nn.Parameter(torch.empty(patch_num, d_model).uniform_(-0.02, 0.02))
        layer = nn.TransformerEncoderLayer(d_model, n_heads, d_ff, dropout, 'gelu', batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, n_layers)
        self.head = FlattenHead(d_model * patch_num, pred_dim, dropout)

    def forward(self, z):
        z = self.padding_patch_layer(self.revin_layer.normalize(z))
        z = z.unfold(dimension=-1, size=self.patch_len, step=self.stride)
        u = self.W_P(z).flatten(0, 1) + self.W_pos
        u = self.encoder(u).unflatten(0, (-1, self.n_vars))
        z = self.head(u.transpose(-1, -2))
        return self.revin_layer.denormalize(z)


class BaseLoss:
    """Same as loss_cls, but flattens input and target."""

    def __init__(self, loss_cls, axis=-1, floatify=True, flatten=True):
        self.func, self.axis, self.floatify, self.flatten = loss_cls(), axis, floatify, flatten

    def __call__(self, inp, targ):
        inp, targ = (t.transpose(self.axis, -1).contiguous() for t in (inp, targ))
        if self.floatify and targ.dtype != torch.float32:
            targ = targ.float()
        if self.flatten:
            inp, targ = inp.view(-1), targ.view(-1)
        return self.func(inp, targ)


class Learner:
    def __init__(self, dls, model, loss_func, target=-1):
        self.dls, self.model, self.loss_func, self.target = dls, model, loss_func, target

    def one_batch(self, xb, yb):
        self.pred = self.model(xb)
        self.loss = self.loss_func(self.pred, yb)
        return self.loss


def sliding_windows(data, window, horizon, n):
    starts = torch.linspace(0, data.size(1) - window - horizon, n).long()
    X = torch.stack([data[:, s:s + window] for s in starts])
    y = torch.stack([data[-1, s + window:s + window + horizon] for s in starts])
    return X, y


def build():
    return PatchTST(c_in=7, c_out=1, seq_len=104, pred_dim=60)


def step(model):
    data = torch.randn(7, 966).cumsum(1) / 5
    X, y = sliding_windows(data, window=104, horizon=60, n=32)
    dls = zip(X.split(16), y.split(16))
    learn = Learner(dls, model, BaseLoss(nn.MSELoss))
    losses = [learn.one_batch(xb, yb) for xb, yb in learn.dls]
    return torch.stack(losses).mean()


# real fix: the loss is for the wanted channel only, self.pred[:, self.target]; the model has one output series per input series, c_out is ignored
# offending tensor: pred (16, 7, 60) for targets (16, 60)
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['target', 'input', 'function:view', ''], dim=0, got=960, wanted=6720,
             hint_any=['channel', 'n_vars', 'variables', 'series', '[:,', '7 times', '7×', '×7', '(16, 7, 60)'])
MENDED = [('self.pred = self.model(xb)', 'self.pred = self.model(xb)[:, self.target]')]
