import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/open-mmlab/mmdetection/blob/main/mmdet/models/backbones/resnet.py'
CATEGORY = 'correct'
DESCRIPTION = 'Detector fine-tuning with frozen stages: train() puts the norms into eval mode again, and the optimizer gets only what requires grad.'


class BasicBlock(nn.Module):
    def __init__(self, inplanes, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.downsample(x))


class ResNet(nn.Module):
    def __init__(self, base=8, num_stages=3, frozen_stages=1, norm_eval=True):
        super().__init__()
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        self.conv1 = nn.Conv2d(3, base, 3, 2, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(base)
        self.res_layers = []
        for i in range(num_stages):
            self.add_module(f'layer{i + 1}', BasicBlock(base * 2 ** max(i - 1, 0), base * 2 ** i, 1 if i == 0 else 2))
            self.res_layers.append(f'layer{i + 1}')
        self._freeze_stages()

    def _freeze_stages(self):
        if self.frozen_stages >= 0:
            self.norm1.eval()
            for m in [self.conv1, self.norm1]:
                for param in m.parameters():
                    param.requires_grad = False
        for i in range(1, self.frozen_stages + 1):
            m = getattr(self, f'layer{i}')
            m.eval()
            for param in m.parameters():
                param.requires_grad = False

    def forward(self, x):
        x = F.relu(self.norm1(self.conv1(x)))
        outs = []
        for name in self.res_layers:
            x = getattr(self, name)(x)
            outs.append(x)
        return outs[1:]

    def train(self, mode=True):
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for m in self.modules():
                if isinstance(m, nn.modules.batchnorm._BatchNorm):
                    m.eval()
        return self


class Detector(nn.Module):
    def __init__(self, num_classes=5, width=12):
        super().__init__()
        self.backbone = ResNet()
        self.lateral = nn.ModuleList([nn.Conv2d(c, width, 1) for c in (16, 32)])
        self.cls_conv = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.GroupNorm(4, width), nn.ReLU())
        self.retina_cls = nn.Conv2d(width, num_classes, 3, 1, 1)

    def forward(self, img):
        feats = [l(f) for l, f in zip(self.lateral, self.backbone(img))]
        feats[0] = feats[0] + F.interpolate(feats[1], size=feats[0].shape[-2:], mode='nearest')
        return [self.retina_cls(self.cls_conv(f)) for f in feats]


def build():
    return Detector()


def step(model):
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
    img = torch.randn(2, 3, 32, 24)
    scores = torch.cat([s.permute(0, 2, 3, 1).reshape(2, -1, 5) for s in model(img)], dim=1)
    target = (torch.rand_like(scores) < 0.05).float()
    avg_factor = target.sum().clamp(min=1)
    loss = F.binary_cross_entropy_with_logits(scores, target, reduction='none').sum() / avg_factor
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
