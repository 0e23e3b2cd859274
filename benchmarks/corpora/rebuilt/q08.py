import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/yijingru/BBAVectors-Oriented-Object-Detection/issues/101'
CATEGORY = 'layer'
DESCRIPTION = 'Oriented boxes: the network is built for the 15 classes of the DOTA table, the data set class lists 11 categories and draws 11 heat maps.'

num_classes = {'dota': 15, 'hrsc': 1}


class DOTA:
    def __init__(self, size=64, down_ratio=4):
        self.category = ['plane', 'bridge', 'small-vehicle', 'large-vehicle', 'ship', 'tank', 'basketball', 'harbor', 'pool', 'helicopter', 'field']
        self.num_classes = len(self.category)
        self.size, self.out = size, size // down_ratio

    def __getitem__(self, index):
        hm = torch.zeros(self.num_classes, self.out, self.out)
        wh, ind, mask = torch.zeros(8, 10), torch.zeros(8, dtype=torch.long), torch.zeros(8)
        for k in range(3):
            y, x = torch.randint(2, self.out - 2, (2,)).tolist()
            c = int(torch.randint(0, self.num_classes, (1,)))
            hm[c, y - 1:y + 2, x - 1:x + 2] = 0.6
            hm[c, y, x] = 1.0
            wh[k], ind[k], mask[k] = torch.randn(10), y * self.out + x, 1
        return dict(input=torch.rand(3, self.size, self.size), hm=hm, wh=wh, ind=ind, reg_mask=mask)


class CTRBOX(nn.Module):
    def __init__(self, heads, head_conv=16):
        super().__init__()
        self.base = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.dec = nn.Conv2d(16, 16, 3, padding=1)
        self.heads = heads
        for head, classes in heads.items():
            setattr(self, head, nn.Sequential(nn.Conv2d(16, head_conv, 3, padding=1), nn.ReLU(), nn.Conv2d(head_conv, classes, 1)))

    def forward(self, x):
        x = F.relu(self.dec(self.base(x)))
        out = {head: getattr(self, head)(x) for head in self.heads}
        out['hm'] = torch.sigmoid(out['hm'])
        return out


class FocalLoss(nn.Module):
    def forward(self, pred, gt):
        pred = pred.clamp(1e-4, 1 - 1e-4)
        pos_inds, neg_inds = gt.eq(1).float(), gt.lt(1).float()
        neg_weights = torch.pow(1 - gt, 4)
        pos_loss = torch.log(pred) * torch.pow(1 - pred, 2) * pos_inds
        neg_loss = torch.log(1 - pred) * torch.pow(pred, 2) * neg_weights * neg_inds
        return -(pos_loss.sum() + neg_loss.sum()) / pos_inds.sum().clamp(min=1)


class OffSmoothL1Loss(nn.Module):
    def forward(self, output, mask, ind, target):
        b, c, h, w = output.shape
        feat = output.view(b, c, h * w).permute(0, 2, 1)
        pred = feat.gather(1, ind.unsqueeze(2).expand(-1, -1, c))
        m = mask.unsqueeze(2).expand_as(pred)
        return F.smooth_l1_loss(pred * m, target * m)


class LossAll(nn.Module):
    def __init__(self):
        super().__init__()
        self.L_hm, self.L_wh = FocalLoss(), OffSmoothL1Loss()

    def forward(self, pr, gt):
        return self.L_hm(pr['hm'], gt['hm']) + self.L_wh(pr['wh'], gt['reg_mask'], gt['ind'], gt['wh'])


def collate(samples):
    return {k: torch.stack([s[k] for s in samples]) for k in samples[0]}


def build():
    return CTRBOX({'hm': num_classes['dota'], 'wh': 10})


def step(model):
    data = DOTA()
    batch = collate([data[i] for i in range(4)])
    return LossAll()(model(batch['input']), batch)


# real fix: the number of classes of the data set in the table
# offending tensor: pred (4, 15, 16, 16), 11 heat maps drawn
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['hm.2', 'hm'], dim=1, got=15, wanted=11,
             hint_any=['class', 'hm', 'out_channels', 'channel'])
MENDED = [("{'dota': 15,", "{'dota': 11,")]
