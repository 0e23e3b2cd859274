import torch
import torch.nn as nn

SOURCE = 'https://github.com/juglab/EmbedSeg/issues/31'
CATEGORY = 'layer'
DESCRIPTION = 'EmbedSeg: the loss holds a coordinate grid for crops of 64 pixels, the crops were made with 96: the slice of the grid stays at 64.'

configs = dict(grid_y=64, grid_x=64, pixel_y=1, pixel_x=1, n_sigma=2)
train_dataset_dict = dict(crop_size=96, batch_size=2, size=6)


class BranchedERFNet(nn.Module):
    def __init__(self, num_classes=(4, 1), input_channel=1):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(input_channel, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1),
                                     nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=2, dilation=2), nn.ReLU())
        self.decoders = nn.ModuleList([nn.Sequential(nn.ConvTranspose2d(24, 16, 2, 2), nn.ReLU(), nn.ConvTranspose2d(16, n, 2, 2)) for n in num_classes])

    def forward(self, x):
        feat = self.encoder(x)
        return torch.cat([d(feat) for d in self.decoders], 1)


class SpatialEmbLoss(nn.Module):
    def __init__(self, grid_y, grid_x, pixel_y, pixel_x, n_sigma, foreground_weight=10):
        super().__init__()
        self.n_sigma, self.foreground_weight = n_sigma, foreground_weight
        xm = torch.linspace(0, pixel_x, grid_x).view(1, 1, -1).expand(1, grid_y, grid_x)
        ym = torch.linspace(0, pixel_y, grid_y).view(1, -1, 1).expand(1, grid_y, grid_x)
        self.register_buffer('xym', torch.cat((xm, ym), 0))

    def forward(self, prediction, instances, labels, w_inst=1, w_var=10, w_seed=1):
        batch_size, height, width = prediction.size(0), prediction.size(2), prediction.size(3)
        xym_s = self.xym[:, 0:height, 0:width].contiguous()
        loss = 0
        for b in range(batch_size):
            spatial_emb = torch.tanh(prediction[b, 0:2]) + xym_s
            sigma = prediction[b, 2:2 + self.n_sigma]
            seed_map = torch.sigmoid(prediction[b, 2 + self.n_sigma:2 + self.n_sigma + 1])
            var_loss, instance_loss, seed_loss, count = 0, 0, 0, 0
            instance, label = instances[b].unsqueeze(0), labels[b].unsqueeze(0)
            seed_loss = seed_loss + seed_map[label == 0].pow(2).sum()
            for i in instance.unique():
                if i == 0:
                    continue
                in_mask = instance.eq(i)
                center = spatial_emb[in_mask.expand_as(spatial_emb)].view(2, -1).mean(1).view(2, 1, 1)
                s_in = sigma[in_mask.expand_as(sigma)].view(self.n_sigma, -1)
                s = s_in.mean(1).view(self.n_sigma, 1, 1)
                var_loss = var_loss + (s_in - s[..., 0].detach()).pow(2).mean()
                dist = torch.exp(-((spatial_emb - center).pow(2) * torch.exp(s * 10)).sum(0, keepdim=True))
                instance_loss = instance_loss + (dist - in_mask.float()).pow(2).mean()
                seed_loss = seed_loss + self.foreground_weight * (seed_map[in_mask] - dist[in_mask].detach()).pow(2).sum()
                count += 1
            loss = loss + w_inst * instance_loss / max(count, 1) + w_var * var_loss / max(count, 1) + w_seed * seed_loss / (height * width)
        return loss / batch_size


class Crops:
    def __init__(self, crop_size, batch_size, size):
        self.crop_size, self.batch_size, self.size = crop_size, batch_size, size

    def batch(self):
        c = self.crop_size
        image, instance = torch.rand(self.batch_size, 1, c, c), torch.zeros(self.batch_size, c, c, dtype=torch.long)
        for k in range(1, self.size):
            y, x = torch.randint(0, c - 14, (2,)).tolist()
            instance[:, y:y + 12, x:x + 12] = k
        return image, instance, (instance > 0).long()


def build():
    return BranchedERFNet()


def step(model):
    criterion = SpatialEmbLoss(**configs)
    image, instance, label = Crops(**train_dataset_dict).batch()
    return criterion(model(image), instance, label)


# real fix: a grid as large as the crops
# offending tensor: xym_s (2, 64, 64), 96 expected
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['function:getitem', 'input', 'function:cat', 'function:contiguous', 'function:linspace', ''], dim=2, got=64, wanted=96,
             hint_any=['grid', 'xym', 'slice', 'crop', '64', 'buffer'])
MENDED = [('dict(grid_y=64, grid_x=64', 'dict(grid_y=96, grid_x=96')]
