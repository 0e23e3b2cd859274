import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/zhaoyuzhi/deepfillv2/issues/6'
CATEGORY = 'silent'
DESCRIPTION = 'Free-form inpainting: a gated generator fills the holes, a patch discriminator sees image and mask; WGAN losses, two optimizers.'


class GatedConv2d(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.conv2d = nn.Conv2d(cin, cout, 3, stride=stride, padding=1)
        self.mask_conv2d = nn.Conv2d(cin, cout, 3, stride=stride, padding=1)

    def forward(self, x):
        return F.leaky_relu(self.conv2d(x), 0.2) * torch.sigmoid(self.mask_conv2d(x))


class GatedGenerator(nn.Module):
    def __init__(self, latent=12):
        super().__init__()
        self.coarse1 = GatedConv2d(4, latent)
        self.coarse2 = GatedConv2d(latent, latent * 2, stride=2)
        self.coarse3 = GatedConv2d(latent * 2, latent)
        self.out = nn.Conv2d(latent, 3, 3, padding=1)

    def forward(self, img, mask):
        x = torch.cat([img * (1 - mask) + mask, mask], 1)
        x = self.coarse2(self.coarse1(x))
        x = self.coarse3(F.interpolate(x, scale_factor=2))
        return torch.tanh(self.out(x))


class PatchDiscriminator(nn.Module):
    def __init__(self, latent=12):
        super().__init__()
        self.block1 = nn.Conv2d(4, latent, 5, stride=2, padding=2)
        self.block2 = nn.Conv2d(latent, latent * 2, 5, stride=2, padding=2)
        self.block3 = nn.Conv2d(latent * 2, 1, 5, stride=2, padding=2)

    def forward(self, img, mask):
        x = F.leaky_relu(self.block1(torch.cat((img, mask), 1)), 0.2)
        x = F.leaky_relu(self.block2(x), 0.2)
        return self.block3(x)


class InpaintGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = GatedGenerator()
        self.discriminator = PatchDiscriminator()


def random_mask(n, size):
    mask = torch.zeros(n, 1, size, size)
    for m in mask:
        top, left = torch.randint(0, size // 2, (2,)).tolist()
        m[:, top:top + size // 3, left:left + size // 3] = 1
    return mask


def train(model, batches, lr_g=1e-4, lr_d=4e-4, lambda_l1=100, lambda_gan=1):
    optimizer_g = torch.optim.Adam(model.generator.parameters(), lr=lr_g, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(model.discriminator.parameters(), lr=lr_d, betas=(0.5, 0.999))
    for img, mask in batches:
        optimizer_d.zero_grad()
        out = model.generator(img, mask)
        fill = img * (1 - mask) + out * mask
        fake_scalar = model.discriminator(fill.detach(), mask)
        true_scalar = model.discriminator(img, mask)
        loss_D = -torch.mean(true_scalar) + torch.mean(fake_scalar)
        loss_D.backward()

        optimizer_g.zero_grad()
        l1_loss = (out - img).abs().mean()
        gan_loss = -torch.mean(model.discriminator(fill, mask))
        loss = lambda_l1 * l1_loss + lambda_gan * gan_loss
        loss.backward()
        optimizer_g.step()
    return loss


def build():
    return InpaintGAN()


def step(model):
    batches = [(torch.rand(4, 3, 32, 32) * 2 - 1, random_mask(4, 32)) for _ in range(3)]
    return train(model, batches).detach()


# optimizer_d.step() is missing behind loss_D.backward(): the discriminator keeps its first weights.
TRUTH = dict(raises=None, at='module:discriminator', culprits=['discriminator', 'discriminator.block1', 'discriminator.block2', 'discriminator.block3'],
             dim=None, got=None, wanted=None, hint_any=['step', 'never', 'not updated', 'optimizer_d', 'unchanged', 'did not change'])
MENDED = [('        loss_D.backward()\n', '        loss_D.backward()\n        optimizer_d.step()\n')]
