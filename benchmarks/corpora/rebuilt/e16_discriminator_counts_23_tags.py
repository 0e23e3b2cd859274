import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/FangYang970206/Anime_GAN/issues/3'
CATEGORY = 'layer'
DESCRIPTION = 'Conditional GAN moved to a data set of 4 hair colours: the generator was adapted, the discriminator still joins 384 + 23 channels.'

HAIR = ['blue', 'pink', 'yellow', 'green']
Z = 100


def conv_block(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 4, 2, 1), nn.BatchNorm2d(cout), nn.LeakyReLU(0.2))


class Generator(nn.Module):
    def __init__(self, n_tags):
        super(Generator, self).__init__()
        self.dense = nn.Sequential(nn.Linear(Z + n_tags, 4 * 4 * 128), nn.ReLU())
        ups, cin = [], 128
        for cout in (64, 32, 16):
            ups += [nn.ConvTranspose2d(cin, cout, 4, 2, 1), nn.BatchNorm2d(cout), nn.ReLU(True)]
            cin = cout
        self.main = nn.Sequential(*ups, nn.ConvTranspose2d(cin, 3, 4, 2, 1), nn.Tanh())

    def forward(self, input, tags):
        x = torch.cat([input, tags], dim=1)
        x = self.dense(x).view(-1, 128, 4, 4)
        return self.main(x)


class Discriminator(nn.Module):
    def __init__(self):
        super(Discriminator, self).__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 48, 4, 2, 1), nn.LeakyReLU(0.2))
        self.layer2 = conv_block(48, 96)
        self.layer3 = conv_block(96, 192)
        self.layer4 = conv_block(192, 384)
        self.concat_conv = nn.Sequential(nn.Conv2d(407, 384, 1, 1, 0, bias=False), nn.LeakyReLU(0.2))
        self.last_layer = nn.Sequential(nn.Conv2d(384, 1, 4, 1, 0, bias=False), nn.Sigmoid())

    def forward(self, input, tags):
        x = self.layer4(self.layer3(self.layer2(self.layer1(input))))
        tags = tags[:, :, None, None].repeat(1, 1, 4, 4)
        x = torch.cat((x, tags), dim=1)
        x = self.concat_conv(x)
        return self.last_layer(x).squeeze(3).squeeze(2).squeeze(1)


class CGAN(nn.Module):
    def __init__(self, n_tags):
        super().__init__()
        self.generator = Generator(n_tags)
        self.discriminator = Discriminator()
        self.apply(self.weights_init)

    @staticmethod
    def weights_init(m):
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(m.weight, 0.0, 0.02)


def load_Anime(n):
    images = torch.rand(n, 3, 64, 64) * 2 - 1
    tags = F.one_hot(torch.randint(0, len(HAIR), (n,)), len(HAIR)).float()
    return images, tags


def build():
    return CGAN(len(HAIR))


def step(model):
    G, D = model.generator, model.discriminator
    criterion = nn.BCELoss()
    real, tags = load_Anime(6)
    wrong_tags = tags[torch.randperm(6)]
    ones, zeros = torch.ones(6), torch.zeros(6)
    fake = G(torch.randn(6, Z), tags)
    d_loss = criterion(D(real, tags), ones)
    d_loss = d_loss + 0.5 * criterion(D(fake.detach(), tags), zeros) + 0.5 * criterion(D(real, wrong_tags), zeros)
    g_loss = criterion(D(fake, tags), ones)
    return d_loss + g_loss


# real fix: 384 + 4 = 388 input channels in concat_conv
# offending tensor: input of concat_conv.0 (6, 388, 4, 4), 407 wanted
TRUTH = dict(raises='RuntimeError', at='module:discriminator.concat_conv.0', culprits=['discriminator.concat_conv.0', 'function:cat'], dim=1,
             got=388, wanted=407, hint_any=['388', 'in_channels'])
MENDED = [('nn.Conv2d(407, 384, 1, 1, 0, bias=False)', 'nn.Conv2d(384 + len(HAIR), 384, 1, 1, 0, bias=False)')]
