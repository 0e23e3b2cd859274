import torch
import torch.nn as nn
import torch.nn.functional as F
from types import SimpleNamespace

SOURCE = 'https://github.com/suetAndTie/cycle-image-gan/issues/8'
CATEGORY = 'layer'
DESCRIPTION = 'AttnGAN discriminators: real images of the wrong size reach the 64x64 discriminator (map 18x18), the sentence code is repeated to 4x4.'

cfg = SimpleNamespace(
    TREE=SimpleNamespace(BRANCH_NUM=2, BASE_SIZE=64),
    GAN=SimpleNamespace(DF_DIM=8, GF_DIM=8, Z_DIM=20, CONDITION_DIM=20),
    TEXT=SimpleNamespace(EMBEDDING_DIM=32),
    TRAIN=SimpleNamespace(BATCH_SIZE=4))


def downBlock(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.2))


def upBlock(i, o):
    return nn.Sequential(nn.Upsample(scale_factor=2, mode='nearest'), nn.Conv2d(i, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.2))


def Block3x3_leakRelu(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.2))


def encode_image_by_16times(ndf):
    return nn.Sequential(nn.Conv2d(3, ndf, 4, 2, 1, bias=False), nn.LeakyReLU(0.2), downBlock(ndf, ndf * 2), downBlock(ndf * 2, ndf * 4), downBlock(ndf * 4, ndf * 8))


class D_GET_LOGITS(nn.Module):
    def __init__(self, ndf, nef, bcondition=False):
        super().__init__()
        self.df_dim, self.ef_dim, self.bcondition = ndf, nef, bcondition
        if bcondition:
            self.jointConv = Block3x3_leakRelu(ndf * 8 + nef, ndf * 8)
        self.outlogits = nn.Sequential(nn.Conv2d(ndf * 8, 1, kernel_size=4, stride=4), nn.Sigmoid())

    def forward(self, h_code, c_code=None):
        if self.bcondition and c_code is not None:
            c_code = c_code.view(-1, self.ef_dim, 1, 1)
            c_code = c_code.repeat(1, 1, 4, 4)
            h_c_code = torch.cat((h_code, c_code), 1)
            h_c_code = self.jointConv(h_c_code)
        else:
            h_c_code = h_code
        return self.outlogits(h_c_code).view(-1)


class D_NET64(nn.Module):
    def __init__(self):
        super().__init__()
        ndf, nef = cfg.GAN.DF_DIM, cfg.TEXT.EMBEDDING_DIM
        self.img_code_s16 = encode_image_by_16times(ndf)
        self.UNCOND_DNET = D_GET_LOGITS(ndf, nef, bcondition=False)
        self.COND_DNET = D_GET_LOGITS(ndf, nef, bcondition=True)

    def forward(self, x):
        return self.img_code_s16(x)


class D_NET128(D_NET64):
    def __init__(self):
        super().__init__()
        ndf = cfg.GAN.DF_DIM
        self.img_code_s32 = downBlock(ndf * 8, ndf * 16)
        self.img_code_s32_1 = Block3x3_leakRelu(ndf * 16, ndf * 8)

    def forward(self, x):
        return self.img_code_s32_1(self.img_code_s32(self.img_code_s16(x)))


class G_NET(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(cfg.GAN.Z_DIM + cfg.TEXT.EMBEDDING_DIM, 16 * 16)
        self.up64 = nn.Sequential(upBlock(16, 16), upBlock(16, 8), upBlock(8, 8), upBlock(8, 8))
        self.up128 = upBlock(8, 8)
        self.img64, self.img128 = nn.Conv2d(8, 3, 3, 1, 1), nn.Conv2d(8, 3, 3, 1, 1)

    def forward(self, z, sent_emb):
        h = self.fc(torch.cat([z, sent_emb], 1)).view(-1, 16, 4, 4)
        h = self.up64(h)
        return [torch.tanh(self.img64(h)), torch.tanh(self.img128(self.up128(h)))]


class GANTrainer(nn.Module):
    def __init__(self):
        super().__init__()
        self.netG = G_NET()
        self.netsD = nn.ModuleList([D_NET64(), D_NET128()])


def get_imgs(raw, imsize):
    """One picture for every branch, from the smallest to the largest."""
    ret = []
    for i in range(cfg.TREE.BRANCH_NUM):
        if i < (cfg.TREE.BRANCH_NUM - 1):
            re_img = F.interpolate(raw, size=(imsize[i], imsize[i]), mode='bilinear', align_corners=False)
        else:
            re_img = raw
        ret.append(re_img * 2 - 1)
    return ret


def get_imsize(base_size):
    sizes = []
    for _ in range(cfg.TREE.BRANCH_NUM):
        sizes.append(base_size)
        base_size = base_size * 2
    return sizes


def discriminator_loss(netD, real_imgs, fake_imgs, conditions, real_labels, fake_labels):
    real_features = netD(real_imgs)
    fake_features = netD(fake_imgs.detach())
    cond_real_errD = F.binary_cross_entropy(netD.COND_DNET(real_features, conditions), real_labels)
    cond_fake_errD = F.binary_cross_entropy(netD.COND_DNET(fake_features, conditions), fake_labels)
    real_errD = F.binary_cross_entropy(netD.UNCOND_DNET(real_features), real_labels)
    fake_errD = F.binary_cross_entropy(netD.UNCOND_DNET(fake_features), fake_labels)
    return (real_errD + cond_real_errD) / 2. + (fake_errD + cond_fake_errD) / 2.


def build():
    return GANTrainer()


def step(model):
    n = cfg.TRAIN.BATCH_SIZE
    raw = torch.rand(n, 3, 128, 128)
    imgs = get_imgs(raw, get_imsize(299))
    sent_emb, noise = torch.randn(n, cfg.TEXT.EMBEDDING_DIM), torch.randn(n, cfg.GAN.Z_DIM)
    fake_imgs = model.netG(noise, sent_emb)
    errD_total = 0
    for i in range(len(model.netsD)):
        errD_total = errD_total + discriminator_loss(model.netsD[i], imgs[i], fake_imgs[i], sent_emb, torch.ones(n), torch.zeros(n))
    return errD_total


# real fix: get_imsize(cfg.TREE.BASE_SIZE): the pyramid begins with the 64 pixels of the first branch (299 is the size of the image encoder)
# offending tensor: imgs[0] (4, 3, 299, 299), h_code (4, 64, 18, 18)
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['function:interpolate', 'input', 'function:repeat'], dim=2, got=18, wanted=4,
             hint_any=['299', '64', 'interpolate', 'resize', 'image'])
MENDED = [('get_imsize(299)', 'get_imsize(cfg.TREE.BASE_SIZE)')]
