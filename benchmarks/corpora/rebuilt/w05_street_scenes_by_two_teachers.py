import torch
from torch import nn
import torch.nn.functional as F

SOURCE = 'https://github.com/leofansq/CPCL/issues/1'
CATEGORY = 'silent'
DESCRIPTION = 'Semi-supervised segmentation of street scenes: two branches teach each other on mixed images, the loss is weighted by certainty.'


def conv_bn(cin, cout, stride=1):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


class SingleNetwork(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.backbone = nn.Sequential(conv_bn(3, 16, 2), conv_bn(16, 24))
        self.head = conv_bn(24, 24)
        self.classifier = nn.Conv2d(24, num_classes, 1)

    def forward(self, data):
        v3plus_feature = self.head(self.backbone(data))
        pred = self.classifier(v3plus_feature)
        return v3plus_feature, F.interpolate(pred, size=data.shape[2:], mode='bilinear', align_corners=True)


class Network(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.branch1 = SingleNetwork(num_classes)
        self.branch2 = SingleNetwork(num_classes)

    def forward(self, data, step=1):
        return self.branch1(data) if step == 1 else self.branch2(data)


def box_masks(n, h, w):
    masks = torch.zeros(n, 1, h, w)
    for m in masks:
        y, x = torch.randint(0, h // 2, ()).item(), torch.randint(0, w // 2, ()).item()
        m[:, y:y + h // 2, x:x + w // 2] = 1
    return masks


def class_disagreement(label_1, label_2, num_classes):
    index = torch.cat([label_1.flatten() * num_classes + label_2.flatten(), torch.arange(num_classes) * (num_classes + 1)])
    confusion = torch.bincount(index, minlength=num_classes ** 2).view(num_classes, num_classes).float()
    same = confusion.diag()
    w = (confusion.sum(0) - same) / confusion.sum(0) + (confusion.sum(1) - same) / confusion.sum(1)
    return w / w.sum()


def build():
    return Network(num_classes=7)


def step(model):
    num_classes, unsup_weight = 7, 1.5
    criterion_sup = nn.CrossEntropyLoss(ignore_index=255)
    criterion_unsup = nn.CrossEntropyLoss(reduction='none', ignore_index=255)
    imgs, gts = torch.randn(4, 3, 24, 32), torch.randint(0, num_classes, (4, 24, 32))
    unsup_imgs_0, unsup_imgs_1 = torch.randn(4, 3, 24, 32), torch.randn(4, 3, 24, 32)
    batch_mix_masks = box_masks(4, 24, 32)
    unsup_imgs_mixed = unsup_imgs_0 * (1 - batch_mix_masks) + unsup_imgs_1 * batch_mix_masks

    _, sup_pred_1 = model(imgs, step=1)
    _, sup_pred_2 = model(imgs, step=2)
    loss_sup = criterion_sup(sup_pred_1, gts) + criterion_sup(sup_pred_2, gts)

    with torch.no_grad():
        _, logits_u0_tea_1 = model(unsup_imgs_0, step=1)
        _, logits_u1_tea_1 = model(unsup_imgs_1, step=1)
        _, logits_u0_tea_2 = model(unsup_imgs_0, step=2)
        _, logits_u1_tea_2 = model(unsup_imgs_1, step=2)
    logits_cons_tea_1 = logits_u0_tea_1 * (1 - batch_mix_masks) + logits_u1_tea_1 * batch_mix_masks
    logits_cons_tea_2 = logits_u0_tea_2 * (1 - batch_mix_masks) + logits_u1_tea_2 * batch_mix_masks
    ps_label_1 = torch.max(logits_cons_tea_1, dim=1)[1]
    ps_label_2 = torch.max(logits_cons_tea_2, dim=1)[1]

    loss_w_1 = torch.max(F.softmax(logits_cons_tea_1, dim=-1))
    loss_w_2 = torch.max(F.softmax(logits_cons_tea_2, dim=-1))

    w = class_disagreement(ps_label_1, ps_label_2, num_classes)
    same = ps_label_1 == ps_label_2
    first = w[ps_label_1] > w[ps_label_2]
    ps_label_inter = torch.where(same, ps_label_1, torch.full_like(ps_label_1, 255))
    ps_label_union = torch.where(same | first, ps_label_1, ps_label_2)

    _, logits_cons_stu_1 = model(unsup_imgs_mixed, step=1)
    _, logits_cons_stu_2 = model(unsup_imgs_mixed, step=2)
    weight_union = torch.where(same, (loss_w_1 + loss_w_2) / 2, torch.where(first, loss_w_1, loss_w_2))
    loss_unsup_inter = torch.mean(criterion_unsup(logits_cons_stu_1, ps_label_inter) * (loss_w_1 + loss_w_2) / 2)
    loss_unsup_union = torch.mean(criterion_unsup(logits_cons_stu_2, ps_label_union) * weight_union)
    return loss_sup + (loss_unsup_inter + loss_unsup_union) * unsup_weight


# the softmax runs along the image width and the maximum over everything: one number for all pixels instead of the
# certainty of each; real fix: torch.max(F.softmax(.., dim=1), dim=1)[0]
TRUTH = dict(raises=None, at='function:softmax', culprits=['function:softmax', 'function:max'], dim=3, got=32, wanted=7,
             hint_any=['dim=1', 'channel', 'class', 'width', 'per pixel', 'each pixel', 'scalar'])
MENDED = [('loss_w_1 = torch.max(F.softmax(logits_cons_tea_1, dim=-1))', 'loss_w_1 = torch.max(F.softmax(logits_cons_tea_1, dim=1), dim=1)[0]'),
          ('loss_w_2 = torch.max(F.softmax(logits_cons_tea_2, dim=-1))', 'loss_w_2 = torch.max(F.softmax(logits_cons_tea_2, dim=1), dim=1)[0]')]
