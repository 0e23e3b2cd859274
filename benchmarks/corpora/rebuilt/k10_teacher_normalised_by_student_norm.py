import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/danielsyahputra/yolo-distiller/issues/3'
CATEGORY = 'layer'
DESCRIPTION = 'Masked generative distillation: the teacher maps go through norm1, which was made for the student channels, instead of norm.'


class Conv(nn.Module):
    def __init__(self, c1, c2, k=1, s=1):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, k // 2, bias=False)
        self.bn = nn.BatchNorm2d(c2)
        self.act = nn.SiLU()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class DetectionModel(nn.Module):
    """A detector with three levels; scale n or s is only a factor of the width."""

    def __init__(self, width, nc=6):
        super().__init__()
        c = [int(width * k) for k in (32, 64, 128)]
        self.stem = nn.Sequential(Conv(3, c[0] // 2, 3, 2), Conv(c[0] // 2, c[0], 3, 2), Conv(c[0], c[0], 3, 2))
        self.p4, self.p5 = Conv(c[0], c[1], 3, 2), Conv(c[1], c[2], 3, 2)
        self.cv2 = nn.ModuleList(Conv(x, x, 3) for x in c)
        self.detect = nn.ModuleList(nn.Conv2d(x, nc + 4, 1) for x in c)
        self.channels = c

    def forward(self, x):
        p3 = self.stem(x)
        p4 = self.p4(p3)
        p5 = self.p5(p4)
        feats = [m(p) for m, p in zip(self.cv2, (p3, p4, p5))]
        return [d(f) for d, f in zip(self.detect, feats)], feats


class MGDLoss(nn.Module):
    def __init__(self, student_channels, teacher_channels, alpha_mgd=0.00002, lambda_mgd=0.65):
        super().__init__()
        self.alpha_mgd, self.lambda_mgd = alpha_mgd, lambda_mgd
        self.generation = nn.ModuleList([
            nn.Sequential(nn.Conv2d(s_chan, t_chan, kernel_size=3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(t_chan, t_chan, kernel_size=3, padding=1))
            for s_chan, t_chan in zip(student_channels, teacher_channels)])

    def forward(self, y_s, y_t):
        losses = []
        for idx, (s, t) in enumerate(zip(y_s, y_t)):
            losses.append(self.get_dis_loss(s, t, idx) * self.alpha_mgd)
        return sum(losses)

    def get_dis_loss(self, preds_S, preds_T, idx):
        n, c, h, w = preds_S.shape
        mat = (torch.rand(n, 1, h, w) > self.lambda_mgd).float()
        return F.mse_loss(self.generation[idx](preds_S * mat), preds_T, reduction='sum') / n


class CWDLoss(nn.Module):
    def __init__(self, tau=1.0):
        super().__init__()
        self.tau = tau

    def forward(self, y_s, y_t):
        losses = []
        for s, t in zip(y_s, y_t):
            n, c, h, w = s.shape
            p = F.softmax(t.reshape(-1, w * h) / self.tau, dim=1)
            losses.append(F.kl_div(F.log_softmax(s.reshape(-1, w * h) / self.tau, dim=1), p, reduction='sum') / (c * n))
        return sum(losses)


class FeatureLoss(nn.Module):
    def __init__(self, channels_s, channels_t, distiller='mgd', loss_weight=1.0):
        super().__init__()
        self.loss_weight = loss_weight
        self.distiller = distiller
        self.align_module = nn.ModuleList([nn.Conv2d(s_chan, t_chan, kernel_size=1) for s_chan, t_chan in zip(channels_s, channels_t)])
        self.norm = nn.ModuleList([nn.BatchNorm2d(t_chan, affine=False) for t_chan in channels_t])
        self.norm1 = nn.ModuleList([nn.BatchNorm2d(s_chan, affine=False) for s_chan in channels_s])
        self.feature_loss = MGDLoss(channels_s, channels_t) if distiller == 'mgd' else CWDLoss()

    def forward(self, y_s, y_t):
        min_len = min(len(y_s), len(y_t))
        tea_feats, stu_feats = [], []
        for idx, (s, t) in enumerate(zip(y_s[:min_len], y_t[:min_len])):
            if self.distiller == 'cwd':
                s = self.align_module[idx](s)
                stu_feats.append(s)
                tea_feats.append(t.detach())
            else:
                t = self.norm1[idx](t)
                stu_feats.append(s)
                tea_feats.append(t.detach())
        return self.loss_weight * self.feature_loss(stu_feats, tea_feats)


class DistillationTrainer(nn.Module):
    def __init__(self, distiller='mgd'):
        super().__init__()
        self.model, self.teacher = DetectionModel(0.25), DetectionModel(0.5)
        self.teacher.requires_grad_(False)
        self.distill_loss = FeatureLoss(self.model.channels, self.teacher.channels, distiller)

    def forward(self, batch):
        preds, feats_s = self.model(batch['img'])
        with torch.no_grad():
            _, feats_t = self.teacher(batch['img'])
        loss = sum(F.mse_loss(p, y) for p, y in zip(preds, batch['targets']))
        return loss + self.distill_loss(feats_s, feats_t)


def build():
    return DistillationTrainer()


def step(model):
    batch = dict(img=torch.randn(4, 3, 64, 64), targets=[torch.randn(4, 10, s, s) for s in (8, 4, 2)])
    return model(batch)


# real fix: t = self.norm[idx](t)
# offending tensor: t (4, 16, 8, 8), the norm has 8 channels
TRUTH = dict(raises='RuntimeError', at='module:distill_loss.norm1.0', culprits=['distill_loss.norm1.0', 'distill_loss'], dim=1, got=16, wanted=8,
             hint_any=['norm', 'num_features', 'batchnorm2d(16', 'teacher'])
MENDED = [('self.norm1[idx](t)', 'self.norm[idx](t)')]
