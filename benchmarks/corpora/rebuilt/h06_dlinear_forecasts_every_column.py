import torch
import torch.nn as nn
from torch.utils.data import TensorDataset, DataLoader

SOURCE = 'https://php.xlycwl.com/faq/1675403.html (retells a Stack Overflow question on D-Linear; answer: torch.sum(outputs, dim=2))'
CATEGORY = 'loss'
DESCRIPTION = "D-Linear gets all five columns of a table and forecasts all five, the targets hold column 'A' alone."


class moving_avg(nn.Module):
    def __init__(self, kernel_size, stride):
        super(moving_avg, self).__init__()
        self.kernel_size = kernel_size
        self.avg = nn.AvgPool1d(kernel_size=kernel_size, stride=stride, padding=0)

    def forward(self, x):
        front = x[:, 0:1, :].repeat(1, (self.kernel_size - 1) // 2, 1)
        end = x[:, -1:, :].repeat(1, (self.kernel_size - 1) // 2, 1)
        x = torch.cat([front, x, end], dim=1)
        x = self.avg(x.permute(0, 2, 1))
        return x.permute(0, 2, 1)


class series_decomp(nn.Module):
    def __init__(self, kernel_size):
        super(series_decomp, self).__init__()
        self.moving_avg = moving_avg(kernel_size, stride=1)

    def forward(self, x):
        moving_mean = self.moving_avg(x)
        return x - moving_mean, moving_mean


class Model(nn.Module):
    def __init__(self, seq_len, pred_len, individual, enc_in, kernel_size=25):
        super(Model, self).__init__()
        self.seq_len, self.pred_len = seq_len, pred_len
        self.decompsition = series_decomp(kernel_size)
        self.individual = individual
        self.channels = enc_in
        if individual:
            self.Linear_Seasonal = nn.ModuleList([nn.Linear(seq_len, pred_len) for _ in range(enc_in)])
            self.Linear_Trend = nn.ModuleList([nn.Linear(seq_len, pred_len) for _ in range(enc_in)])
        else:
            self.Linear_Seasonal = nn.Linear(seq_len, pred_len)
            self.Linear_Trend = nn.Linear(seq_len, pred_len)

    def forward(self, x):
        seasonal_init, trend_init = self.decompsition(x)
        seasonal_init, trend_init = seasonal_init.permute(0, 2, 1), trend_init.permute(0, 2, 1)
        if self.individual:
            seasonal_output = torch.stack([l(seasonal_init[:, i]) for i, l in enumerate(self.Linear_Seasonal)], 1)
            trend_output = torch.stack([l(trend_init[:, i]) for i, l in enumerate(self.Linear_Trend)], 1)
        else:
            seasonal_output = self.Linear_Seasonal(seasonal_init)
            trend_output = self.Linear_Trend(trend_init)
        x = seasonal_output + trend_output
        return x.permute(0, 2, 1)


columns = ['A', 'B', 'C', 'D', 'E']


def create_sequence(data, seq_len, pred_len, target_column):
    xs, ys = [], []
    target = columns.index(target_column)
    for i in range(len(data) - seq_len - pred_len):
        xs.append(data[i:i + seq_len])
        ys.append(data[i + seq_len:i + seq_len + pred_len, target])
    return torch.stack(xs), torch.stack(ys)


def build():
    torch.manual_seed(0)
    return Model(seq_len=48, pred_len=12, individual=False, enc_in=len(columns))


def step(model):
    g = torch.Generator().manual_seed(2)
    df = torch.randn(200, len(columns), generator=g).cumsum(0)
    inputs, targets = create_sequence(df, 48, 12, 'A')
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=16)
    criterion = nn.MSELoss()
    x, y = next(iter(loader))
    outputs = model(x)
    return criterion(outputs, y)


TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['', 'target'], dim=2, got=5, wanted=None,
             hint_any=['5', 'channel', 'column', '(16, 12, 5)', 'sum', 'select'])
MENDED = [('criterion(outputs, y)', 'criterion(torch.sum(outputs, dim=2), y)')]
