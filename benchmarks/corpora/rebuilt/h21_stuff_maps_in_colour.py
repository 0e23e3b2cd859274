import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/VDIGPKU/CBNetV2/issues/41'
CATEGORY = 'loss'
DESCRIPTION = 'Hybrid task cascade with a semantic branch: the stuff maps were saved as colour images, so the labels are (B, H, W, 3); cross entropy wants (B, H, W). Cure of the thread: grey maps.'


class ConvModule(nn.Module):
    def __init__(self, cin, cout, k, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, k, padding=padding)
        self.activate = nn.ReLU()

    def forward(self, x):
        return self.activate(self.conv(x))


class FusedSemanticHead(nn.Module):
    def __init__(self, num_ins, fusion_level, num_convs=2, in_channels=16, conv_out_channels=16, num_classes=183,
                 ignore_label=255, loss_weight=0.2):
        super().__init__()
        self.fusion_level = fusion_level
        self.loss_weight = loss_weight
        self.lateral_convs = nn.ModuleList([ConvModule(in_channels, in_channels, 1) for _ in range(num_ins)])
        self.convs = nn.ModuleList([ConvModule(in_channels if i == 0 else conv_out_channels, conv_out_channels, 3, padding=1)
                                    for i in range(num_convs)])
        self.conv_embedding = ConvModule(conv_out_channels, conv_out_channels, 1)
        self.conv_logits = nn.Conv2d(conv_out_channels, num_classes, 1)
        self.criterion = nn.CrossEntropyLoss(ignore_index=ignore_label)

    def forward(self, feats):
        x = self.lateral_convs[self.fusion_level](feats[self.fusion_level])
        fused_size = tuple(x.shape[-2:])
        for i, feat in enumerate(feats):
            if i != self.fusion_level:
                feat = F.interpolate(feat, size=fused_size, mode='bilinear', align_corners=True)
                x = x + self.lateral_convs[i](feat)
        for conv in self.convs:
            x = conv(x)
        mask_pred = self.conv_logits(x)
        x = self.conv_embedding(x)
        return mask_pred, x

    def loss(self, mask_pred, labels):
        labels = labels.squeeze(1).long()
        loss_semantic_seg = self.criterion(mask_pred, labels)
        return loss_semantic_seg * self.loss_weight


class HTC(nn.Module):
    def __init__(self, levels=3, channels=16, num_stuff=12):
        super().__init__()
        self.backbone = nn.ModuleList([nn.Conv2d(3 if i == 0 else channels, channels, 3, stride=4 if i == 0 else 2, padding=1)
                                       for i in range(levels)])
        self.semantic_head = FusedSemanticHead(levels, fusion_level=1, in_channels=channels, conv_out_channels=channels,
                                               num_classes=num_stuff)
        self.bbox_fc = nn.Linear(channels, 5)

    def extract_feat(self, img):
        feats = []
        for conv in self.backbone:
            img = F.relu(conv(img))
            feats.append(img)
        return feats

    def forward_train(self, img, gt_semantic_seg, gt_labels):
        x = self.extract_feat(img)
        semantic_pred, semantic_feat = self.semantic_head(x)
        loss_seg = self.semantic_head.loss(semantic_pred, gt_semantic_seg)
        cls = self.bbox_fc(semantic_feat.mean((2, 3)))
        return loss_seg + F.cross_entropy(cls, gt_labels)


def imread(index, size):
    g = torch.Generator().manual_seed(index)
    stuff = torch.randint(0, 12, (size, size), generator=g, dtype=torch.uint8)
    return torch.stack([stuff, stuff, stuff], dim=-1)


def seg_rescale(seg, scale_factor):
    step = round(1 / scale_factor)
    return seg[::step, ::step]


def load_annotations(indices, size=64):
    segs = [seg_rescale(imread(i, size), 1 / 8) for i in indices]
    return torch.stack(segs).unsqueeze(1)


def build():
    torch.manual_seed(0)
    return HTC()


def step(model):
    img = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(40))
    gt_semantic_seg = load_annotations([0, 1])
    return model.forward_train(img, gt_semantic_seg, torch.tensor([1, 4]))


TRUTH = dict(raises='RuntimeError', at='loss:cross_entropy', culprits=['target'], dim=3, got=3, wanted=None,
             hint_any=['3', 'colour', 'color', 'channel', 'rgb', '(2, 8, 8, 3)'])
MENDED = [('segs = [seg_rescale(imread(i, size), 1 / 8) for i in indices]', 'segs = [seg_rescale(imread(i, size)[..., 0], 1 / 8) for i in indices]')]
