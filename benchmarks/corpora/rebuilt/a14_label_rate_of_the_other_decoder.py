from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/CSAILVision/semantic-segmentation-pytorch/issues/66 (UPerNet needs rate 4: issue 82)'
CATEGORY = 'loss'
DESCRIPTION = 'Scene parsing: labels are reduced 8 times for the dilated decoder, the decoder was changed to UPerNet, which predicts at a quarter of the image.'

cfg = SimpleNamespace(
    MODEL=SimpleNamespace(arch_encoder='resnet', arch_decoder='upernet', fc_dim=48),
    DATASET=SimpleNamespace(num_class=8, segm_downsampling_rate=8, padding_constant=8, random_flip=True),
    TRAIN=SimpleNamespace(batch_size_per_gpu=2, deep_sup_scale=0.4),
)


def conv3x3_bn_relu(i, o, stride=1, dilation=1):
    return nn.Sequential(nn.Conv2d(i, o, 3, stride, dilation, dilation, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class Resnet(nn.Module):
    def __init__(self, dilated):
        super().__init__()
        widths = (8, 16, 32, 48)
        self.stem = conv3x3_bn_relu(3, 8, 2)
        self.layers, i = nn.ModuleList(), 8
        for n, o in enumerate(widths):
            late = dilated and n >= 2
            self.layers.append(conv3x3_bn_relu(i, o, 1 if late else 2, 2 ** (n - 1) if late else 1))
            i = o

    def forward(self, x):
        conv_out, x = [], self.stem(x)
        for layer in self.layers:
            x = layer(x)
            conv_out.append(x)
        return conv_out


class PPMDeepsup(nn.Module):
    def __init__(self, num_class, fc_dim, pool_scales=(1, 2)):
        super().__init__()
        self.pool_scales = pool_scales
        self.ppm = nn.ModuleList(nn.Conv2d(fc_dim, 8, 1) for _ in pool_scales)
        self.conv_last = nn.Sequential(conv3x3_bn_relu(fc_dim + 8 * len(pool_scales), 16), nn.Dropout2d(0.1), nn.Conv2d(16, num_class, 1))
        self.cbr_deepsup = nn.Sequential(conv3x3_bn_relu(fc_dim * 2 // 3, 16), nn.Conv2d(16, num_class, 1))

    def forward(self, conv_out):
        x = conv_out[-1]
        parts = [x] + [F.interpolate(c(F.adaptive_avg_pool2d(x, s)), x.shape[2:]) for c, s in zip(self.ppm, self.pool_scales)]
        return F.log_softmax(self.conv_last(torch.cat(parts, 1)), 1), F.log_softmax(self.cbr_deepsup(conv_out[-2]), 1)


class UPerNet(nn.Module):
    def __init__(self, num_class, fc_dim, fpn_inplanes=(8, 16, 32, 48), fpn_dim=16):
        super().__init__()
        self.ppm_last_conv = conv3x3_bn_relu(fc_dim, fpn_dim)
        self.fpn_in = nn.ModuleList(nn.Sequential(nn.Conv2d(c, fpn_dim, 1), nn.ReLU()) for c in fpn_inplanes[:-1])
        self.fpn_out = nn.ModuleList(conv3x3_bn_relu(fpn_dim, fpn_dim) for _ in fpn_inplanes[:-1])
        self.conv_last = nn.Sequential(conv3x3_bn_relu(len(fpn_inplanes) * fpn_dim, fpn_dim), nn.Conv2d(fpn_dim, num_class, 1))

    def forward(self, conv_out):
        f = self.ppm_last_conv(conv_out[-1])
        features = [f]
        for i in reversed(range(len(conv_out) - 1)):
            lateral = self.fpn_in[i](conv_out[i])
            f = lateral + F.interpolate(f, lateral.shape[2:], mode='bilinear', align_corners=False)
            features.append(self.fpn_out[i](f))
        size = features[-1].shape[2:]
        fused = torch.cat([F.interpolate(p, size, mode='bilinear', align_corners=False) for p in features], 1)
        return F.log_softmax(self.conv_last(fused), 1), None


class SegmentationModule(nn.Module):
    def __init__(self, encoder, decoder, crit, deep_sup_scale):
        super().__init__()
        self.encoder, self.decoder, self.crit, self.deep_sup_scale = encoder, decoder, crit, deep_sup_scale

    def forward(self, feed):
        pred, pred_deepsup = self.decoder(self.encoder(feed['img_data']))
        loss = self.crit(pred, feed['seg_label'])
        if pred_deepsup is not None:
            loss = loss + self.deep_sup_scale * self.crit(pred_deepsup, feed['seg_label'])
        acc = (pred.argmax(1) == feed['seg_label']).float().mean()
        return loss, acc


def get_batch(opt, batch_size, height=85, width=109):
    up = lambda x: (x - 1) // opt.padding_constant * opt.padding_constant + opt.padding_constant
    height, width, rate = up(height), up(width), opt.segm_downsampling_rate
    images, segms = torch.zeros(batch_size, 3, height, width), torch.zeros(batch_size, height // rate, width // rate, dtype=torch.long)
    for i in range(batch_size):
        img, segm = torch.rand(3, height, width), torch.randint(0, opt.num_class + 1, (height, width))
        if opt.random_flip and i % 2:
            img, segm = img.flip(2), segm.flip(1)
        images[i] = img
        segms[i] = F.interpolate(segm[None, None].float(), size=segms.shape[1:], mode='nearest')[0, 0].long() - 1
    return {'img_data': images, 'seg_label': segms}


def build():
    dilated = cfg.MODEL.arch_decoder == 'ppm_deepsup'
    decoder = (PPMDeepsup if dilated else UPerNet)(cfg.DATASET.num_class, cfg.MODEL.fc_dim)
    return SegmentationModule(Resnet(dilated), decoder, nn.NLLLoss(ignore_index=-1), cfg.TRAIN.deep_sup_scale)


def step(model):
    loss, acc = model(get_batch(cfg.DATASET, cfg.TRAIN.batch_size_per_gpu))
    return loss


# real fix: segm_downsampling_rate=4 for UPerNet
# offending tensor: seg_label (2, 11, 14), the prediction is (2, 8, 22, 28)
TRUTH = dict(raises='RuntimeError', at='loss:nll_loss', culprits=['target', 'function:interpolate'], dim=1, got=11, wanted=22,
             hint_any=['22', 'downsampl', 'interpolat', 'resolution', 'twice', 'half'])
MENDED = [('segm_downsampling_rate=8', 'segm_downsampling_rate=4')]
