import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SOURCE = 'https://github.com/bentrevett/pytorch-sentiment-analysis/issues/105'
CATEGORY = 'loss'
DESCRIPTION = 'A GAN whose discriminator takes n_input = batch_size and views the 1-channel images by it: 1024 rows of scores against 16 labels.'

batch_size = 16
sample_size = 16   # fixed sample size for generator
nz = 128           # latent vector size
k = 1


class Generator(nn.Module):
    def __init__(self, nz):
        super(Generator, self).__init__()
        self.nz = nz
        self.main = nn.Sequential(
            nn.Linear(self.nz, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, 512),
            nn.LeakyReLU(0.2),
            nn.Linear(512, batch_size),
            nn.Tanh(),
        )

    def forward(self, x):
        return self.main(x).view(-1, 1, 4, 4)


class Discriminator(nn.Module):
    def __init__(self):
        super(Discriminator, self).__init__()
        self.n_input = batch_size
        self.main = nn.Sequential(
            nn.Linear(self.n_input, 512),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.3),
            nn.Linear(512, 256),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.3),
            nn.Linear(256, 1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        x = x.view(-1, self.n_input)
        return self.main(x)


class GAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = Generator(nz)
        self.discriminator = Discriminator()


def label_real(size):
    return torch.ones(size, 1)


def label_fake(size):
    return torch.zeros(size, 1)


def create_noise(sample_size, nz):
    return torch.randn(sample_size, nz)


criterion = nn.BCELoss()


def train_discriminator(discriminator, data_real, data_fake):
    b_size = data_real.size(0)
    real_label = label_real(b_size)
    fake_label = label_fake(b_size)
    output_real = discriminator(data_real)
    loss_real = criterion(output_real, real_label)
    output_fake = discriminator(data_fake)
    loss_fake = criterion(output_fake, fake_label)
    return loss_real + loss_fake


def build():
    torch.manual_seed(0)
    return GAN()


def step(model):
    torch.manual_seed(1)
    train_data = TensorDataset(torch.rand(48, 1, 32, 32) * 2 - 1)
    train_loader = DataLoader(train_data, batch_size=batch_size, shuffle=True)
    loss_d = 0.0
    for (image,) in train_loader:
        for _ in range(k):
            data_fake = model.generator(create_noise(image.size(0), nz)).detach()
            loss_d = loss_d + train_discriminator(model.discriminator, image, data_fake)
    return loss_d


# real fix: the networks' image size must be that of the data: n_input = 32 * 32, the generator makes 32x32 images
# offending tensor: output_real (1024, 1) of 16 images, view(-1, 16) of (16, 1, 32, 32)
TRUTH = dict(raises='ValueError', at='loss:binary_cross_entropy', culprits=['function:view', 'discriminator.main.0', 'input'],
             dim=0, got=1024, wanted=16,
             hint_any=['view', 'flatten', 'n_input', 'in_features', '1024', 'size(0)', 'resize'])
MENDED = [('self.n_input = batch_size', 'self.n_input = 32 * 32'), ('nn.Linear(512, batch_size)', 'nn.Linear(512, 32 * 32)'),
          ('.view(-1, 1, 4, 4)', '.view(-1, 1, 32, 32)')]
