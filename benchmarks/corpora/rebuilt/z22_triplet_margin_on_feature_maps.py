import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/cvlab-yonsei/LbA/issues/4'
CATEGORY = 'loss'
DESCRIPTION = 'TripletMarginLoss applied to (B,C,H,W) maps takes its distance over the width; the co-attention mask expects one over the channels.'


class Embed(nn.Module):
    def __init__(self, channels=32):
        super().__init__()
        self.visible = nn.Sequential(nn.Conv2d(3, channels, 3, stride=2, padding=1), nn.BatchNorm2d(channels), nn.ReLU())
        self.thermal = nn.Sequential(nn.Conv2d(3, channels, 3, stride=2, padding=1), nn.BatchNorm2d(channels), nn.ReLU())
        self.shared = nn.Sequential(nn.Conv2d(channels, channels, 3, stride=2, padding=1), nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, 7)
        self.criterion = nn.TripletMarginLoss(margin=0.3, p=2.0, reduction='none')

    def features(self, vis, ir):
        return self.shared(torch.cat([self.visible(vis), self.thermal(ir)], dim=0))

    @staticmethod
    def warp(query, key):
        b, c, h, w = query.shape
        q = F.normalize(query.flatten(2), dim=1)
        k = F.normalize(key.flatten(2), dim=1)
        attn = torch.softmax(torch.bmm(q.transpose(1, 2), k) * 50, dim=-1)
        recon = torch.bmm(key.flatten(2), attn.transpose(1, 2)).view(b, c, h, w)
        return recon

    @staticmethod
    def comask(feat, recon):
        m1 = feat.norm(dim=1, keepdim=True)
        m2 = recon.norm(dim=1, keepdim=True)
        norm = lambda m: (m - m.amin((2, 3), True)) / (m.amax((2, 3), True) - m.amin((2, 3), True) + 1e-12)
        return (norm(m1) * norm(m2)).detach()

    def forward(self, vis, ir, label):
        feat = self.features(vis, ir)
        b = vis.shape[0]
        pos = torch.cat([feat[b:], feat[:b]], dim=0)
        neg = torch.cat([feat[b:].roll(1, 0), feat[:b].roll(1, 0)], dim=0)
        feat_recon_pos = self.warp(feat, pos)
        feat_recon_neg = self.warp(feat, neg)
        comask_pos = self.comask(feat, feat_recon_pos)
        dense = torch.mean(comask_pos * self.criterion(feat, feat_recon_pos, feat_recon_neg))
        logits = self.classifier(feat.mean(dim=(2, 3)))
        return F.cross_entropy(logits, torch.cat([label, label])) + 0.5 * dense


def build():
    torch.manual_seed(1)
    return Embed()


def step(model):
    vis, ir = torch.randn(4, 3, 48, 24), torch.randn(4, 3, 48, 24)
    return model(vis, ir, torch.tensor([0, 1, 2, 3]))


# real fix: hand the triplet loss channels-last tensors and put the channel dimension of the mask back
# feat is (8, 32, 12, 6); the loss comes out as (8, 32, 12) and the mask is (8, 1, 12, 6)
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['criterion', 'function:triplet_margin_loss', 'loss:triplet_margin_loss'],
             dim=2, got=12, wanted=6, hint_any=['channel', 'permute', 'last dim', 'triplet', 'movedim', 'reduces'])
MENDED = [('self.criterion(feat, feat_recon_pos, feat_recon_neg)',
           'self.criterion(feat.permute(0, 2, 3, 1), feat_recon_pos.permute(0, 2, 3, 1), feat_recon_neg.permute(0, 2, 3, 1)).unsqueeze(1)')]
