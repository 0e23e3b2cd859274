import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/face-alignment-group-of-ahucs/SHN-based-2D-face-alignment/issues/2'
CATEGORY = 'loss'
DESCRIPTION = "Hourglass face alignment with target_type='landmarks': the data set returns coordinates (68, 2), the network returns heat maps."


class Residual(nn.Module):
    def __init__(self, ins, outs):
        super().__init__()
        self.conv = nn.Sequential(nn.BatchNorm2d(ins), nn.ReLU(), nn.Conv2d(ins, outs // 2, 1),
                                  nn.BatchNorm2d(outs // 2), nn.ReLU(), nn.Conv2d(outs // 2, outs, 3, 1, 1))
        self.skip = nn.Conv2d(ins, outs, 1) if ins != outs else nn.Identity()

    def forward(self, x):
        return self.conv(x) + self.skip(x)


class HourGlass(nn.Module):
    def __init__(self, n, f):
        super().__init__()
        self.upper = Residual(f, f)
        self.down = nn.MaxPool2d(2)
        self.inner = HourGlass(n - 1, f) if n > 1 else Residual(f, f)
        self.low = Residual(f, f)

    def forward(self, x):
        low = self.low(self.inner(self.down(x)))
        return self.upper(x) + F.interpolate(low, scale_factor=2)


class KFSGNet(nn.Module):
    def __init__(self, num_points=68, f=16):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, f, 3, 2, 1), Residual(f, f))
        self.hg = HourGlass(2, f)
        self.out = nn.Conv2d(f, num_points, 1)

    def forward(self, x):
        return self.out(self.hg(self.stem(x)))


class FaceLandmarks(torch.utils.data.Dataset):
    def __init__(self, target_type='heatmap', size=32):
        self.target_type, self.size = target_type, size

    def __len__(self):
        return 8

    def __getitem__(self, idx):
        image = torch.randn(3, 2 * self.size, 2 * self.size)
        landmarks = torch.rand(68, 2) * self.size
        if self.target_type == 'heatmap':
            g = torch.arange(self.size).float()
            d2 = (g[None, None] - landmarks[:, 0, None, None]) ** 2 + (g[None, :, None] - landmarks[:, 1, None, None]) ** 2
            return image, torch.exp(-d2 / 2)
        if self.target_type == 'landmarks':
            return image, landmarks


class Config:
    target_type = 'landmarks'
    batch_size = 4


def build():
    return KFSGNet()


def step(model):
    loader = torch.utils.data.DataLoader(FaceLandmarks(Config.target_type), batch_size=Config.batch_size)
    criterion = nn.MSELoss()
    images, targets = next(iter(loader))
    out = model(images)
    return criterion(out, targets)


# real fix: targets that match the output of the network, i.e. target_type='heatmap'
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['target'], dim=None, got=None, wanted=None,
             hint_any=['target', 'heatmap', 'heat map', 'coordinate', 'landmark'])
MENDED = [("target_type = 'landmarks'\n", "target_type = 'heatmap'\n")]
