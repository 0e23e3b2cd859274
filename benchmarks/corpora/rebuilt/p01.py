import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/SpursLipu/YOLOv3v4-ModelCompression-MultidatasetTraining-Multibackbone/issues/25'
CATEGORY = 'loss'
DESCRIPTION = 'Detector distillation: the tiny student has two yolo layers, the teacher three, so their collected predictions have unequal numbers of rows.'

CFG = {
    'yolov3-tiny': dict(width=8, heads=(32, 16)),
    'yolov3': dict(width=16, heads=(32, 16, 8)),
}
ANCHORS, CLASSES = 3, 5


def conv(i, o, stride=1):
    return nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.1))


class Darknet(nn.Module):
    def __init__(self, name):
        super().__init__()
        w = CFG[name]['width']
        self.strides = CFG[name]['heads']
        self.stem = conv(3, w, 2)
        self.downs = nn.ModuleList([conv(w, w, 2) for _ in range(4)])
        self.necks = nn.ModuleDict({str(s): conv(w, w) for s in self.strides})
        self.yolo = nn.ModuleDict({str(s): nn.Conv2d(w, ANCHORS * (5 + CLASSES), 1) for s in self.strides})

    def forward(self, x):
        maps, x, stride = {}, self.stem(x), 2
        for down in self.downs:
            x = down(x)
            stride *= 2
            maps[stride] = x
        out = []
        for s in self.strides:
            p = self.yolo[str(s)](self.necks[str(s)](maps[s]))
            b, _, h, w = p.shape
            out.append(p.view(b, ANCHORS, 5 + CLASSES, h, w).permute(0, 1, 3, 4, 2).contiguous())
        return out


def compute_lost_kd(output_s, output_t, T=3.0, alpha=1.0):
    batch = output_s[0].shape[0]
    output_s = torch.cat([i.view(-1, 5 + CLASSES) for i in output_s])
    output_t = torch.cat([i.view(-1, 5 + CLASSES) for i in output_t])
    kl = nn.KLDivLoss(reduction='sum')
    return alpha * kl(F.log_softmax(output_s / T, dim=1), F.softmax(output_t / T, dim=1)) * (T * T) / batch


def objectness(pred):
    return sum(F.binary_cross_entropy_with_logits(p[..., 4], (torch.rand(p.shape[:-1]) > 0.9).float()) for p in pred)


class Distiller(nn.Module):
    def __init__(self, cfg='yolov3-tiny', t_cfg='yolov3'):
        super().__init__()
        self.student = Darknet(cfg)
        self.teacher = Darknet(t_cfg)

    def forward(self, imgs):
        pred = self.student(imgs)
        with torch.no_grad():
            pred_t = self.teacher(imgs)
        return pred, pred_t


def build():
    return Distiller()


def step(model):
    pred, pred_t = model(torch.rand(2, 3, 96, 96))
    return objectness(pred) + compute_lost_kd(pred, pred_t)


# real fix: a student with the same yolo layers (the author distils a network into its own pruned version; the reporter added a third head to the tiny one)
# offending tensor: output_s (270, 10), 1134 rows expected
TRUTH = dict(raises='RuntimeError', at='loss:kl_div', culprits=['student', 'teacher', 'function:cat', ''], dim=0, got=270, wanted=1134,
             hint_any=['head', 'cat', 'student', 'teacher', 'stride'])
MENDED = [("dict(width=8, heads=(32, 16))", "dict(width=8, heads=(32, 16, 8))")]
