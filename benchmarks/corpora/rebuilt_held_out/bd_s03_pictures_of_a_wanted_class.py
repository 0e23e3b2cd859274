import argparse
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/clvrai/ACGAN-PyTorch/issues/6 (1 against 16; answer: --imageSize 32)'
CATEGORY = 'loss'
DESCRIPTION = ('Auxiliary-classifier GAN on CIFAR-10: the pictures are scaled to the default imageSize of 128, the discriminator for CIFAR-10 flattens with '
               'view(-1, 4*4*512), so every picture becomes 16 rows.')


class CIFAR10(Dataset):
    def __init__(self, n, image_size):
        g = torch.Generator().manual_seed(7)
        self.data = torch.rand(n, 3, 32, 32, generator=g)
        self.labels = torch.randint(0, 10, (n,), generator=g)
        self.resize = nn.Upsample(size=(image_size, image_size), mode='bilinear', align_corners=False)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return self.resize(self.data[i][None])[0] * 2 - 1, self.labels[i]


class _netG_CIFAR10(nn.Module):
    def __init__(self, nz):
        super().__init__()
        self.fc1 = nn.Linear(nz, 96)
        self.tconv2 = nn.Sequential(nn.ConvTranspose2d(96, 48, 4, 1, 0, bias=False), nn.BatchNorm2d(48), nn.ReLU(True))
        self.tconv3 = nn.Sequential(nn.ConvTranspose2d(48, 24, 4, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(True))
        self.tconv4 = nn.Sequential(nn.ConvTranspose2d(24, 12, 4, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU(True))
        self.tconv5 = nn.Sequential(nn.ConvTranspose2d(12, 3, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, input):
        x = self.fc1(input.view(input.size(0), -1))
        x = x.view(-1, 96, 1, 1)
        return self.tconv5(self.tconv4(self.tconv3(self.tconv2(x))))


def conv(cin, cout, stride, norm=True):
    layers = [nn.Conv2d(cin, cout, 3, stride, 1, bias=False)]
    if norm:
        layers.append(nn.BatchNorm2d(cout))
    return nn.Sequential(*layers, nn.LeakyReLU(0.2, inplace=True), nn.Dropout(0.5))


class _netD_CIFAR10(nn.Module):
    def __init__(self, num_classes=10, ndf=4):
        super().__init__()
        self.nfeat = 4 * 4 * 32 * ndf
        self.conv1 = conv(3, ndf, 2, norm=False)
        self.conv2 = conv(ndf, 2 * ndf, 1)
        self.conv3 = conv(2 * ndf, 4 * ndf, 2)
        self.conv4 = conv(4 * ndf, 8 * ndf, 1)
        self.conv5 = conv(8 * ndf, 16 * ndf, 2)
        self.conv6 = conv(16 * ndf, 32 * ndf, 1)
        self.fc_dis = nn.Linear(self.nfeat, 1)
        self.fc_aux = nn.Linear(self.nfeat, num_classes)
        self.softmax = nn.Softmax(dim=1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, input):
        conv6 = self.conv6(self.conv5(self.conv4(self.conv3(self.conv2(self.conv1(input))))))
        flat6 = conv6.view(-1, self.nfeat)
        fc_dis = self.fc_dis(flat6)
        fc_aux = self.fc_aux(flat6)
        classes = self.softmax(fc_aux)
        realfake = self.sigmoid(fc_dis).view(-1, 1).squeeze(1)
        return realfake, classes


class ACGAN(nn.Module):
    def __init__(self, opt):
        super().__init__()
        self.opt = opt
        self.netG = _netG_CIFAR10(opt.nz)
        self.netD = _netD_CIFAR10(opt.num_classes)


def options(args=()):
    parser = argparse.ArgumentParser()
    parser.add_argument('--dataset', default='cifar10')
    parser.add_argument('--batchSize', type=int, default=4)
    parser.add_argument('--imageSize', type=int, default=128)
    parser.add_argument('--nz', type=int, default=110)
    parser.add_argument('--num_classes', type=int, default=10)
    return parser.parse_args(args)


def build():
    torch.manual_seed(0)
    return ACGAN(options(['--dataset', 'cifar10']))


def step(model):
    torch.manual_seed(1)
    opt = model.opt
    loader = DataLoader(CIFAR10(16, opt.imageSize), batch_size=opt.batchSize, shuffle=True)
    dis_criterion, aux_criterion = nn.BCELoss(), nn.NLLLoss()
    real, label = next(iter(loader))
    batch_size = real.size(0)
    dis_label = torch.full((batch_size,), 1.0)
    dis_output, aux_output = model.netD(real)
    errD = dis_criterion(dis_output, dis_label) + aux_criterion(aux_output.log(), label)
    noise = torch.randn(batch_size, opt.nz)
    fake_label = torch.randint(0, opt.num_classes, (batch_size,))
    noise[torch.arange(batch_size), fake_label] += 1
    fake = model.netG(noise)
    dis_output, aux_output = model.netD(fake.detach())
    errD = errD + dis_criterion(dis_output, torch.zeros(batch_size)) + aux_criterion(aux_output.log(), fake_label)
    return errD


# real fix: --imageSize 32
# offending tensor: realfake (64,), made of 4 pictures by view(-1, nfeat)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy', culprits=['function:view', 'input'], dim=0, got=64, wanted=4,
             hint_any=['view', 'image', 'size', 'flatten', '16'])
MENDED = [("options(['--dataset', 'cifar10'])", "options(['--dataset', 'cifar10', '--imageSize', '32'])")]
