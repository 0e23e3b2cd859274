import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/maheshkkumar/fscc/issues/5'
CATEGORY = 'loss'
DESCRIPTION = ('Crowd counting: three poolings leave the density map at an eighth of the image, the ground-truth density keeps the '
               'size of the image; the answer: upsample the prediction.')


class AttentionBlock(nn.Module):
    def __init__(self, channels, reduction=4):
        super().__init__()
        self.query = nn.Conv2d(channels, channels // reduction, 1)
        self.key = nn.Conv2d(channels, channels // reduction, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        b, c, h, w = x.size()
        q = self.query(x).view(b, -1, h * w).permute(0, 2, 1)
        energy = torch.bmm(q, self.key(x).view(b, -1, h * w))
        out = torch.bmm(self.value(x).view(b, c, -1), energy.softmax(dim=-1).permute(0, 2, 1))
        return self.gamma * out.view(b, c, h, w) + x


def make_layers(cfg, in_channels=3, dilation=1):
    layers = []
    for v in cfg:
        if v == 'M':
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(in_channels, v, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
            in_channels = v
    return nn.Sequential(*layers)


class CrowdCounter(nn.Module):
    def __init__(self):
        super().__init__()
        self.frontend = make_layers([8, 8, 'M', 16, 16, 'M', 32, 32, 'M', 32])
        self.attention = AttentionBlock(32)
        self.backend = make_layers([32, 16, 8], in_channels=32, dilation=2)
        self.output_layer = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        x = self.attention(self.frontend(x))
        return F.relu(self.output_layer(self.backend(x)))


def gaussian_density(points, shape, sigma=3.0):
    ys, xs = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing='ij')
    density = torch.zeros(shape)
    for y, x in points:
        kernel = torch.exp(-((ys - y) ** 2 + (xs - x) ** 2) / (2 * sigma ** 2))
        density += kernel / kernel.sum()
    return density


class CrowdDataset(torch.utils.data.Dataset):
    def __init__(self, size=64, length=6):
        self.size, self.length = size, length

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        points = torch.randint(0, self.size, (5 + i, 2)).tolist()
        density = gaussian_density(points, (self.size, self.size))
        return torch.rand(3, self.size, self.size), density.unsqueeze(0), len(points)


def build():
    return CrowdCounter()


def step(model):
    images, gt_density, gt_count = next(iter(torch.utils.data.DataLoader(CrowdDataset(), batch_size=3)))
    pred_density = model(images)
    mse = nn.MSELoss(reduction='sum')(pred_density, gt_density) / len(images)
    count_loss = (pred_density.sum(dim=(1, 2, 3)) - gt_count).abs().mean()
    return mse + 0.01 * count_loss


# "upsampling the predicted density map to match the expected ground-truth dimension"
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['target', 'output_layer'], dim=None, got=None,
             wanted=None, hint_any=['upsampl', 'interpolate', 'pool', 'stride', 'downsampl'])
MENDED = [('return F.relu(self.output_layer(self.backend(x)))',
           "return F.interpolate(F.relu(self.output_layer(self.backend(x))), scale_factor=8, mode='bilinear') / 64")]
