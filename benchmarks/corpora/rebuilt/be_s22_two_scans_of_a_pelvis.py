import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/voxelmorph/voxelmorph/issues/292 (512x512x141: 71 and 72; here 32x32x45: 23 and 24)'
CATEGORY = 'layer'
DESCRIPTION = 'Registration: a network finds the field that bends one computed tomography onto another of the same patient.'

inshape = (32, 32, 45)


class ConvBlock(nn.Module):
    def __init__(self, in_channels, out_channels, stride=1):
        super().__init__()
        self.main = nn.Conv3d(in_channels, out_channels, 3, stride, 1)
        self.activation = nn.LeakyReLU(0.2)

    def forward(self, x):
        return self.activation(self.main(x))


class Unet(nn.Module):
    def __init__(self, enc_nf=(8, 16, 16, 16), dec_nf=(16, 16, 16, 16, 16, 8, 8)):
        super().__init__()
        self.enc_nf, self.dec_nf = enc_nf, dec_nf
        self.upsample = nn.Upsample(scale_factor=2, mode='nearest')

        # configure encoder (down-sampling path)
        prev_nf = 2
        self.downarm = nn.ModuleList()
        for nf in self.enc_nf:
            self.downarm.append(ConvBlock(prev_nf, nf, stride=2))
            prev_nf = nf

        # configure decoder (up-sampling path)
        enc_history = list(reversed(self.enc_nf))
        self.uparm = nn.ModuleList()
        for i, nf in enumerate(self.dec_nf[:len(self.enc_nf)]):
            channels = prev_nf + enc_history[i] if i > 0 else prev_nf
            self.uparm.append(ConvBlock(channels, nf, stride=1))
            prev_nf = nf

        # configure extra decoder convolutions (no up-sampling)
        prev_nf += 2
        self.extras = nn.ModuleList()
        for nf in self.dec_nf[len(self.enc_nf):]:
            self.extras.append(ConvBlock(prev_nf, nf, stride=1))
            prev_nf = nf

    def forward(self, x):
        # get encoder activations
        x_enc = [x]
        for layer in self.downarm:
            x_enc.append(layer(x_enc[-1]))

        # conv, upsample, concatenate series
        x = x_enc.pop()
        for layer in self.uparm:
            x = layer(x)
            x = self.upsample(x)
            x = torch.cat([x, x_enc.pop()], dim=1)

        # extra convs at full resolution
        for layer in self.extras:
            x = layer(x)
        return x


class SpatialTransformer(nn.Module):
    def __init__(self, size):
        super().__init__()
        grid = torch.stack(torch.meshgrid([torch.arange(0, s) for s in size], indexing='ij')).unsqueeze(0).float()
        self.register_buffer('grid', grid)

    def forward(self, src, flow):
        new_locs = self.grid + flow
        shape = flow.shape[2:]
        new_locs = torch.stack([2 * (new_locs[:, i] / (shape[i] - 1) - 0.5) for i in range(3)], dim=-1)
        return F.grid_sample(src, new_locs[..., [2, 1, 0]], align_corners=True, mode='bilinear')


class VxmDense(nn.Module):
    def __init__(self, inshape):
        super().__init__()
        self.unet_model = Unet()
        self.flow = nn.Conv3d(self.unet_model.dec_nf[-1], 3, kernel_size=3, padding=1)
        nn.init.normal_(self.flow.weight, 0, 1e-5)
        self.transformer = SpatialTransformer(inshape)

    def forward(self, source, target):
        x = self.unet_model(torch.cat([source, target], dim=1))
        pos_flow = self.flow(x)
        return self.transformer(source, pos_flow), pos_flow


def build():
    torch.manual_seed(0)
    return VxmDense(inshape)


def load_volfile(seed):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(1, 1, 32, 32, 45, generator=g)


def step(model):
    source, target = load_volfile(1), load_volfile(2)
    y_source, flow = model(source, target)
    grad = sum(torch.diff(flow, dim=d).pow(2).mean() for d in (2, 3, 4))
    return F.mse_loss(y_source, target) + 0.01 * grad


# every side has to be a multiple of 16 for four halvings: the volumes are padded
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['input', 'function:cat', 'unet_model.upsample'], dim=4, got=24, wanted=23,
             hint_any=['16', 'multiple', 'divisible', 'odd', 'pad', 'upsample'])
MENDED = [('inshape = (32, 32, 45)', 'inshape = (32, 32, 48)'),
          ('return torch.rand(1, 1, 32, 32, 45, generator=g)', 'return F.pad(torch.rand(1, 1, 32, 32, 45, generator=g), (0, 3))')]
