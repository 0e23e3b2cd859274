import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/microsoft/ProDA/issues/20'
CATEGORY = 'silent'
DESCRIPTION = 'Self-distillation: F.kl_div gets the student as softmax probabilities where it needs log-probabilities.'


class ASPPHead(nn.Module):
    def __init__(self, inplanes, dilation_series, num_classes):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inplanes, 16, 3, padding=d, dilation=d), nn.GroupNorm(4, 16), nn.ReLU()) for d in dilation_series)
        self.bottleneck = nn.Conv2d(16 * len(dilation_series), 32, 3, padding=1)
        self.classifier = nn.Conv2d(32, num_classes, 1, bias=False)

    def forward(self, x):
        feat = F.relu(self.bottleneck(torch.cat([b(x) for b in self.branches], dim=1)))
        return {'feat': feat, 'out': self.classifier(feat)}


class Deeplab(nn.Module):
    def __init__(self, num_classes, width):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width * 2, 3, 2, 1), nn.BatchNorm2d(width * 2), nn.ReLU())
        self.layer5 = ASPPHead(width * 2, [1, 2, 4], num_classes)

    def forward(self, x):
        return self.layer5(self.backbone(x))


class CustomModel(nn.Module):
    def __init__(self, n_class=19, distillation=1.0):
        super().__init__()
        self.BaseNet = Deeplab(n_class, 16)
        self.teacher = Deeplab(n_class, 16)
        self.teacher.requires_grad_(False)
        self.n_class, self.distillation = n_class, distillation

    def full_loss(self, source_x, source_label, target_image, target_imageS, threshold=0.06):
        source_out = self.BaseNet(source_x)
        source_up = F.interpolate(source_out['out'], size=source_x.shape[2:], mode='bilinear', align_corners=True)
        loss = F.cross_entropy(source_up, source_label, ignore_index=250)

        target_out = self.BaseNet(target_image)
        with torch.no_grad():
            self.teacher.eval()
            conf, pseudo = self.teacher(target_imageS)['out'].softmax(1).max(1)
            pseudo[conf < threshold] = 250
        loss = loss + F.cross_entropy(target_out['out'], pseudo, ignore_index=250)

        if self.distillation > 0:
            student = F.softmax(target_out['out'], dim=1)
            with torch.no_grad():
                teacher_out = self.teacher(target_imageS)
                teacher = F.softmax(teacher_out['out'], dim=1)
            loss_kd = F.kl_div(student, teacher, reduction='none')
            mask = (teacher != 250).float()
            loss_kd = (loss_kd * mask).sum() / mask.sum()
            loss = loss + self.distillation * loss_kd
        return loss


def build():
    return CustomModel()


def step(model):
    model.train()
    source_x, source_label = torch.randn(2, 3, 32, 64), torch.randint(0, 19, (2, 32, 64))
    source_label[:, :4] = 250
    target = torch.randn(2, 3, 32, 64)
    return model.full_loss(source_x, source_label, target + 0.1 * torch.randn_like(target), target)


# real fix: student = F.log_softmax(target_out['out'], dim=1)
TRUTH = dict(raises=None, at='loss:kl_div', culprits=['function:softmax', 'function:kl_div'], dim=None, got=None, wanted=None,
             hint_any=['log_softmax', 'log-prob', 'logarithm', '.log()'])
MENDED = [("student = F.softmax(target_out['out'], dim=1)", "student = F.log_softmax(target_out['out'], dim=1)")]
