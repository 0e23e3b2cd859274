import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/VICO-UoE/MTPSL/issues/3 (1x2 and 6x64; the author repaired it in the repository, that gamma and beta were left at the three tasks of NYUv2 is read from the sizes)'
CATEGORY = 'layer'
DESCRIPTION = ('Multi-task learning with partial labels on Cityscapes (segmentation and depth): predictions of one task are mapped to a joint space by a '
               'network conditioned on the pair of tasks.')


class ConditionedBlock(nn.Module):
    def __init__(self, channel, num_pairs):
        super().__init__()
        self.conv = nn.Conv2d(channel[0], channel[1], kernel_size=3, padding=1)
        self.bn = nn.BatchNorm2d(channel[1], affine=False)
        self.gamma = nn.Parameter(torch.ones(channel[1], num_pairs))
        self.beta = nn.Parameter(torch.zeros(channel[1], num_pairs))

    def forward(self, x, A_taskpair):
        gamma = torch.mm(A_taskpair, self.gamma.t())
        beta = torch.mm(A_taskpair, self.beta.t())
        x = self.bn(self.conv(x))
        return F.relu(x * gamma[..., None, None] + beta[..., None, None])


class Mapfns(nn.Module):
    def __init__(self, tasks, input_channels, filters=(64, 64), num_pairs=6):
        super().__init__()
        self.tasks = tasks
        self.input_channels = input_channels
        self.pred_encoder_source = nn.ModuleDict({t: nn.Conv2d(input_channels[t], filters[0], 1) for t in tasks})
        self.encoder_block = nn.ModuleList(ConditionedBlock([filters[0] if i == 0 else filters[i - 1], f], num_pairs) for i, f in enumerate(filters))
        self.pairs = [(s, t) for s in tasks for t in tasks if s != t]

    def get_task_pair(self, source, target):
        A = torch.zeros(1, len(self.pairs))
        A[0, self.pairs.index((source, target))] = 1
        return A

    def forward(self, x, source, target):
        A_taskpair = self.get_task_pair(source, target)
        h = self.pred_encoder_source[source](x)
        for block in self.encoder_block:
            h = block(h, A_taskpair)
        return h


class MapConsistency(nn.Module):
    def __init__(self, tasks, input_channels):
        super().__init__()
        self.mapfns = Mapfns(tasks, input_channels)

    def forward(self, source_pred, target_gt, feat, source, target):
        mapout_source = self.mapfns(source_pred, source, target)
        mapout_target = self.mapfns(target_gt, target, source)
        loss = 1 - F.cosine_similarity(mapout_source, mapout_target, dim=1).mean()
        return loss + 0.1 * (1 - F.cosine_similarity(mapout_source, feat, dim=1).mean())


class SegNet(nn.Module):
    def __init__(self, tasks, channels):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2))
        self.decoder = nn.Sequential(nn.ConvTranspose2d(32, 64, 2, stride=2), nn.ReLU())
        self.pred_task = nn.ModuleDict({t: nn.Conv2d(64, channels[t], 1) for t in tasks})

    def forward(self, x):
        feat = self.decoder(self.encoder(x))
        return {t: head(feat) for t, head in self.pred_task.items()}, feat


class Trainer(nn.Module):
    def __init__(self, tasks=('segmentation', 'depth')):
        super().__init__()
        self.tasks = tasks
        self.channels = {'segmentation': 7, 'depth': 1}
        self.model = SegNet(tasks, self.channels)
        self.map = MapConsistency(tasks, self.channels)

    def forward(self, image, labels, available):
        pred, feat = self.model(image)
        loss = 0
        for ind in range(len(image)):
            for i, task in enumerate(self.tasks):
                if available[ind, i]:
                    loss = loss + self.task_loss(pred[task][ind:ind + 1], labels[task][ind:ind + 1], task)
                    other = self.tasks[1 - i]
                    gt = labels[task][ind:ind + 1]
                    gt = F.one_hot(gt, 7).permute(0, 3, 1, 2).float() if task == 'segmentation' else gt
                    loss = loss + self.map(pred[other][ind:ind + 1], gt, feat[ind:ind + 1], other, task)
        return loss / len(image)

    def task_loss(self, pred, gt, task):
        return F.cross_entropy(pred, gt) if task == 'segmentation' else F.l1_loss(pred, gt)


def build():
    torch.manual_seed(0)
    return Trainer()


def step(model):
    image = torch.rand(2, 3, 32, 64)
    labels = {'segmentation': torch.randint(0, 7, (2, 32, 64)), 'depth': torch.rand(2, 1, 32, 64)}
    return model(image, labels, torch.tensor([[1, 0], [0, 1]]))


TRUTH = dict(raises='RuntimeError', at='function:mm', culprits=['map.mapfns.encoder_block.0', 'map.mapfns', 'function:mm'], dim=1, got=2, wanted=6,
             hint_any=['gamma', 'pair', 'task', '6'])
MENDED = [('ConditionedBlock([filters[0] if i == 0 else filters[i - 1], f], num_pairs)',
           'ConditionedBlock([filters[0] if i == 0 else filters[i - 1], f], len(tasks) * (len(tasks) - 1))')]
