import torch
import torch.nn as nn

SOURCE = 'https://github.com/DEVILENMO/Unsupervised-Defect-Detection-Project-Based-on-VAE-GAN-Architecture/issues/3'
CATEGORY = 'loss'
DESCRIPTION = 'VAE-GAN trainer: the real and fake label vectors are made once for a default batch of 10, train() is called with a batch size of 5.'


class Encoder(nn.Module):
    def __init__(self, ch=8, latent=16):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, ch, 4, 2, 1), nn.BatchNorm2d(ch), nn.LeakyReLU(0.2), nn.Conv2d(ch, 2 * ch, 4, 2, 1),
                                 nn.BatchNorm2d(2 * ch), nn.LeakyReLU(0.2), nn.Flatten())
        self.mu, self.logvar = nn.Linear(2 * ch * 64, latent), nn.Linear(2 * ch * 64, latent)

    def forward(self, x):
        h = self.net(x)
        return self.mu(h), self.logvar(h)


class Decoder(nn.Module):
    def __init__(self, ch=8, latent=16):
        super().__init__()
        self.fc = nn.Linear(latent, 2 * ch * 64)
        self.net = nn.Sequential(nn.ConvTranspose2d(2 * ch, ch, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(ch, 1, 4, 2, 1), nn.Sigmoid())

    def forward(self, z):
        return self.net(self.fc(z).view(z.size(0), -1, 8, 8))


class Discriminator(nn.Module):
    def __init__(self, ch=8):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, ch, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(ch, ch, 4, 2, 1), nn.LeakyReLU(0.2),
                                 nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(ch, 1), nn.Sigmoid())

    def forward(self, x):
        return self.net(x).view(-1)


class VAEGAN(nn.Module):
    def __init__(self, max_batch=10, lambda_l1=10.0, lambda_kl=0.1):
        super().__init__()
        self.encoder, self.decoder, self.discriminator = Encoder(), Decoder(), Discriminator()
        self.criterion_GAN, self.criterion_L1 = nn.MSELoss(), nn.L1Loss()
        self.lambda_l1, self.lambda_kl = lambda_l1, lambda_kl
        self.set_labels(max_batch)

    def set_labels(self, batch_size):
        self.real_labels = torch.ones(batch_size)
        self.fake_labels = torch.zeros(batch_size)

    def generator_loss(self, x):
        mu, logvar = self.encoder(x)
        y = self.decoder(mu + torch.randn_like(mu) * (0.5 * logvar).exp())
        kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1).mean()
        loss_G_adv = self.criterion_GAN(self.discriminator(y), self.real_labels)
        return loss_G_adv + self.lambda_l1 * self.criterion_L1(y, x) + self.lambda_kl * kl, y

    def discriminator_loss(self, x, y):
        return 0.5 * (self.criterion_GAN(self.discriminator(x), self.real_labels) + self.criterion_GAN(self.discriminator(y.detach()), self.fake_labels))

    def fit(self, images, epochs, batch_size):
        loss = 0.
        for _ in range(epochs):
            for x in images.split(batch_size):
                loss_G, y = self.generator_loss(x)
                loss = loss + loss_G + self.discriminator_loss(x, y)
        return loss


def build():
    return VAEGAN()


def step(model):
    return model.fit(torch.rand(10, 1, 32, 32), 1, 5)


# real fix: labels for the batch size that is trained with
# offending tensor: real_labels (10,), 5 expected
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['target', ''], dim=0, got=10, wanted=5,
             hint_any=['target', 'label', 'batch'])
MENDED = [('        loss = 0.\n', '        loss = 0.\n        self.set_labels(batch_size)\n')]
