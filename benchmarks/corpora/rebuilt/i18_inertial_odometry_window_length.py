import torch
import torch.nn as nn

SOURCE = 'https://github.com/CathIAS/TLIO/issues/25 (the thread names the condition, windows that are a multiple of 32; the formula is that of the training script)'
CATEGORY = 'layer'
DESCRIPTION = 'Inertial odometry ResNet: the length behind five halvings is computed as window // 32 + 1, which is one too many for windows that are a multiple of 32.'


class BasicBlock1D(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.conv1 = nn.Conv1d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm1d(cout)
        self.conv2 = nn.Conv1d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm1d(cout)
        self.downsample = nn.Sequential(nn.Conv1d(cin, cout, 1, stride, bias=False), nn.BatchNorm1d(cout)) if stride > 1 or cin != cout else None

    def forward(self, x):
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(out + (x if self.downsample is None else self.downsample(x)))


class FcBlock(nn.Module):
    def __init__(self, in_channel, out_dim, in_dim, mid=16, fc_dim=32):
        super().__init__()
        self.prep1 = nn.Conv1d(in_channel, mid, 1, bias=False)
        self.bn1 = nn.BatchNorm1d(mid)
        self.fc1 = nn.Linear(mid * in_dim, fc_dim)
        self.fc2 = nn.Linear(fc_dim, out_dim)

    def forward(self, x):
        x = self.bn1(self.prep1(x))
        return self.fc2(torch.relu(self.fc1(x.view(x.size(0), -1))))


class ResNet1D(nn.Module):
    def __init__(self, in_dim, out_dim=3, group_sizes=(1, 1, 1, 1), base=16):
        super().__init__()
        self.input_block = nn.Sequential(nn.Conv1d(6, base, 7, 2, 3, bias=False), nn.BatchNorm1d(base), nn.ReLU(), nn.MaxPool1d(3, 2, 1))
        groups, planes = [], base
        for i, n in enumerate(group_sizes):
            out = base * 2 ** i
            groups.append(nn.Sequential(*[BasicBlock1D(planes if j == 0 else out, out, 2 if i and j == 0 else 1) for j in range(n)]))
            planes = out
        self.residual_groups = nn.Sequential(*groups)
        self.output_block1 = FcBlock(planes, out_dim, in_dim)
        self.output_block2 = FcBlock(planes, out_dim, in_dim)

    def forward(self, x):
        x = self.residual_groups(self.input_block(x))
        return self.output_block1(x), self.output_block2(x)


def loss_distribution_diag(pred, pred_cov, targ):
    return ((pred - targ) ** 2 / (2 * torch.exp(2 * pred_cov)) + pred_cov).mean()


class Args:
    imu_freq = 200
    past_time = 0.4
    window_time = 2.0
    future_time = 0.0


def data_window_size(args):
    return int(round(args.imu_freq * args.past_time)) + int(args.imu_freq * args.window_time) + int(args.imu_freq * args.future_time)


def build():
    net_config = {'in_dim': data_window_size(Args) // 32 + 1}
    return ResNet1D(net_config['in_dim'])


def step(model):
    feat = torch.randn(15, 6, data_window_size(Args))
    pred, pred_cov = model(feat)
    return loss_distribution_diag(pred, pred_cov, torch.randn(15, 3))


# real fix: round up, (window + 31) // 32
TRUTH = dict(raises='RuntimeError', at='module:output_block1.fc1', culprits=['output_block1.fc1', 'output_block2.fc1', 'output_block1', 'output_block2', '', 'input'],
             dim=1, got=240, wanted=256, hint_any=['240', '256', '15', 'in_features'])
MENDED = [('data_window_size(Args) // 32 + 1', '(data_window_size(Args) + 31) // 32')]
