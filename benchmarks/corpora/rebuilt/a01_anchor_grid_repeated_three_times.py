import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/dog-qiuqiu/Yolo-FastestV2/issues/29'
CATEGORY = 'layer'
DESCRIPTION = 'anchor_num in the data file goes from 3 to 2, but the helper that makes the cell grid repeats it a fixed three times.'

CFG = {
    'classes': 7, 'width': 320, 'height': 320, 'anchor_num': 2,
    'anchors': [10.54, 9.51, 45.60, 40.45, 119.62, 95.06, 253.71, 138.37],
}


def conv_bn(inp, oup, stride=1):
    return nn.Sequential(nn.Conv2d(inp, oup, 3, stride, 1, bias=False), nn.BatchNorm2d(oup), nn.ReLU(inplace=True))


class ShuffleStub(nn.Module):
    def __init__(self, widths=(8, 16, 24, 32, 48)):
        super().__init__()
        self.stem = nn.Sequential(*[conv_bn(i, o, 2) for i, o in zip((3,) + widths[:2], widths[:3])])
        self.stage3 = conv_bn(widths[2], widths[3], 2)
        self.stage4 = conv_bn(widths[3], widths[4], 2)

    def forward(self, x):
        c2 = self.stage3(self.stem(x))
        return c2, self.stage4(c2)


class LightFPN(nn.Module):
    def __init__(self, c2, c3, depth):
        super().__init__()
        self.reduce_3 = nn.Conv2d(c3, depth, 1)
        self.reduce_2 = nn.Conv2d(c2 + c3, depth, 1)
        self.reg_head = conv_bn(depth, depth)
        self.cls_head = conv_bn(depth, depth)

    def forward(self, c2, c3):
        p3 = self.reduce_3(c3)
        p2 = self.reduce_2(torch.cat((F.interpolate(c3, scale_factor=2), c2), 1))
        return [(self.reg_head(p), self.cls_head(p)) for p in (p2, p3)]


class Detector(nn.Module):
    def __init__(self, classes, anchor_num, depth=16):
        super().__init__()
        self.backbone = ShuffleStub()
        self.fpn = LightFPN(32, 48, depth)
        self.reg = nn.Conv2d(depth, 4 * anchor_num, 1)
        self.obj = nn.Conv2d(depth, anchor_num, 1)
        self.cls = nn.Conv2d(depth, classes, 1)

    def forward(self, x):
        outs = []
        for reg, cls in self.fpn(*self.backbone(x)):
            outs.append((self.reg(reg), self.obj(cls), self.cls(cls)))
        return outs


def make_grid(h, w, cfg, device):
    hv, wv = torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')
    return torch.stack((wv, hv), 2).repeat(1, 1, 3).reshape(h, w, cfg['anchor_num'], -1).to(device)


def handle_preds(preds, cfg, device):
    anchors = torch.tensor(cfg['anchors'], device=device).reshape(len(preds), cfg['anchor_num'], 2)
    boxes, objs = [], []
    for i, (reg, obj, cls) in enumerate(preds):
        for r, o in zip(reg, obj):
            r = r.permute(1, 2, 0)
            r = r.reshape(r.shape[0], r.shape[1], cfg['anchor_num'], -1)
            stride = cfg['height'] / r.shape[0]
            grid = make_grid(r.shape[0], r.shape[1], cfg, device)
            xy = ((r[:, :, :, :2].sigmoid() * 2. - 0.5) + grid) * stride
            wh = (r[:, :, :, 2:4].sigmoid() * 2) ** 2 * anchors[i]
            boxes.append(torch.cat([xy, wh], -1).reshape(-1, 4))
            objs.append(o.permute(1, 2, 0).reshape(-1))
    return torch.cat(boxes), torch.cat(objs)


def build():
    return Detector(CFG['classes'], CFG['anchor_num'])


def step(model):
    imgs = torch.rand(2, 3, CFG['height'], CFG['width'])
    preds = model(imgs)
    boxes, obj = handle_preds(preds, CFG, imgs.device)
    target = torch.rand_like(boxes) * CFG['width']
    cls_loss = sum(F.cross_entropy(c, torch.randint(0, CFG['classes'], (2,) + c.shape[2:])) for _, _, c in preds)
    return F.smooth_l1_loss(boxes, target) / CFG['width'] + F.binary_cross_entropy_with_logits(obj, torch.zeros_like(obj)) + cls_loss


# real fix: .repeat(1, 1, cfg['anchor_num']): the 3 is written into make_grid
# offending tensor: grid (20, 20, 2, 3), which should be (20, 20, 2, 2)
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['function:repeat', 'function:reshape'], dim=3, got=3, wanted=2,
             hint_any=['repeat', 'grid', 'anchor_num'])
MENDED = [('.repeat(1, 1, 3)', ".repeat(1, 1, cfg['anchor_num'])")]
