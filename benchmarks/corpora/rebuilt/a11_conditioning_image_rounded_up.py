import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/diffusers/issues/3101 (fixed by diffusers pull request 3135)'
CATEGORY = 'layer'
DESCRIPTION = 'ControlNet training: images are resized by their short side to 64x85; the autoencoder rounds down to 8x10 latents, the conditioning encoder up to 8x11.'


class Args:
    resolution = 64
    train_batch_size = 2


class Encoder(nn.Module):
    def __init__(self, ch=(8, 8, 12, 12)):
        super().__init__()
        self.conv_in = nn.Conv2d(3, ch[0], 3, padding=1)
        self.downs = nn.ModuleList(nn.Conv2d(i, o, 3, stride=2, padding=0) for i, o in zip(ch[:-1], ch[1:]))
        self.conv_out = nn.Conv2d(ch[-1], 4, 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for down in self.downs:
            x = F.silu(down(F.pad(x, (0, 1, 0, 1))))
        return self.conv_out(x)


class ConditioningEmbedding(nn.Module):
    def __init__(self, out, ch=(4, 8, 12, 16)):
        super().__init__()
        self.conv_in = nn.Conv2d(3, ch[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for i, o in zip(ch[:-1], ch[1:]):
            self.blocks += [nn.Conv2d(i, i, 3, padding=1), nn.Conv2d(i, o, 3, padding=1, stride=2)]
        self.conv_out = nn.Conv2d(ch[-1], out, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, cond):
        x = F.silu(self.conv_in(cond))
        for block in self.blocks:
            x = F.silu(block(x))
        return self.conv_out(x)


class ResBlock(nn.Module):
    def __init__(self, ch, temb=16):
        super().__init__()
        self.norm, self.conv, self.time = nn.GroupNorm(4, ch), nn.Conv2d(ch, ch, 3, padding=1), nn.Linear(temb, ch)

    def forward(self, x, temb):
        return x + self.conv(F.silu(self.norm(x))) + self.time(temb)[:, :, None, None]


class ControlNet(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.conv_in, self.zero = nn.Conv2d(4, ch, 3, padding=1), nn.Conv2d(ch, ch, 1)
        self.controlnet_cond_embedding, self.down = ConditioningEmbedding(ch), ResBlock(ch)

    def forward(self, sample, temb, controlnet_cond):
        sample = self.conv_in(sample)
        controlnet_cond = self.controlnet_cond_embedding(controlnet_cond)
        sample = sample + controlnet_cond
        return self.zero(self.down(sample, temb))


class UNet(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.down, self.up = ResBlock(ch), ResBlock(ch)
        self.conv_in, self.conv_out = nn.Conv2d(4, ch, 3, padding=1), nn.Conv2d(ch, 4, 3, padding=1)

    def forward(self, sample, temb, residual):
        x = self.down(self.conv_in(sample), temb) + residual
        y = F.interpolate(F.avg_pool2d(x, 2, ceil_mode=True), size=x.shape[2:])
        return self.conv_out(self.up(x + y, temb))


class Trainee(nn.Module):
    def __init__(self):
        super().__init__()
        self.vae, self.unet, self.controlnet = Encoder(), UNet(), ControlNet()
        self.time_embedding = nn.Embedding(1000, 16)
        self.vae.requires_grad_(False)
        self.register_buffer('alphas_cumprod', torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0))

    def forward(self, batch):
        latents = self.vae(batch['pixel_values']) * 0.18215
        noise, t = torch.randn_like(latents), torch.randint(0, 1000, (len(latents),))
        a = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        noisy, temb = a.sqrt() * latents + (1 - a).sqrt() * noise, self.time_embedding(t)
        residual = self.controlnet(noisy, temb, controlnet_cond=batch['conditioning_pixel_values'])
        return F.mse_loss(self.unet(noisy, temb, residual).float(), noise.float(), reduction='mean')


def resize(image, size):
    h, w, scale = *image.shape[1:], size / min(image.shape[1:])
    return F.interpolate(image[None], size=(int(h * scale), int(w * scale)), mode='bilinear', align_corners=False)[0]


def make_train_dataset(args):
    pairs = [(torch.rand(3, 96, 128), (torch.rand(1, 96, 128) > 0.9).float().expand(3, -1, -1)) for _ in range(args.train_batch_size)]
    return [{'pixel_values': resize(i, args.resolution) * 2 - 1, 'conditioning_pixel_values': resize(c, args.resolution)} for i, c in pairs]


def collate_fn(examples):
    return {k: torch.stack([e[k] for e in examples]).contiguous() for k in examples[0]}


def build():
    return Trainee()


def step(model):
    return model(collate_fn(make_train_dataset(Args)))


# real fix: resize image and conditioning image to multiples of 8 (or crop to a square of the resolution)
# offending tensor: controlnet_cond (2, 16, 8, 11) beside the latents (2, 16, 8, 10)
TRUTH = dict(raises='RuntimeError', at='function:add',
             culprits=['input', 'function:interpolate', 'controlnet.controlnet_cond_embedding', 'controlnet.controlnet_cond_embedding.blocks.1',
                       'controlnet.controlnet_cond_embedding.blocks.3', 'controlnet.controlnet_cond_embedding.blocks.5', 'vae', 'vae.downs.0', 'vae.downs.1', 'vae.downs.2'],
             dim=3, got=11, wanted=10, hint_any=['multiple', 'divis', 'stride', 'pad', 'odd', 'round'])
MENDED = [('size=(int(h * scale), int(w * scale))', 'size=(int(h * scale) // 8 * 8, int(w * scale) // 8 * 8)')]
