import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/nakosung/VQ-VAE/issues/3 (76 against 78; images of 218 x 178 are read from the numbers)'
CATEGORY = 'loss'
DESCRIPTION = 'VQ-VAE on CelebA: scaling the shorter edge to 64 leaves 78 rows, which two halvings do not divide, the reconstruction has 76.'


class Config:
    image_size, code_dim = 64, 16
    z_dim, k_dim, g_conv_dim = 32, 64, 16
    vq_beta, batch_size = 0.25, 4


class Scale:
    def __init__(self, size):
        self.size = size

    def __call__(self, img):
        h, w = img.shape[1:]
        if w <= h:
            oh, ow = int(self.size * h / w), self.size
        else:
            oh, ow = self.size, int(self.size * w / h)
        return F.interpolate(img[None], size=(oh, ow), mode='bilinear', align_corners=False)[0]


class CenterCrop:
    def __init__(self, size):
        self.size = size

    def __call__(self, img):
        top, left = (img.shape[1] - self.size) // 2, (img.shape[2] - self.size) // 2
        return img[:, top:top + self.size, left:left + self.size]


def compose(*transforms):
    def run(img):
        for t in transforms:
            img = t(img)
        return img
    return run


class ImageFolder(Dataset):
    def __init__(self, transform, n=8):
        self.images = torch.rand(n, 3, 218, 178, generator=torch.Generator().manual_seed(3)) * 2 - 1
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(self.images[index])


def get_loader(image_size, batch_size):
    transform = compose(Scale(image_size))
    return DataLoader(ImageFolder(transform), batch_size=batch_size)


class Generator(nn.Module):
    def __init__(self, image_size=64, z_dim=256, conv_dim=64, code_dim=16, k_dim=256):
        super().__init__()
        self.z_dim = z_dim
        self.dict = nn.Embedding(k_dim, z_dim)
        layers = [nn.Conv2d(3, conv_dim, kernel_size=3, padding=1), nn.BatchNorm2d(conv_dim), nn.ReLU()]
        repeat_num = int(math.log2(image_size / code_dim))
        curr_dim = conv_dim
        for i in range(repeat_num):
            layers.append(nn.Conv2d(curr_dim, conv_dim * (i + 2), kernel_size=4, stride=2, padding=1))
            layers.append(nn.BatchNorm2d(conv_dim * (i + 2)))
            layers.append(nn.ReLU())
            curr_dim = conv_dim * (i + 2)
        layers.append(nn.Conv2d(curr_dim, z_dim, kernel_size=1))
        self.encoder = nn.Sequential(*layers)

        layers = [nn.ConvTranspose2d(z_dim, curr_dim, kernel_size=1), nn.BatchNorm2d(curr_dim), nn.ReLU()]
        for i in reversed(range(repeat_num)):
            layers.append(nn.ConvTranspose2d(curr_dim, conv_dim * (i + 1), kernel_size=4, stride=2, padding=1))
            layers.append(nn.BatchNorm2d(conv_dim * (i + 1)))
            layers.append(nn.ReLU())
            curr_dim = conv_dim * (i + 1)
        layers.append(nn.Conv2d(curr_dim, 3, kernel_size=3, padding=1))
        self.decoder = nn.Sequential(*layers)

    def forward(self, x):
        h = self.encoder(x)
        sz = h.size()
        Z = h.permute(0, 2, 3, 1).contiguous().view(-1, self.z_dim)
        W = self.dict.weight

        def L2_dist(a, b):
            return (a - b) ** 2

        j = L2_dist(Z[:, None], W[None, :]).sum(2).min(1)[1]
        W_j = W[j]
        q = Z + (W_j - Z).detach()
        h = q.view(sz[0], sz[2], sz[3], sz[1]).permute(0, 3, 1, 2)
        return self.decoder(h), L2_dist(Z, W_j.detach()).sum(1).mean(), L2_dist(Z.detach(), W_j).sum(1).mean()


def build():
    torch.manual_seed(0)
    c = Config()
    return Generator(c.image_size, c.z_dim, c.g_conv_dim, c.code_dim, c.k_dim)


def step(model):
    c = Config()
    reconst_loss = nn.L1Loss()
    x = next(iter(get_loader(c.image_size, c.batch_size)))
    out, loss_e1, loss_e2 = model(x)
    loss_rec = reconst_loss(out, x)
    return loss_rec + loss_e1 + c.vq_beta * loss_e2


# report: the two rows too many are cut off the images; encoder.6 is the halving that 39 rows do not survive
TRUTH = dict(raises='RuntimeError', at='loss:l1_loss', culprits=['input', 'target', 'encoder.6', 'decoder.3'], dim=2, got=76, wanted=78,
             hint_any=['76', '78', '39', 'divisible', 'output_padding', 'crop'])
MENDED = [('compose(Scale(image_size))', 'compose(Scale(image_size), CenterCrop(image_size))')]
