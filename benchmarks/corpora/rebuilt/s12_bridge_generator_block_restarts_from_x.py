import torch
import torch.nn as nn
import torch.nn.functional as F
import functools

SOURCE = 'https://github.com/cyclomon/UNSB/issues/29'
CATEGORY = 'silent'
DESCRIPTION = 'ResnetBlock_cond loops over its layers with out = layer(x): the padding, the time embedding and the convolution are thrown away.'


class AdaptiveLayer(nn.Module):
    def __init__(self, in_channel, style_dim):
        super().__init__()
        self.style_net = nn.Linear(style_dim, in_channel * 2)
        self.style_net.bias.data[:in_channel] = 1
        self.style_net.bias.data[in_channel:] = 0

    def forward(self, input, style):
        gamma, beta = self.style_net(style).unsqueeze(2).unsqueeze(3).chunk(2, 1)
        return gamma * input + beta


class ResnetBlock_cond(nn.Module):
    def __init__(self, dim, norm_layer, temb_dim, z_dim):
        super().__init__()
        self.conv_block = nn.ModuleList([nn.ReflectionPad2d(1)])
        self.conv_block += [nn.Conv2d(dim, dim, kernel_size=3, padding=0), norm_layer(dim)]
        self.adaptive = AdaptiveLayer(dim, z_dim)
        self.conv_fin = nn.ModuleList([nn.ReLU(True), nn.ReflectionPad2d(1)])
        self.conv_fin += [nn.Conv2d(dim, dim, kernel_size=3, padding=0), norm_layer(dim)]
        self.Dense_time = nn.Linear(temb_dim, dim)
        nn.init.zeros_(self.Dense_time.bias)

    def forward(self, x, time_cond, z):
        time_input = self.Dense_time(time_cond)
        for n, layer in enumerate(self.conv_block):
            out = layer(x)
            if n == 0:
                out = out + time_input[:, :, None, None]
        out = self.adaptive(out, z)
        for layer in self.conv_fin:
            out = layer(out)
        return x + out


class ResnetGenerator_ncsn(nn.Module):
    def __init__(self, ngf=8, n_blocks=2, temb_dim=16, z_dim=6):
        super().__init__()
        norm = functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)
        self.temb_dim = temb_dim
        self.model = nn.Sequential(nn.Conv2d(3, ngf, 7, padding=3), norm(ngf), nn.ReLU(),
                                   nn.Conv2d(ngf, 2 * ngf, 3, stride=2, padding=1), norm(2 * ngf), nn.ReLU())
        self.model_res = nn.ModuleList([ResnetBlock_cond(2 * ngf, norm, temb_dim, z_dim) for _ in range(n_blocks)])
        self.model_upsample = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(2 * ngf, ngf, 3, padding=1), norm(ngf),
                                            nn.ReLU(), nn.Conv2d(ngf, 3, 7, padding=3), nn.Tanh())
        self.dense = nn.Linear(temb_dim, temb_dim)

    def embed(self, t):
        half = self.temb_dim // 2
        freq = torch.exp(-torch.arange(half) * 9.2 / (half - 1))
        angle = t.float()[:, None] * freq[None]
        return F.leaky_relu(self.dense(torch.cat([angle.sin(), angle.cos()], dim=1)), 0.2)

    def forward(self, x, time_cond, z):
        time_embed = self.embed(time_cond)
        out = self.model(x)
        for block in self.model_res:
            out = block(out, time_embed, z)
        return self.model_upsample(out)


def build():
    return ResnetGenerator_ncsn()


def step(model):
    real_a, real_b = torch.rand(2, 3, 12, 16) * 2 - 1, torch.rand(2, 3, 12, 16) * 2 - 1
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.5, 0.999))
    times, xt = torch.randint(0, 5, (2,)), real_a
    for _ in range(2):
        z = torch.randn(2, 6)
        fake_b = model(xt, times, z)
        idt_b = model(real_b, times, z)
        loss = F.l1_loss(fake_b.mean((2, 3)), real_b.mean((2, 3))) + F.l1_loss(idt_b, real_b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        xt = (0.5 * xt + 0.5 * fake_b).detach()
    return loss.detach()


# real fix: out = x before the loop, out = layer(out) in it
TRUTH = dict(raises=None, at='module:model_res.0.conv_block.1',
             culprits=['model_res.0.conv_block', 'model_res.0.conv_block.0', 'model_res.0.conv_block.1', 'model_res.0.conv_block.2',
                       'model_res.1.conv_block', 'model_res.1.conv_block.0', 'model_res.1.conv_block.1', 'model_res.1.conv_block.2',
                       'model_res.0', 'model_res.1'],
             dim=None, got=None, wanted=None, hint_any=['unused', 'thrown', 'no gradient', 'not used', 'never'])
MENDED = [('        for n, layer in enumerate(self.conv_block):\n            out = layer(x)\n',
           '        out = x\n        for n, layer in enumerate(self.conv_block):\n            out = layer(out)\n')]
