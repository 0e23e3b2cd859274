import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/eriklindernoren/PyTorch-YOLOv3/issues/333'
CATEGORY = 'layer'
DESCRIPTION = 'YOLOv3 from a cfg file changed to one class: the convolution before one yolo layer has filters=15 in place of 3*(1+5)=18.'

CFG = '''
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
activation=leaky

[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
activation=leaky

[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
activation=leaky

[convolutional]
filters=15
size=1
stride=1
activation=linear

[yolo]
mask=3,4,5
classes=1

[route]
layers=-3

[upsample]
stride=2

[route]
layers=-1,1

[convolutional]
filters=18
size=1
stride=1
activation=linear

[yolo]
mask=0,1,2
classes=1
'''
ANCHORS = [(10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319)]


def parse(text):
    blocks = []
    for line in filter(None, (x.strip() for x in text.splitlines())):
        if line.startswith('['):
            blocks.append({'type': line[1:-1]})
        else:
            k, v = line.split('=')
            blocks[-1][k] = v
    return blocks


class YOLOLayer(nn.Module):
    def __init__(self, anchors, num_classes):
        super().__init__()
        self.anchors, self.num_anchors, self.num_classes = anchors, len(anchors), num_classes

    def forward(self, x, targets):
        num_samples, grid_size = x.size(0), x.size(2)
        prediction = x.view(num_samples, self.num_anchors, self.num_classes + 5, grid_size, grid_size).permute(0, 1, 3, 4, 2).contiguous()
        xy, wh, conf = torch.sigmoid(prediction[..., :2]), prediction[..., 2:4], torch.sigmoid(prediction[..., 4])
        cls = torch.sigmoid(prediction[..., 5:])
        obj = torch.zeros_like(conf)
        for b, gx, gy in targets:
            obj[int(b), :, int(gy * grid_size), int(gx * grid_size)] = 1
        loss = F.binary_cross_entropy(conf, obj)
        pos = obj.bool()
        return loss + F.mse_loss(xy[pos], torch.full_like(xy[pos], 0.5)) + wh[pos].pow(2).mean() + F.binary_cross_entropy(cls[pos], torch.ones_like(cls[pos]))


class Darknet(nn.Module):
    def __init__(self, text, channels=3):
        super().__init__()
        self.defs, self.module_list, outs = parse(text), nn.ModuleList(), [channels]
        for d in self.defs:
            m, filters = nn.Sequential(), outs[-1]
            if d['type'] == 'convolutional':
                bn, size, filters = int(d.get('batch_normalize', 0)), int(d['size']), int(d['filters'])
                m.add_module('conv', nn.Conv2d(outs[-1], filters, size, int(d['stride']), size // 2, bias=not bn))
                if bn:
                    m.add_module('bn', nn.BatchNorm2d(filters))
                if d['activation'] == 'leaky':
                    m.add_module('leaky', nn.LeakyReLU(0.1))
            elif d['type'] == 'upsample':
                m.add_module('up', nn.Upsample(scale_factor=int(d['stride'])))
            elif d['type'] == 'route':
                filters = sum(outs[1:][int(i)] for i in d['layers'].split(','))
            elif d['type'] == 'yolo':
                m.add_module('yolo', YOLOLayer([ANCHORS[int(i)] for i in d['mask'].split(',')], int(d['classes'])))
            self.module_list.append(m)
            outs.append(filters)

    def forward(self, x, targets):
        layers, loss = [], 0.
        for d, m in zip(self.defs, self.module_list):
            if d['type'] in ('convolutional', 'upsample'):
                x = m(x)
            elif d['type'] == 'route':
                x = torch.cat([layers[int(i)] for i in d['layers'].split(',')], 1)
            else:
                loss = loss + m[0](x, targets)
            layers.append(x)
        return loss


def build():
    return Darknet(CFG)


def step(model):
    targets = torch.tensor([[0, 0.3, 0.4], [0, 0.7, 0.2]])
    return model(torch.rand(1, 3, 80, 80), targets)


# real fix: filters=(classes + 5) * 3 = 18
# offending tensor: x (1, 15, 10, 10), 18 channels expected
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['module_list.3.conv', 'module_list.3'], dim=1, got=15, wanted=18,
             hint_any=['filters', '18', 'out_channels', 'channel', 'classes'])
MENDED = [('filters=15\nsize=1', 'filters=18\nsize=1')]
