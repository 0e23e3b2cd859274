import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/open-mmlab/mmpose/issues/2193'
CATEGORY = 'loss'
DESCRIPTION = 'Top-down pose: the head of an HRNet config (deconv_out_channels=None) is put on a ResNet; it predicts 8x6 where the codec draws 64x48 heat maps.'

codec = dict(type='MSRAHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2)
model_cfg = dict(
    type='TopdownPoseEstimator',
    backbone=dict(type='ResNet', depth=10, base=8, num_stages=4),
    head=dict(type='HeatmapHead', in_channels=64, out_channels=25, deconv_out_channels=None,
              deconv_kernel_sizes=(4, 4, 4), loss=dict(use_target_weight=True)))


class BasicBlock(nn.Module):
    def __init__(self, inplanes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(planes)
        self.downsample = None
        if stride != 1 or inplanes != planes:
            self.downsample = nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(out + identity)


class ResNet(nn.Module):
    def __init__(self, base=8, num_stages=4, **kwargs):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, base, 7, 2, 3, bias=False), nn.BatchNorm2d(base), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.res_layers = nn.ModuleList(BasicBlock(base * 2 ** max(i - 1, 0), base * 2 ** i, 1 if i == 0 else 2) for i in range(num_stages))

    def forward(self, x):
        x = self.stem(x)
        outs = []
        for layer in self.res_layers:
            x = layer(x)
            outs.append(x)
        return tuple(outs[-1:])


class KeypointMSELoss(nn.Module):
    def __init__(self, use_target_weight=False, loss_weight=1.):
        super().__init__()
        self.use_target_weight, self.loss_weight = use_target_weight, loss_weight

    def forward(self, output, target, target_weights):
        if self.use_target_weight:
            loss = F.mse_loss(output, target, reduction='none') * target_weights[:, :, None, None]
            return loss.mean() * self.loss_weight
        return F.mse_loss(output, target) * self.loss_weight


class HeatmapHead(nn.Module):
    def __init__(self, in_channels, out_channels, deconv_out_channels=(256, 256, 256), deconv_kernel_sizes=(4, 4, 4), loss=None, **kwargs):
        super().__init__()
        if deconv_out_channels:
            self.deconv_layers = self._make_deconv_layers(in_channels, deconv_out_channels, deconv_kernel_sizes)
            in_channels = deconv_out_channels[-1]
        else:
            self.deconv_layers = nn.Identity()
        self.final_layer = nn.Conv2d(in_channels, out_channels, kernel_size=1)
        self.loss_module = KeypointMSELoss(**loss)

    def _make_deconv_layers(self, in_channels, layer_out_channels, kernel_sizes):
        layers = []
        for out, k in zip(layer_out_channels, kernel_sizes):
            layers += [nn.ConvTranspose2d(in_channels, out, k, stride=2, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            in_channels = out
        return nn.Sequential(*layers)

    def forward(self, feats):
        return self.final_layer(self.deconv_layers(feats[-1]))

    def loss(self, feats, data_samples):
        pred_fields = self.forward(feats)
        gt_heatmaps = torch.stack([d['heatmaps'] for d in data_samples])
        keypoint_weights = torch.stack([d['keypoint_weights'] for d in data_samples])
        return dict(loss_kpt=self.loss_module(pred_fields, gt_heatmaps, keypoint_weights))


class TopdownPoseEstimator(nn.Module):
    def __init__(self, backbone, head, **kwargs):
        super().__init__()
        self.backbone, self.head = ResNet(**backbone), HeatmapHead(**head)

    def forward(self, inputs, data_samples):
        return self.head.loss(self.backbone(inputs), data_samples)


def encode(keypoints, visible):
    w, h = codec['heatmap_size']
    scale = codec['input_size'][0] / w
    xs, ys = torch.arange(w).view(1, 1, w), torch.arange(h).view(1, h, 1)
    mu = keypoints / scale
    d = (xs - mu[:, 0, None, None]) ** 2 + (ys - mu[:, 1, None, None]) ** 2
    return dict(heatmaps=torch.exp(-d / (2 * codec['sigma'] ** 2)), keypoint_weights=visible.float())


def build():
    return TopdownPoseEstimator(**model_cfg)


def step(model):
    w, h = codec['input_size']
    inputs = torch.randn(4, 3, h, w)
    samples = [encode(torch.rand(25, 2) * torch.tensor([w, h]), torch.rand(25) > 0.3) for _ in range(4)]
    losses = model(inputs, samples)
    return sum(losses.values())


# real fix: a ResNet (stride 32) needs the three deconvolutions: deconv_out_channels=(256, 256, 256)
# offending tensor: pred_fields (4, 25, 8, 6)
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['head.deconv_layers', 'head', 'head.final_layer', 'backbone'], dim=3, got=6, wanted=48,
             hint_any=['deconv', 'upsampl', 'interpolate', 'stride', '8'])
MENDED = [('deconv_out_channels=None,', 'deconv_out_channels=(64, 64, 64),')]
