import torch
import torch.nn as nn
import torch.distributions as dists

SOURCE = 'https://github.com/stelzner/monet/issues/1'
CATEGORY = 'silent'
DESCRIPTION = 'MONet: the attention masks (B, slots, H, W) are transposed to (B, W, H, slots), the reconstructed masks are (B, H, W, slots): square pictures are compared with their mirror images.'


def double_conv(in_channels, out_channels):
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True),
                         nn.Conv2d(out_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, num_blocks, in_channels, out_channels, channel_base=8):
        super().__init__()
        self.num_blocks = num_blocks
        self.down_convs, self.tconvs, self.up_convs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        cur = in_channels
        for i in range(num_blocks):
            self.down_convs.append(double_conv(cur, channel_base * 2 ** i))
            cur = channel_base * 2 ** i
        for i in range(num_blocks - 1, 0, -1):
            self.tconvs.append(nn.ConvTranspose2d(channel_base * 2 ** i, channel_base * 2 ** (i - 1), 2, stride=2))
        for i in range(num_blocks - 2, -1, -1):
            self.up_convs.append(double_conv(channel_base * 2 ** (i + 1), channel_base * 2 ** i))
        self.final_conv = nn.Conv2d(channel_base, out_channels, 1)

    def forward(self, x):
        intermediates, cur = [], x
        for down_conv in self.down_convs[:-1]:
            cur = down_conv(cur)
            intermediates.append(cur)
            cur = nn.MaxPool2d(2)(cur)
        cur = self.down_convs[-1](cur)
        for i in range(self.num_blocks - 1):
            cur = torch.cat((self.tconvs[i](cur), intermediates[-i - 1]), 1)
            cur = self.up_convs[i](cur)
        return self.final_conv(cur)


class AttentionNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.unet = UNet(num_blocks=3, in_channels=4, out_channels=2)

    def forward(self, x, scope):
        alpha = torch.softmax(self.unet(torch.cat((x, scope), 1)), 1)
        return scope * alpha[:, 0:1], scope * alpha[:, 1:2]


class EncoderNet(nn.Module):
    def __init__(self, width, height):
        super().__init__()
        self.convs = nn.Sequential(nn.Conv2d(4, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2), nn.ReLU())
        for _ in range(2):
            width, height = (width - 1) // 2, (height - 1) // 2
        self.mlp = nn.Sequential(nn.Linear(16 * width * height, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x):
        x = self.convs(x)
        return self.mlp(x.view(x.shape[0], -1))


class DecoderNet(nn.Module):
    def __init__(self, height, width):
        super().__init__()
        self.height, self.width = height, width
        self.convs = nn.Sequential(nn.Conv2d(10, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 1))
        ys, xs = torch.meshgrid(torch.linspace(-1, 1, height + 4), torch.linspace(-1, 1, width + 4), indexing='ij')
        self.register_buffer('coord_map_const', torch.stack((ys, xs)).unsqueeze(0))

    def forward(self, z):
        z_tiled = z.unsqueeze(-1).unsqueeze(-1).repeat(1, 1, self.height + 4, self.width + 4)
        return self.convs(torch.cat((z_tiled, self.coord_map_const.repeat(z.shape[0], 1, 1, 1)), 1))


class Monet(nn.Module):
    def __init__(self, height, width, num_slots=3):
        super().__init__()
        self.num_slots, self.beta, self.gamma = num_slots, 0.5, 0.25
        self.attention = AttentionNet()
        self.encoder = EncoderNet(height, width)
        self.decoder = DecoderNet(height, width)

    def forward(self, x):
        scope, masks = torch.ones_like(x[:, 0:1]), []
        for _ in range(self.num_slots - 1):
            mask, scope = self.attention(x, scope)
            masks.append(mask)
        masks.append(scope)
        loss, mask_preds = torch.zeros_like(x[:, 0, 0, 0]), []
        for i, mask in enumerate(masks):
            z, kl_z = self.encoder_step(x, mask)
            p_x, mask_pred = self.decoder_step(x, z, mask, 0.09 if i == 0 else 0.11)
            mask_preds.append(mask_pred)
            loss = loss - p_x + self.beta * kl_z
        masks = torch.cat(masks, 1)
        tr_masks = torch.transpose(masks, 1, 3)
        q_masks = dists.Categorical(probs=tr_masks)
        q_masks_recon = dists.Categorical(logits=torch.stack(mask_preds, 3))
        kl_masks = torch.sum(dists.kl_divergence(q_masks, q_masks_recon), [1, 2])
        return loss + self.gamma * kl_masks

    def encoder_step(self, x, mask):
        q_params = self.encoder(torch.cat((x, mask), 1))
        means, sigmas = torch.sigmoid(q_params[:, :8]) * 6 - 3, torch.sigmoid(q_params[:, 8:]) * 3
        dist = dists.Normal(means, sigmas)
        z = means + dists.Normal(0., sigmas).sample()
        return z, torch.sum(dists.kl_divergence(dist, dists.Normal(0., 1.)), 1)

    def decoder_step(self, x, z, mask, sigma):
        out = self.decoder(z)
        p_x = dists.Normal(torch.sigmoid(out[:, :3]), sigma).log_prob(x) * mask
        return torch.sum(p_x, [1, 2, 3]), out[:, 3]


def build():
    return Monet(16, 16)


def step(model):
    images = torch.rand(4, 3, 16, 16)
    images[:, :, 2:6, 8:15] = 0.9
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4)
    for _ in range(2):
        optimizer.zero_grad()
        loss = torch.mean(model(images))
        loss.backward()
        optimizer.step()
    return loss.detach()


# repaired with a permutation that leaves height before width
TRUTH = dict(raises=None, at='function:transpose', culprits=['function:transpose', 'function:stack'], dim=None, got=None, wanted=None,
             hint_any=['transpose', 'permute', 'order', 'height', 'width'])
MENDED = [('torch.transpose(masks, 1, 3)', 'masks.permute(0, 2, 3, 1)')]
