import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/klintan/pytorch-lanenet/issues/12 (surroundings reconstructed)'
CATEGORY = 'silent'
DESCRIPTION = 'Lane embedding loss: the distance of each pixel embedding (n, d) to its lane mean is a norm along dim 0, over the pixels, not along the embedding.'


class Down(nn.Sequential):
    def __init__(self, cin, cout):
        super().__init__(nn.Conv2d(cin, cout, 3, 2, 1), nn.BatchNorm2d(cout), nn.ReLU())


class LaneNet(nn.Module):
    def __init__(self, embedding_dim=4):
        super().__init__()
        self.encoder = nn.Sequential(Down(3, 16), Down(16, 24))
        self.binary_head = nn.Sequential(nn.Upsample(scale_factor=4), nn.Conv2d(24, 2, 3, padding=1))
        self.instance_head = nn.Sequential(nn.Upsample(scale_factor=4), nn.Conv2d(24, embedding_dim, 3, padding=1))

    def forward(self, x):
        f = self.encoder(x)
        return self.binary_head(f), self.instance_head(f)


class DiscriminativeLoss(nn.Module):
    def __init__(self, delta_var=0.5, delta_dist=1.5, alpha=1.0, beta=1.0, gamma=0.001):
        super().__init__()
        self.delta_var, self.delta_dist = delta_var, delta_dist
        self.alpha, self.beta, self.gamma = alpha, beta, gamma

    def forward(self, embedding, instances):
        var_loss = dist_loss = reg_loss = embedding.sum() * 0.0
        for emb, gt in zip(embedding, instances):
            emb = emb.permute(1, 2, 0)
            ids = [i for i in torch.unique(gt).tolist() if i > 0]
            means = []
            for i in ids:
                pixels = emb[gt == i]
                mean = pixels.mean(dim=0)
                means.append(mean)
                distance = torch.norm(pixels - mean, dim=0)
                var_loss = var_loss + (F.relu(distance - self.delta_var) ** 2).mean() / len(ids)
            means = torch.stack(means)
            if len(ids) > 1:
                diff = torch.norm(means.unsqueeze(1) - means.unsqueeze(0), dim=2)
                diff = diff + torch.eye(len(ids)) * self.delta_dist * 2
                dist_loss = dist_loss + (F.relu(2 * self.delta_dist - diff) ** 2).sum() / (len(ids) * (len(ids) - 1))
            reg_loss = reg_loss + torch.norm(means, dim=1).mean()
        return (self.alpha * var_loss + self.beta * dist_loss + self.gamma * reg_loss) / len(embedding)


def draw_lanes(n, size=32, lanes=3):
    gt = torch.zeros(n, size, size, dtype=torch.long)
    for k in range(lanes):
        gt[:, :, 4 + 9 * k:7 + 9 * k] = k + 1
    return gt


def build():
    return LaneNet()


def step(model):
    instances = draw_lanes(2)
    binary, embedding = model(torch.rand(2, 3, 32, 32))
    return F.cross_entropy(binary, (instances > 0).long()) + DiscriminativeLoss()(embedding, instances)


# real fix: dim=1, one distance for each pixel
TRUTH = dict(raises=None, at='function:norm', culprits=['function:norm'], dim=0, got=None, wanted=None,
             hint_any=['dim=1', 'dim=-1', 'dim 0', 'norm'])
MENDED = [('torch.norm(pixels - mean, dim=0)', 'torch.norm(pixels - mean, dim=1)')]
