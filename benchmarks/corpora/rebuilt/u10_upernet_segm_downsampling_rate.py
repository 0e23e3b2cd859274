from types import SimpleNamespace as NS

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/CSAILVision/semantic-segmentation-pytorch/issues/66'
CATEGORY = 'loss'
DESCRIPTION = 'The labels are shrunk by segm_downsampling_rate=8 (for the dilated ResNet), UPerNet answers at 1/4 of the image.'

cfg = NS(DATASET=NS(num_class=8, padding_constant=32, segm_downsampling_rate=8, imgSize=(64, 90)),
         MODEL=NS(arch_encoder='resnet50', arch_decoder='upernet', fc_dim=64),
         TRAIN=NS(batch_size_per_gpu=2))


def round2nearest_multiple(x, p):
    return ((x - 1) // p + 1) * p


class TrainDataset:
    def __init__(self, opt):
        self.opt = opt

    def segm_transform(self, segm):
        return segm.long() - 1

    def batch(self):
        p, rate = self.opt.padding_constant, self.opt.segm_downsampling_rate
        n, (h, w) = cfg.TRAIN.batch_size_per_gpu, self.opt.imgSize
        bh, bw = round2nearest_multiple(h, p), round2nearest_multiple(w, p)
        batch_images = torch.zeros(n, 3, bh, bw)
        batch_segms = torch.zeros(n, bh // rate, bw // rate).long()
        for i in range(n):
            img = torch.rand(3, h, w)
            segm = torch.randint(0, self.opt.num_class + 1, (h, w))
            segm_rounded = torch.zeros(1, 1, bh, bw)
            segm_rounded[0, 0, :h, :w] = segm.float()
            segm = F.interpolate(segm_rounded, size=(bh // rate, bw // rate), mode='nearest')[0, 0]
            batch_images[i][:, :h, :w] = img
            batch_segms[i] = self.segm_transform(segm)
        return dict(img_data=batch_images, seg_label=batch_segms)


def conv3x3_bn_relu(in_planes, out_planes, stride=1):
    return nn.Sequential(nn.Conv2d(in_planes, out_planes, 3, stride, 1, bias=False), nn.BatchNorm2d(out_planes), nn.ReLU(inplace=True))


class Resnet(nn.Module):
    def __init__(self, widths=(16, 24, 32, 64)):
        super().__init__()
        self.stem = nn.Sequential(conv3x3_bn_relu(3, 16, 2), nn.MaxPool2d(3, 2, 1))
        self.layers, c = nn.ModuleList(), 16
        for i, w in enumerate(widths):
            self.layers.append(conv3x3_bn_relu(c, w, 1 if i == 0 else 2))
            c = w

    def forward(self, x, return_feature_maps=False):
        conv_out, x = [], self.stem(x)
        for layer in self.layers:
            x = layer(x)
            conv_out.append(x)
        return conv_out if return_feature_maps else [x]


class UPerNet(nn.Module):
    def __init__(self, num_class, fc_dim, fpn_inplanes=(16, 24, 32, 64), fpn_dim=32, pool_scales=(1, 2)):
        super().__init__()
        self.pool_scales = pool_scales
        self.ppm_conv = nn.ModuleList([nn.Sequential(nn.Conv2d(fc_dim, 16, 1), nn.ReLU()) for _ in pool_scales])
        self.ppm_last_conv = conv3x3_bn_relu(fc_dim + len(pool_scales) * 16, fpn_dim)
        self.fpn_in = nn.ModuleList([nn.Sequential(nn.Conv2d(p, fpn_dim, 1), nn.ReLU()) for p in fpn_inplanes[:-1]])
        self.fpn_out = nn.ModuleList([conv3x3_bn_relu(fpn_dim, fpn_dim) for _ in fpn_inplanes[:-1]])
        self.conv_last = nn.Sequential(conv3x3_bn_relu(len(fpn_inplanes) * fpn_dim, fpn_dim), nn.Conv2d(fpn_dim, num_class, 1))

    def forward(self, conv_out):
        conv5 = conv_out[-1]
        ppm_out = [conv5]
        for scale, conv in zip(self.pool_scales, self.ppm_conv):
            ppm_out.append(conv(F.interpolate(F.adaptive_avg_pool2d(conv5, scale), conv5.shape[2:], mode='bilinear', align_corners=False)))
        f = self.ppm_last_conv(torch.cat(ppm_out, 1))
        fpn_feature_list = [f]
        for i in reversed(range(len(conv_out) - 1)):
            conv_x = self.fpn_in[i](conv_out[i])
            f = conv_x + F.interpolate(f, size=conv_x.shape[2:], mode='bilinear', align_corners=False)
            fpn_feature_list.append(self.fpn_out[i](f))
        fpn_feature_list.reverse()
        size = fpn_feature_list[0].shape[2:]
        fusion = [fpn_feature_list[0]] + [F.interpolate(f, size, mode='bilinear', align_corners=False) for f in fpn_feature_list[1:]]
        return F.log_softmax(self.conv_last(torch.cat(fusion, 1)), dim=1)


class SegmentationModule(nn.Module):
    def __init__(self, net_enc, net_dec, crit):
        super().__init__()
        self.encoder, self.decoder, self.crit = net_enc, net_dec, crit

    def pixel_acc(self, pred, label):
        _, preds = torch.max(pred, dim=1)
        valid = (label >= 0).long()
        return (valid * (preds == label).long()).sum().float() / (valid.sum().float() + 1e-10)

    def forward(self, feed_dict):
        pred = self.decoder(self.encoder(feed_dict['img_data'], return_feature_maps=True))
        loss = self.crit(pred, feed_dict['seg_label'])
        return loss, self.pixel_acc(pred, feed_dict['seg_label'])


def build():
    net_decoder = UPerNet(cfg.DATASET.num_class, cfg.MODEL.fc_dim)
    return SegmentationModule(Resnet(), net_decoder, nn.NLLLoss(ignore_index=-1))


def step(model):
    loss, acc = model(TrainDataset(cfg.DATASET).batch())
    return loss


# real fix: segm_downsampling_rate=4 for upernet
# offending tensor: seg_label (2, 8, 12), beside the prediction (2, 8, 16, 24)
TRUTH = dict(raises='RuntimeError', at='loss:nll_loss', culprits=['target', 'function:interpolate'], dim=1, got=8, wanted=16,
             hint_any=['segm_downsampling_rate', 'downsampl', 'resize', 'interpolate', 'bh // rate'])
MENDED = [('segm_downsampling_rate=8', 'segm_downsampling_rate=4')]
