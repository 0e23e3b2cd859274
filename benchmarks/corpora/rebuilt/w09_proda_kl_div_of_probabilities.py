import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/microsoft/ProDA/issues/20'
CATEGORY = 'silent'
DESCRIPTION = 'Self-distillation of a segmentation net: F.kl_div is given the softmax probabilities of the student where it expects log-probabilities.'


class Bottleneck(nn.Module):
    def __init__(self, inplanes, planes, stride=1, dilation=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = nn.Conv2d(inplanes, planes, 1, stride)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class Classifier_Module(nn.Module):
    def __init__(self, inplanes, dilation_series, num_classes):
        super().__init__()
        self.conv2d_list = nn.ModuleList(
            nn.Conv2d(inplanes, num_classes, 3, padding=d, dilation=d) for d in dilation_series)

    def forward(self, x):
        return sum(conv(x) for conv in self.conv2d_list)


class Deeplab(nn.Module):
    def __init__(self, num_classes, planes=24):
        super().__init__()
        self.layer1 = Bottleneck(3, planes, stride=2)
        self.layer2 = Bottleneck(planes, planes, stride=2, dilation=2)
        self.layer5 = Classifier_Module(planes, (1, 2, 3), num_classes)

    def forward(self, x):
        feat = self.layer2(self.layer1(x))
        return dict(feat=feat, out=self.layer5(feat))


class CustomModel(nn.Module):
    def __init__(self, n_class=7, distillation=1.0):
        super().__init__()
        self.BaseNet = Deeplab(n_class)
        self.teacher = Deeplab(n_class, planes=32)
        for p in self.teacher.parameters():
            p.requires_grad_(False)
        self.distillation = distillation

    def interpolate(self, out, size):
        return F.interpolate(out, size=size, mode='bilinear', align_corners=True)

    def step_distillation(self, source_x, source_label, target_image, target_imageS, target_lp):
        source_out = self.BaseNet(source_x)['out']
        source_out = self.interpolate(source_out, source_x.shape[2:])
        loss_gta = F.cross_entropy(source_out, source_label, ignore_index=250)

        target_out = self.BaseNet(target_imageS)
        target_out['out'] = self.interpolate(target_out['out'], target_lp.shape[1:])
        loss = loss_gta + F.cross_entropy(target_out['out'], target_lp, ignore_index=250)

        if self.distillation > 0:
            student = F.softmax(target_out['out'], dim=1)
            with torch.no_grad():
                teacher_out = self.teacher(target_image)
                teacher_out['out'] = self.interpolate(teacher_out['out'], target_imageS.shape[2:])
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
    model.teacher.eval()
    source_x, target = torch.randn(3, 3, 33, 33), torch.randn(3, 3, 33, 33)
    source_label, pseudo = torch.randint(0, 7, (3, 33, 33)), torch.randint(0, 7, (3, 33, 33))
    pseudo[torch.rand(3, 33, 33) < 0.3] = 250
    strong = target + 0.1 * torch.randn_like(target)
    return model.step_distillation(source_x, source_label, target, strong, pseudo)


# real fix: student = F.log_softmax(target_out['out'], dim=1)
TRUTH = dict(raises=None, at='loss:kl_div', culprits=['function:softmax', 'function:kl_div', 'loss:kl_div'], dim=None, got=None, wanted=None,
             hint_any=['log_softmax', 'log-prob', 'log prob', 'log'])
MENDED = [("student = F.softmax(target_out['out'], dim=1)", "student = F.log_softmax(target_out['out'], dim=1)")]
