import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/yunjey/stargan/issues/107 (sizes from the thread, the cause read from them: 8 selected attributes, c_dim of 5)'
CATEGORY = 'loss'
DESCRIPTION = 'StarGAN: the loader returns labels of 8 selected attributes, the discriminator classifies c_dim=5: binary_cross_entropy_with_logits of (16, 5) and (16, 8).'

ALL_ATTRS = ['Black_Hair', 'Blond_Hair', 'Brown_Hair', 'Male', 'Young', 'Smiling', 'Eyeglasses', 'Bangs', 'Pale_Skin', 'Wavy_Hair']


class CelebA(torch.utils.data.Dataset):
    def __init__(self, selected_attrs, size=32):
        self.selected_attrs, self.size = selected_attrs, size
        g = torch.Generator().manual_seed(0)
        self.table = torch.rand(32, len(ALL_ATTRS), generator=g) > 0.5

    def __len__(self):
        return len(self.table)

    def __getitem__(self, index):
        row = self.table[index]
        label = [bool(row[ALL_ATTRS.index(a)]) for a in self.selected_attrs]
        return torch.rand(3, self.size, self.size) * 2 - 1, torch.FloatTensor(label)


class Discriminator(nn.Module):
    def __init__(self, image_size=32, conv_dim=8, c_dim=5, repeat_num=3):
        super().__init__()
        layers = [nn.Conv2d(3, conv_dim, 4, 2, 1), nn.LeakyReLU(0.01)]
        curr_dim = conv_dim
        for _ in range(1, repeat_num):
            layers += [nn.Conv2d(curr_dim, curr_dim * 2, 4, 2, 1), nn.LeakyReLU(0.01)]
            curr_dim *= 2
        kernel_size = int(image_size / 2 ** repeat_num)
        self.main = nn.Sequential(*layers)
        self.conv1 = nn.Conv2d(curr_dim, 1, 3, 1, 1, bias=False)
        self.conv2 = nn.Conv2d(curr_dim, c_dim, kernel_size, bias=False)

    def forward(self, x):
        h = self.main(x)
        out_src, out_cls = self.conv1(h), self.conv2(h)
        return out_src, out_cls.view(out_cls.size(0), out_cls.size(1))


class Solver(nn.Module):
    def __init__(self, c_dim=5, lambda_cls=1.0, batch_size=16, attrs=8):
        super().__init__()
        self.lambda_cls = lambda_cls
        self.D = Discriminator(c_dim=c_dim)
        self.loader = torch.utils.data.DataLoader(CelebA(ALL_ATTRS[:attrs]), batch_size=batch_size)

    def classification_loss(self, logit, target, dataset='CelebA'):
        if dataset == 'CelebA':
            return F.binary_cross_entropy_with_logits(logit, target, reduction='sum') / logit.size(0)
        return F.cross_entropy(logit, target)

    def train_d(self):
        x_real, label_org = next(iter(self.loader))
        out_src, out_cls = self.D(x_real)
        d_loss_real = -torch.mean(out_src)
        d_loss_cls = self.classification_loss(out_cls, label_org)
        return d_loss_real + self.lambda_cls * d_loss_cls


def build():
    return Solver()


def step(model):
    return model.train_d()


# real fix: --c_dim has to be the number of selected attributes
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy_with_logits', culprits=['D.conv2', 'target'], dim=1, got=5, wanted=8,
             hint_any=['8', '5', 'out_channels'])
MENDED = [('def __init__(self, c_dim=5, lambda_cls', 'def __init__(self, c_dim=8, lambda_cls')]
