import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/tianweiy/DMD2/issues/75'
CATEGORY = 'correct'
DESCRIPTION = 'Distribution matching distillation: a one-step generator learns from the difference of two diffusion models and from a classifier on one of them.'


class Unet(nn.Module):
    def __init__(self, ch=12):
        super().__init__()
        self.inp = nn.Conv2d(3, ch, 3, padding=1)
        self.time = nn.Linear(1, ch)
        self.down = nn.Conv2d(ch, 2 * ch, 3, 2, 1)
        self.up = nn.ConvTranspose2d(2 * ch, ch, 4, 2, 1)
        self.out = nn.Conv2d(2 * ch, 3, 3, padding=1)

    def forward(self, x, t, classify_mode=False):
        h = F.silu(self.inp(x) + self.time(t[:, None])[:, :, None, None])
        mid = F.silu(self.down(h))
        if classify_mode:
            return mid
        return self.out(torch.cat([h, F.silu(self.up(mid))], 1))


class Guidance(nn.Module):
    def __init__(self, ch=12):
        super().__init__()
        self.real_unet, self.fake_unet = Unet(ch), Unet(ch)
        self.real_unet.requires_grad_(False)
        self.cls_pred_branch = nn.Sequential(nn.Conv2d(2 * ch, 16, 3, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(16 * 16, 1))

    def add_noise(self, x):
        t = torch.rand(x.size(0))
        s = t[:, None, None, None]
        return (1 - s) * x + s * torch.randn_like(x), t

    def compute_distribution_matching_loss(self, image):
        with torch.no_grad():
            noisy, t = self.add_noise(image)
            pred_fake = self.fake_unet(noisy, t)
            pred_real = self.real_unet(noisy, t)
            grad = (pred_fake - pred_real) / (image - pred_real).abs().mean((1, 2, 3), keepdim=True)
            grad = torch.nan_to_num(grad)
        return 0.5 * F.mse_loss(image, (image - grad).detach())

    def cls_logits(self, image):
        noisy, t = self.add_noise(image)
        return self.cls_pred_branch(self.fake_unet(noisy, t, classify_mode=True))

    def forward(self, image, real=None, generator_turn=False, guidance_turn=False):
        if generator_turn:
            loss_dm = self.compute_distribution_matching_loss(image)
            return loss_dm, F.softplus(-self.cls_logits(image)).mean()
        image = image.detach()
        noisy, t = self.add_noise(image)
        loss_fake = F.mse_loss(self.fake_unet(noisy, t), image)
        loss_cls = F.softplus(self.cls_logits(image)).mean() + F.softplus(-self.cls_logits(real)).mean()
        return loss_fake, loss_cls


class UnifiedModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.feedforward_model = Unet()
        self.guidance_model = Guidance()

    def forward(self, noise, real, generator_turn=False, guidance_turn=False, compute_generator_gradient=True):
        t = torch.ones(noise.size(0))
        if generator_turn:
            image = self.feedforward_model(noise, t)
            self.guidance_model.requires_grad_(False)
            losses = self.guidance_model(image, generator_turn=True)
            self.guidance_model.requires_grad_(True)
            self.guidance_model.real_unet.requires_grad_(False)
        else:
            with torch.no_grad():
                image = self.feedforward_model(noise, t)
            losses = self.guidance_model(image, real=real, guidance_turn=True)
        return losses


def build():
    return UnifiedModel()


def step(model):
    opt_generator = torch.optim.AdamW(model.feedforward_model.parameters(), lr=1e-3)
    opt_guidance = torch.optim.AdamW([p for p in model.guidance_model.parameters() if p.requires_grad], lr=1e-3)
    total = 0.
    for i in range(3):
        noise, real = torch.randn(4, 3, 16, 16), torch.rand(4, 3, 16, 16)
        if i % 2 == 0:
            loss_dm, gen_cls = model(noise, real, generator_turn=True)
            loss = loss_dm + 3e-3 * gen_cls
            loss.backward()
            nn.utils.clip_grad_norm_(model.feedforward_model.parameters(), 10.)
            opt_generator.step()
            opt_generator.zero_grad()
            opt_guidance.zero_grad()
            total = total + loss.detach()
        loss_fake, loss_cls = model(noise, real, guidance_turn=True)
        loss = loss_fake + 1e-2 * loss_cls
        loss.backward()
        nn.utils.clip_grad_norm_(model.guidance_model.parameters(), 10.)
        opt_guidance.step()
        opt_guidance.zero_grad()
        opt_generator.zero_grad()
        total = total + loss.detach()
    return total


# requires_grad_(False) on the guidance model keeps its weights out; the gradient still flows through it to the image and the generator
TRUTH = dict(raises=None, culprits=[])
MENDED = []
