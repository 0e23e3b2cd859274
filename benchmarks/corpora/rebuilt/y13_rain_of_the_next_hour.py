import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/openclimatefix/skillful_nowcasting/issues/27'
CATEGORY = 'silent'
DESCRIPTION = 'Nowcasting of rain from radar: a generator of future frames against a discriminator with a spatial and a temporal part, hinge losses.'


class DBlock(nn.Module):
    def __init__(self, cin, cout, conv=nn.Conv2d, keep_same_output=False):
        super().__init__()
        self.conv1, self.conv2 = conv(cin, cout, 3, padding=1), conv(cout, cout, 3, padding=1)
        self.conv_1x1 = conv(cin, cout, 1)
        self.pool = nn.Identity() if keep_same_output else {nn.Conv2d: nn.AvgPool2d, nn.Conv3d: nn.AvgPool3d}[conv](2, 2)

    def forward(self, x):
        return self.pool(self.conv2(F.relu(self.conv1(F.relu(x))))) + self.pool(self.conv_1x1(x))


class SpatialDiscriminator(nn.Module):
    def __init__(self, num_timesteps=4):
        super().__init__()
        self.num_timesteps = num_timesteps
        self.d1, self.d2 = DBlock(1, 8), DBlock(8, 16)
        self.fc = nn.Linear(16, 1)
        self.bn = nn.BatchNorm1d(16)

    def forward(self, x):
        idxs = torch.randperm(x.size(1))[:self.num_timesteps]
        representations = []
        for idx in idxs:
            rep = F.avg_pool2d(x[:, idx], 2)
            rep = F.relu(self.d2(self.d1(rep))).sum((2, 3))
            representations.append(self.fc(self.bn(rep)))
        x = torch.stack(representations, dim=1)
        return x.sum(keepdim=True, dim=1)


class TemporalDiscriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1 = DBlock(1, 8, nn.Conv3d)
        self.d2 = DBlock(8, 16)
        self.fc = nn.Linear(16, 1)
        self.bn = nn.BatchNorm1d(16)

    def forward(self, x):
        x = self.d1(F.avg_pool3d(x.transpose(1, 2), (1, 2, 2))).transpose(1, 2)
        representations = []
        for idx in range(x.size(1)):
            rep = F.relu(self.d2(x[:, idx])).sum((2, 3))
            representations.append(self.fc(self.bn(rep)))
        x = torch.stack(representations, dim=1)
        return x.sum(keepdim=True, dim=1)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.spatial_discriminator = SpatialDiscriminator()
        self.temporal_discriminator = TemporalDiscriminator()

    def forward(self, x):
        spatial_loss = self.spatial_discriminator(x)
        temporal_loss = self.temporal_discriminator(x)
        return torch.cat([spatial_loss, temporal_loss], dim=1)


class Generator(nn.Module):
    def __init__(self, input_frames=4, forecast_steps=6, latent=8):
        super().__init__()
        self.latent = latent
        self.context = nn.Sequential(nn.Conv2d(input_frames, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
        self.sampler = nn.Sequential(nn.Conv2d(16 + latent, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, forecast_steps, 3, padding=1))

    def forward(self, x):
        c = self.context(x.squeeze(2))
        z = torch.randn(1, self.latent, *c.shape[2:]).expand(c.size(0), -1, -1, -1)
        return self.sampler(torch.cat([c, z], 1)).unsqueeze(2)


def loss_hinge_disc(score_generated, score_real):
    return F.relu(1.0 - score_real).mean() + F.relu(1.0 + score_generated).mean()


def loss_hinge_gen(score_generated):
    return -torch.mean(score_generated)


def grid_cell_regularizer(generated_samples, batch_targets):
    gen_mean = torch.mean(generated_samples, dim=0)
    weights = torch.clip(batch_targets, 0.0, 24.0)
    return torch.mean(torch.abs(gen_mean - batch_targets) * weights)


class DGMR(nn.Module):
    def __init__(self, grid_lambda=20.0, generation_steps=2):
        super().__init__()
        self.grid_lambda, self.generation_steps = grid_lambda, generation_steps
        self.generator = Generator()
        self.discriminator = Discriminator()

    def training_step(self, images, future_images, opt_g, opt_d):
        for _ in range(2):
            predictions = self.generator(images)
            generated_sequence = torch.cat([images, predictions], dim=1)
            real_sequence = torch.cat([images, future_images], dim=1)
            concatenated_inputs = torch.cat([real_sequence, generated_sequence], dim=0)
            concatenated_outputs = self.discriminator(concatenated_inputs)
            score_real, score_generated = torch.split(concatenated_outputs, 1, dim=1)
            discriminator_loss = loss_hinge_disc(score_generated, score_real)
            opt_d.zero_grad()
            discriminator_loss.backward()
            opt_d.step()

        predictions = [self.generator(images) for _ in range(self.generation_steps)]
        grid_cell_reg = grid_cell_regularizer(torch.stack(predictions, dim=0), future_images)
        generated_scores = [self.discriminator(torch.cat([images, x], dim=1)) for x in predictions]
        generator_loss = loss_hinge_gen(torch.cat(generated_scores, dim=0)) + self.grid_lambda * grid_cell_reg
        opt_g.zero_grad()
        generator_loss.backward()
        opt_g.step()
        return discriminator_loss.detach() + generator_loss.detach()


def build():
    return DGMR()


def step(model):
    images, future = torch.rand(2, 4, 1, 32, 32), torch.rand(2, 6, 1, 32, 32)
    opt_g = torch.optim.Adam(model.generator.parameters(), lr=5e-5, betas=(0.0, 0.999))
    opt_d = torch.optim.Adam(model.discriminator.parameters(), lr=2e-3, betas=(0.0, 0.999))
    model.train()
    return model.training_step(images, future, opt_g, opt_d)


# the scores are (2B, 2, 1): real and generated lie one after another in the batch, spatial and temporal on axis 1; the split on axis 1
# calls the spatial score real and the temporal one generated
TRUTH = dict(raises=None, at=None, culprits=['function:split'], dim=1, got=None, wanted=None,
             hint_any=['split', 'spatial', 'dim 0', 'dim=0', 'batch', 'cat'])
MENDED = [('torch.split(concatenated_outputs, 1, dim=1)', 'torch.split(concatenated_outputs, images.size(0), dim=0)')]
