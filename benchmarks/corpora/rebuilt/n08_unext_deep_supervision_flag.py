import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/jeya-maria-jose/UNeXt-pytorch/issues/7'
CATEGORY = 'loss'
DESCRIPTION = 'Breast ultrasound segmentation: training is switched to deep supervision, but the network has one output.'


class BUSI(Dataset):
    def __init__(self, n=16, size=64):
        self.images = torch.randn(n, 3, size, size)
        self.masks = (self.images.mean(1, keepdim=True) > 0.5).float()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.masks[i], {'img_id': i}


class DWConv(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x, H, W):
        B, N, C = x.shape
        x = self.dwconv(x.transpose(1, 2).view(B, C, H, W))
        return x.flatten(2).transpose(1, 2)


class ShiftedBlock(nn.Module):
    def __init__(self, dim, shift_size=3):
        super().__init__()
        self.shift_size = shift_size
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, dim)
        self.dwconv = DWConv(dim)
        self.fc2 = nn.Linear(dim, dim)

    def shift(self, x, H, W, dim):
        B, N, C = x.shape
        chunks = x.transpose(1, 2).view(B, C, H, W).chunk(self.shift_size, 1)
        pad = self.shift_size // 2
        x = torch.cat([torch.roll(c, s, dim) for c, s in zip(chunks, range(-pad, pad + 1))], 1)
        return x.flatten(2).transpose(1, 2)

    def forward(self, x, H, W):
        y = self.fc1(self.shift(self.norm(x), H, W, 2))
        y = F.gelu(self.dwconv(y, H, W))
        return x + self.fc2(self.shift(y, H, W, 3))


class UNext(nn.Module):
    def __init__(self, num_classes, input_channels=3, deep_supervision=False, embed_dims=(8, 12, 24)):
        super().__init__()
        self.encoder1 = nn.Conv2d(input_channels, embed_dims[0], 3, padding=1)
        self.encoder2 = nn.Conv2d(embed_dims[0], embed_dims[1], 3, padding=1)
        self.patch_embed = nn.Conv2d(embed_dims[1], embed_dims[2], 3, 2, 1)
        self.blocks = nn.ModuleList([ShiftedBlock(embed_dims[2]) for _ in range(2)])
        self.decoder2 = nn.Conv2d(embed_dims[2], embed_dims[1], 3, padding=1)
        self.decoder1 = nn.Conv2d(embed_dims[1], embed_dims[0], 3, padding=1)
        self.final = nn.Conv2d(embed_dims[0], num_classes, 1)

    def forward(self, x):
        t1 = F.relu(F.max_pool2d(self.encoder1(x), 2))
        t2 = F.relu(F.max_pool2d(self.encoder2(t1), 2))
        out = self.patch_embed(t2)
        B, C, H, W = out.shape
        out = out.flatten(2).transpose(1, 2)
        for blk in self.blocks:
            out = blk(out, H, W)
        out = out.transpose(1, 2).view(B, C, H, W)
        out = F.relu(F.interpolate(self.decoder2(out), scale_factor=2, mode='bilinear')) + t2
        out = F.relu(F.interpolate(self.decoder1(out), scale_factor=2, mode='bilinear')) + t1
        return self.final(F.interpolate(out, scale_factor=2, mode='bilinear'))


class BCEDiceLoss(nn.Module):
    def forward(self, input, target):
        bce = F.binary_cross_entropy_with_logits(input, target)
        num = target.size(0)
        input, target = torch.sigmoid(input).view(num, -1), target.view(num, -1)
        dice = (2. * (input * target).sum(1) + 1e-5) / (input.sum(1) + target.sum(1) + 1e-5)
        return 0.5 * bce + 1 - dice.sum() / num


def train_iteration(config, model, batch, criterion):
    input, target, _ = batch
    if config['deep_supervision']:
        outputs = model(input)
        loss = 0
        for output in outputs:
            loss = loss + criterion(output, target)
        return loss / len(outputs)
    return criterion(model(input), target)


config = dict(arch='UNext', num_classes=1, input_channels=3, deep_supervision=True, batch_size=8)


def build():
    return UNext(config['num_classes'], config['input_channels'], config['deep_supervision'])


def step(model):
    loader = DataLoader(BUSI(), batch_size=config['batch_size'])
    return train_iteration(config, model, next(iter(loader)), BCEDiceLoss())


# real cause: outputs is one tensor, so the loop goes over its batch; pair each output with its own target, or switch deep_supervision off
# offending tensor: output (1, 64, 64) against target (8, 1, 64, 64)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['function:unbind', 'function:iter', ''],
             dim=None, got=None, wanted=None, hint_any=['iterat', 'loop', 'for ', 'batch dimension', 'unbind', 'list of outputs', 'one tensor', 'single'])
MENDED = [('deep_supervision=True, batch_size', 'deep_supervision=False, batch_size')]
