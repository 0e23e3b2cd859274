import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Daniil-Osokin/lightweight-human-pose-estimation.pytorch/issues/161 (46x46 against 23x23; the thread has no traceback, the loss call is ours)'
CATEGORY = 'loss'
DESCRIPTION = 'Pose estimation: one convolution of the backbone was given stride 2 for speed, the data set still draws keypoint maps for a stride of 8.'


def conv_dw(cin, cout, stride=1):
    return nn.Sequential(nn.Conv2d(cin, cin, 3, stride, 1, groups=cin, bias=False), nn.BatchNorm2d(cin), nn.ReLU(),
                         nn.Conv2d(cin, cout, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


class RefinementStage(nn.Module):
    def __init__(self, cin, ch, num_heatmaps):
        super().__init__()
        self.trunk = conv_dw(cin, ch)
        self.heatmaps = nn.Conv2d(ch, num_heatmaps, 1)

    def forward(self, x):
        return self.heatmaps(self.trunk(x))


class PoseNet(nn.Module):
    def __init__(self, num_refinement_stages=1, ch=16, num_heatmaps=19):
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), conv_dw(8, ch), conv_dw(ch, ch, stride=2), conv_dw(ch, ch, stride=2),
            conv_dw(ch, ch, stride=2), conv_dw(ch, ch))
        self.initial_stage = RefinementStage(ch, ch, num_heatmaps)
        self.refinement_stages = nn.ModuleList(
            RefinementStage(ch + num_heatmaps, ch, num_heatmaps) for _ in range(num_refinement_stages))

    def forward(self, x):
        feat = self.model(x)
        stages = [self.initial_stage(feat)]
        for stage in self.refinement_stages:
            stages.append(stage(torch.cat([feat, stages[-1]], dim=1)))
        return stages


class CocoTrainDataset(torch.utils.data.Dataset):
    def __init__(self, stride, sigma=7, crop=128):
        self.stride, self.sigma, self.crop = stride, sigma, crop

    def __len__(self):
        return 4

    def __getitem__(self, idx):
        n = self.crop // self.stride
        centres = torch.arange(n) * self.stride + self.stride / 2
        points = torch.rand(18, 2) * self.crop
        d2 = (centres[None, None, :] - points[:, 0, None, None]) ** 2 + (centres[None, :, None] - points[:, 1, None, None]) ** 2
        maps = torch.exp(-d2 / (2 * self.sigma ** 2))
        background = 1 - maps.max(dim=0, keepdim=True).values
        return {'image': torch.randn(3, self.crop, self.crop), 'keypoint_maps': torch.cat([maps, background])}


def build():
    return PoseNet()


def step(model):
    stride = 8
    loader = torch.utils.data.DataLoader(CocoTrainDataset(stride), batch_size=4)
    batch = next(iter(loader))
    losses = [F.mse_loss(out, batch['keypoint_maps'], reduction='sum') / 2 / 4 for out in model(batch['image'])]
    return sum(losses)


# real fix (thread): set the stride of the data set to 16; undoing the change of the backbone would do too
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['target', 'model.4', 'model.4.0'], dim=3, got=16, wanted=8,
             hint_any=['stride', '16', 'resolution', 'downsam', 'spatial', 'target'])
MENDED = [('    stride = 8\n', '    stride = 16\n')]
