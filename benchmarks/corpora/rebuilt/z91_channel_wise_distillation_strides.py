import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/open-mmlab/mmrazor/pull/92'
CATEGORY = 'loss'
DESCRIPTION = ('Channel-wise distillation of segmenters: the student reduces 16 times, the teacher (dilated) 8 times; the loss flattens '
               'the 8x8 teacher maps with the 4x4 of the student.')


def conv_bn(cin, cout, stride=1, dilation=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, dilation, dilation, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


class Backbone(nn.Module):
    def __init__(self, width, strides, dilations):
        super().__init__()
        self.stem = conv_bn(3, width, 2)
        self.stages = nn.ModuleList()
        for i, (s, d) in enumerate(zip(strides, dilations)):
            self.stages.append(nn.Sequential(conv_bn(width * (i + 1), width * (i + 2), s, d),
                                             conv_bn(width * (i + 2), width * (i + 2), 1, d)))

    def forward(self, x):
        x = self.stem(x)
        outs = []
        for stage in self.stages:
            x = stage(x)
            outs.append(x)
        return outs


class DecodeHead(nn.Module):
    def __init__(self, in_channels, channels, num_classes):
        super().__init__()
        self.conv = conv_bn(in_channels, channels)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)

    def forward(self, inputs):
        return self.conv_seg(self.conv(inputs[-1]))

    def losses(self, seg_logit, seg_label):
        seg_logit = F.interpolate(seg_logit, size=seg_label.shape[1:], mode='bilinear', align_corners=False)
        return F.cross_entropy(seg_logit, seg_label, ignore_index=255)


class EncoderDecoder(nn.Module):
    def __init__(self, width, strides, dilations, num_classes=6):
        super().__init__()
        self.backbone = Backbone(width, strides, dilations)
        self.decode_head = DecodeHead(width * (len(strides) + 1), 2 * width, num_classes)

    def forward(self, img):
        return self.decode_head(self.backbone(img))


class ChannelWiseDivergence(nn.Module):
    def __init__(self, tau=1.0, loss_weight=5.0):
        super().__init__()
        self.tau, self.loss_weight = tau, loss_weight

    def forward(self, preds_S, preds_T):
        N, C, H, W = preds_S.shape
        softmax_pred_T = F.softmax(preds_T.view(-1, W * H) / self.tau, dim=1)
        logsoftmax_pred_S = F.log_softmax(preds_S.view(-1, W * H) / self.tau, dim=1)
        loss = F.kl_div(logsoftmax_pred_S, softmax_pred_T, reduction='sum') * self.tau ** 2
        return self.loss_weight * loss / (C * N)


class SingleTeacherDistiller(nn.Module):
    def __init__(self):
        super().__init__()
        self.student = EncoderDecoder(8, strides=(2, 2, 2), dilations=(1, 1, 1))
        self.teacher = EncoderDecoder(16, strides=(2, 2, 1), dilations=(1, 1, 2))
        self.teacher.eval().requires_grad_(False)
        self.distill_loss = ChannelWiseDivergence(tau=4.0)

    def forward(self, img, gt_semantic_seg):
        with torch.no_grad():
            preds_T = self.teacher(img)
        preds_S = self.student(img)
        return self.student.decode_head.losses(preds_S, gt_semantic_seg) + self.distill_loss(preds_S, preds_T)


def build():
    return SingleTeacherDistiller()


def step(model):
    return model(torch.randn(2, 3, 64, 64), torch.randint(0, 6, (2, 64, 64)))


# the pull request resizes preds_S to the size of preds_T before they are flattened
TRUTH = dict(raises='RuntimeError', at='loss:kl_div',
             culprits=['function:view', 'student.backbone.stages.2', 'student.backbone.stages.2.0',
                       'student.backbone.stages.2.0.0', 'student.decode_head', 'student.decode_head.conv_seg'],
             dim=None, got=None, wanted=None, hint_any=['view', 'stride', 'resize', 'interpolate', 'downsampl'])
MENDED = [('        N, C, H, W = preds_S.shape\n',
           "        preds_S = F.interpolate(preds_S, size=preds_T.shape[2:], mode='bilinear')\n        N, C, H, W = preds_S.shape\n")]
