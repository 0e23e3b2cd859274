import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/wl-zhao/VPD/issues/25'
CATEGORY = 'layer'
DESCRIPTION = 'Depth estimation: the training loop calls squeeze(dim=0) on a batch of three, the channel stays; the loss indexes (3,1,H,W) with the mask (3,H,W) of the ground truth.'


class SiLogLoss(nn.Module):
    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, pred, target):
        valid_mask = (target > 0).detach()
        diff_log = torch.log(target[valid_mask]) - torch.log(pred[valid_mask])
        loss = torch.sqrt(torch.pow(diff_log, 2).mean() - self.lambd * torch.pow(diff_log.mean(), 2))
        return loss


class Attention(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.GroupNorm(4, dim)
        self.qkv = nn.Conv2d(dim, dim * 3, 1)
        self.proj = nn.Conv2d(dim, dim, 1)

    def forward(self, x):
        b, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).flatten(2).chunk(3, dim=1)
        attn = torch.softmax(q.transpose(1, 2) @ k * c ** -0.5, dim=-1)
        return x + self.proj((v @ attn.transpose(1, 2)).view(b, c, h, w))


class Encoder(nn.Module):
    def __init__(self, dims=(16, 24, 32)):
        super().__init__()
        self.stages = nn.ModuleList()
        cin = 3
        for d in dims:
            self.stages.append(nn.Sequential(nn.Conv2d(cin, d, 3, 2, 1), nn.GroupNorm(4, d), nn.SiLU()))
            cin = d
        self.mid = Attention(dims[-1])
        self.aggregation = nn.Conv2d(sum(dims), 48, 1)

    def forward(self, x):
        feats = []
        for stage in self.stages:
            x = stage(x)
            feats.append(x)
        feats[-1] = self.mid(feats[-1])
        size = feats[1].shape[-2:]
        return self.aggregation(torch.cat([F.interpolate(f, size=size, mode='bilinear', align_corners=False) for f in feats], dim=1))


class Decoder(nn.Module):
    def __init__(self, cin, filters=(32, 24)):
        super().__init__()
        layers = []
        for f in filters:
            layers += [nn.ConvTranspose2d(cin, f, 4, 2, 1, bias=False), nn.BatchNorm2d(f), nn.ReLU(inplace=True)]
            cin = f
        self.deconv_layers = nn.Sequential(*layers)
        self.conv_layers = nn.Sequential(nn.Conv2d(cin, cin, 3, 1, 1, bias=False), nn.BatchNorm2d(cin), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.conv_layers(self.deconv_layers(x))


class VPDDepth(nn.Module):
    def __init__(self, max_depth=10.0):
        super().__init__()
        self.max_depth = max_depth
        self.encoder = Encoder()
        self.decoder = Decoder(48)
        self.last_layer_depth = nn.Sequential(nn.Conv2d(24, 24, 3, 1, 1), nn.ReLU(), nn.Conv2d(24, 1, 3, 1, 1))

    def forward(self, x):
        out_depth = self.last_layer_depth(self.decoder(self.encoder(x)))
        return {'pred_d': torch.sigmoid(out_depth) * self.max_depth}


def build():
    return VPDDepth()


def train_one_batch(model, criterion_d, batch):
    input_RGB = batch['image']
    depth_gt = batch['depth']
    preds = model(input_RGB)
    pred_d, gt = preds['pred_d'].squeeze(dim=0), depth_gt
    return criterion_d(pred_d, gt)


def step(model):
    depth = torch.rand(3, 48, 48) * 9 + 0.5
    depth[:, :6] = 0
    return train_one_batch(model, SiLogLoss(), dict(image=torch.rand(3, 3, 48, 48), depth=depth))


# real fix: preds['pred_d'].squeeze(dim=1)
# offending tensor: pred_d (3, 1, 48, 48), (3, 48, 48) wanted
TRUTH = dict(raises='IndexError', at='function:getitem', culprits=['function:squeeze'], dim=1, got=1, wanted=None,
             hint_any=['squeeze', 'dim=1', 'channel'])
MENDED = [("preds['pred_d'].squeeze(dim=0)", "preds['pred_d'].squeeze(dim=1)")]
