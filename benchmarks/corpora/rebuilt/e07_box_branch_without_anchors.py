import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Megvii-BaseDetection/YOLOX/issues/671'
CATEGORY = 'layer'
DESCRIPTION = 'YOLOX head with n_anchors=3: class and objectness branches are multiplied with the anchors, the box branch always gives 4 channels; the joined map is viewed by anchor.'


class BaseConv(nn.Module):
    def __init__(self, cin, cout, ksize, stride):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, ksize, stride, (ksize - 1) // 2, bias=False)
        self.bn = nn.BatchNorm2d(cout)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class PAFPN(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.stem = nn.Sequential(BaseConv(3, width, 3, 2), BaseConv(width, width, 3, 2))
        self.dark3 = BaseConv(width, width, 3, 2)
        self.dark4 = BaseConv(width, 2 * width, 3, 2)
        self.lateral = BaseConv(2 * width, width, 1, 1)
        self.merge = BaseConv(2 * width, width, 3, 1)

    def forward(self, x):
        x2 = self.dark3(self.stem(x))
        x1 = self.dark4(x2)
        up = F.interpolate(self.lateral(x1), scale_factor=2)
        return self.merge(torch.cat([up, x2], 1)), x1


class YOLOXHead(nn.Module):
    def __init__(self, num_classes, n_anchors=1, strides=(8, 16), in_channels=(16, 32), width=24):
        super().__init__()
        self.n_anchors, self.num_classes, self.strides = n_anchors, num_classes, strides
        self.stems, self.cls_convs, self.reg_convs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.cls_preds, self.reg_preds, self.obj_preds = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for c in in_channels:
            self.stems.append(BaseConv(c, width, 1, 1))
            self.cls_convs.append(nn.Sequential(BaseConv(width, width, 3, 1), BaseConv(width, width, 3, 1)))
            self.reg_convs.append(nn.Sequential(BaseConv(width, width, 3, 1), BaseConv(width, width, 3, 1)))
            self.cls_preds.append(nn.Conv2d(width, self.n_anchors * self.num_classes, 1))
            self.reg_preds.append(nn.Conv2d(width, 4, 1))
            self.obj_preds.append(nn.Conv2d(width, self.n_anchors * 1, 1))

    def forward(self, xin):
        outputs = []
        for k, (x, stride) in enumerate(zip(xin, self.strides)):
            x = self.stems[k](x)
            cls_output = self.cls_preds[k](self.cls_convs[k](x))
            reg_feat = self.reg_convs[k](x)
            reg_output = self.reg_preds[k](reg_feat)
            obj_output = self.obj_preds[k](reg_feat)
            output = torch.cat([reg_output, obj_output, cls_output], 1)
            outputs.append(self.get_output_and_grid(output, stride))
        return torch.cat(outputs, 1)

    def get_output_and_grid(self, output, stride):
        batch_size = output.shape[0]
        n_ch = 5 + self.num_classes
        hsize, wsize = output.shape[-2:]
        yv, xv = torch.meshgrid(torch.arange(hsize), torch.arange(wsize), indexing='ij')
        grid = torch.stack((xv, yv), 2).view(1, -1, 2).repeat(1, self.n_anchors, 1).float()
        output = output.view(batch_size, self.n_anchors, n_ch, hsize, wsize)
        output = output.permute(0, 1, 3, 4, 2).reshape(batch_size, self.n_anchors * hsize * wsize, -1)
        xy = (output[..., :2] + grid) * stride
        wh = torch.exp(output[..., 2:4]) * stride
        return torch.cat([xy, wh, output[..., 4:]], -1)


class YOLOX(nn.Module):
    def __init__(self, num_classes=7, n_anchors=3):
        super().__init__()
        self.backbone = PAFPN()
        self.head = YOLOXHead(num_classes, n_anchors)

    def forward(self, x):
        return self.head(self.backbone(x))


def build():
    return YOLOX()


def step(model):
    out = model(torch.randn(2, 3, 64, 64))
    boxes, obj, cls = out[..., :4], out[..., 4], out[..., 5:]
    fg = torch.rand(obj.shape) > 0.9
    loss_obj = F.binary_cross_entropy_with_logits(obj, fg.float())
    loss_box = F.smooth_l1_loss(boxes[fg], torch.rand(int(fg.sum()), 4) * 64)
    loss_cls = F.cross_entropy(cls[fg], torch.randint(0, 7, (int(fg.sum()),)))
    return 5 * loss_box / 64 + loss_obj + loss_cls


# real fix: nn.Conv2d(width, self.n_anchors * 4, 1) for reg_preds
# offending tensor: output (2, 28, 8, 8), 36 channels wanted
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['head.reg_preds.0', 'head.reg_preds', 'head'], dim=1, got=28, wanted=36,
             hint_any=['reg_preds', '12', 'channel', 'anchors'])
MENDED = [('self.reg_preds.append(nn.Conv2d(width, 4, 1))', 'self.reg_preds.append(nn.Conv2d(width, self.n_anchors * 4, 1))')]
