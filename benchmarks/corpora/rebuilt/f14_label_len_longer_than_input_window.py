from types import SimpleNamespace

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/cure-lab/LTSF-Linear/issues/57'
CATEGORY = 'layer'
DESCRIPTION = 'NLinear with seq_len=6 and pred_len=6: the default label_len=48 makes r_begin negative for the first windows, whose target slices come out empty.'


def parse(**kwargs):
    args = dict(model='NLinear', features='M', seq_len=96, label_len=48, pred_len=96, enc_in=8, individual=False, batch_size=16, freq='h')
    args.update(kwargs)
    return SimpleNamespace(**args)


class StandardScaler:
    def fit(self, data):
        self.mean, self.std = data.mean(0), data.std(0)

    def transform(self, data):
        return (data - self.mean) / self.std


class DatasetCustom(Dataset):
    def __init__(self, size, flag='train', n=300, channels=8):
        self.seq_len, self.label_len, self.pred_len = size
        g = torch.Generator().manual_seed(5)
        df = torch.randn(n, channels, generator=g).cumsum(0)
        num_train, num_test = int(n * 0.7), int(n * 0.2)
        border1s = [0, n - num_test - self.seq_len - 30, n - num_test - self.seq_len]
        border2s = [num_train, n - num_test, n]
        i = ['train', 'val', 'test'].index(flag)
        self.scaler = StandardScaler()
        self.scaler.fit(df[:num_train])
        data = self.scaler.transform(df)[border1s[i]:border2s[i]]
        self.data_x, self.data_y = data, data
        hours = torch.arange(n)[border1s[i]:border2s[i]]
        self.data_stamp = torch.stack([hours % 24 / 23.0 - 0.5, hours // 24 % 7 / 6.0 - 0.5], dim=1)

    def __getitem__(self, index):
        s_begin = index
        s_end = s_begin + self.seq_len
        r_begin = s_end - self.label_len
        r_end = r_begin + self.label_len + self.pred_len
        seq_x = self.data_x[s_begin:s_end]
        seq_y = self.data_y[r_begin:r_end]
        return seq_x, seq_y, self.data_stamp[s_begin:s_end], self.data_stamp[r_begin:r_end]

    def __len__(self):
        return len(self.data_x) - self.seq_len - self.pred_len + 1


class NLinear(nn.Module):
    def __init__(self, configs):
        super().__init__()
        self.seq_len, self.pred_len = configs.seq_len, configs.pred_len
        self.channels, self.individual = configs.enc_in, configs.individual
        if self.individual:
            self.Linear = nn.ModuleList(nn.Linear(self.seq_len, self.pred_len) for _ in range(self.channels))
        else:
            self.Linear = nn.Linear(self.seq_len, self.pred_len)

    def forward(self, x):
        seq_last = x[:, -1:, :].detach()
        x = x - seq_last
        if self.individual:
            x = torch.stack([linear(x[:, :, i]) for i, linear in enumerate(self.Linear)], dim=-1)
        else:
            x = self.Linear(x.permute(0, 2, 1)).permute(0, 2, 1)
        return x + seq_last


class ExpMain:
    def __init__(self, args, model):
        self.args, self.model = args, model
        self.criterion = nn.MSELoss()

    def get_data(self, flag):
        a = self.args
        data_set = DatasetCustom([a.seq_len, a.label_len, a.pred_len], flag, channels=a.enc_in)
        g = torch.Generator().manual_seed(0)
        return DataLoader(data_set, batch_size=a.batch_size, shuffle=flag == 'train', drop_last=True, generator=g)

    def train_epoch(self):
        losses = []
        for batch_x, batch_y, batch_x_mark, batch_y_mark in self.get_data('train'):
            outputs = self.model(batch_x)
            f_dim = -1 if self.args.features == 'MS' else 0
            outputs = outputs[:, -self.args.pred_len:, f_dim:]
            batch_y = batch_y[:, -self.args.pred_len:, f_dim:]
            losses.append(self.criterion(outputs, batch_y))
        return torch.stack(losses).mean()


args = parse(seq_len=6, pred_len=6)


def build():
    return NLinear(args)


def step(model):
    return ExpMain(args, model).train_epoch()


# real fix: --label_len 0 (any value up to seq_len)
# offending tensor: seq_y (0, 8) of an early window, others are (54, 8)
TRUTH = dict(raises='RuntimeError', at='function:stack', culprits=['function:getitem', 'input', 'target'], dim=0, got=0, wanted=54,
             hint_any=['label_len', 'slice', 'negative', 'empty', 'length'])
MENDED = [('args = parse(seq_len=6, pred_len=6)', 'args = parse(seq_len=6, label_len=0, pred_len=6)')]
