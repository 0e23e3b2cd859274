import torch
import torch.nn as nn

SOURCE = 'https://github.com/yunjey/pytorch-tutorial/issues/56'
CATEGORY = 'correct'
DESCRIPTION = 'Tutorial GAN: the fake images are not detached for the discriminator, but both gradients are reset before each backward.'


class GAN(nn.Module):
    def __init__(self, latent_size=16, hidden_size=32, image_size=64):
        super().__init__()
        self.D = nn.Sequential(nn.Linear(image_size, hidden_size), nn.LeakyReLU(0.2), nn.Linear(hidden_size, hidden_size),
                               nn.LeakyReLU(0.2), nn.Linear(hidden_size, 1), nn.Sigmoid())
        self.G = nn.Sequential(nn.Linear(latent_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, hidden_size),
                               nn.ReLU(), nn.Linear(hidden_size, image_size), nn.Tanh())


def build():
    return GAN()


def step(model):
    D, G = model.D, model.G
    criterion = nn.BCELoss()
    d_optimizer = torch.optim.Adam(D.parameters(), lr=2e-4)
    g_optimizer = torch.optim.Adam(G.parameters(), lr=2e-4)

    def reset_grad():
        d_optimizer.zero_grad()
        g_optimizer.zero_grad()

    batch_size = 16
    for images in torch.rand(2, batch_size, 1, 8, 8) * 2 - 1:
        images = images.reshape(batch_size, -1)
        real_labels = torch.ones(batch_size, 1)
        fake_labels = torch.zeros(batch_size, 1)

        outputs = D(images)
        d_loss_real = criterion(outputs, real_labels)
        z = torch.randn(batch_size, 16)
        fake_images = G(z)
        outputs = D(fake_images)
        d_loss_fake = criterion(outputs, fake_labels)
        d_loss = d_loss_real + d_loss_fake
        reset_grad()
        d_loss.backward()
        d_optimizer.step()

        z = torch.randn(batch_size, 16)
        fake_images = G(z)
        outputs = D(fake_images)
        g_loss = criterion(outputs, real_labels)
        reset_grad()
        g_loss.backward()
        g_optimizer.step()
    return (d_loss + g_loss).detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
