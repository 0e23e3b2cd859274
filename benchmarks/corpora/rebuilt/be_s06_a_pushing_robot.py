import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/lerobot/issues/1539 (cause as in pull request 1397)'
CATEGORY = 'layer'
DESCRIPTION = 'A robot pushes a block: its next actions are denoised, conditioned on the camera picture and the state of a single observation.'


class DiffusionConfig:
    n_obs_steps = 1
    horizon = 16
    n_action_steps = 8
    image_features = ['observation.image']
    state_dim = 2
    action_dim = 2
    feature_dim = 32


class DiffusionRgbEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 16, 7, stride=4, padding=3), nn.GroupNorm(4, 16), nn.ReLU(),
                                      nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.out = nn.Linear(32 * 4, config.feature_dim)

    def forward(self, x):
        x = torch.flatten(self.pool(self.backbone(x)), start_dim=1)
        return F.relu(self.out(x))


class DiffusionConditionalUnet1d(nn.Module):
    def __init__(self, config, global_cond_dim):
        super().__init__()
        self.step = nn.Linear(16, 16)
        self.inc = nn.Conv1d(config.action_dim, 32, 5, padding=2)
        self.film = nn.Linear(global_cond_dim + 16, 64)
        self.out = nn.Conv1d(32, config.action_dim, 5, padding=2)

    def forward(self, x, timestep, global_cond):
        freqs = torch.exp(torch.arange(8) * -(math.log(10000) / 7))
        emb = timestep.unsqueeze(-1) * freqs
        emb = self.step(torch.cat([emb.sin(), emb.cos()], dim=-1))
        scale, bias = self.film(torch.cat([emb, global_cond], dim=-1)).unsqueeze(-1).chunk(2, dim=1)
        x = F.mish(self.inc(x.transpose(1, 2))) * scale + bias
        return self.out(x).transpose(1, 2)


class DiffusionPolicy(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        num_images = len(config.image_features)
        self.rgb_encoder = DiffusionRgbEncoder(config)
        self.unet = DiffusionConditionalUnet1d(config, (config.state_dim + config.feature_dim * num_images) * config.n_obs_steps)

    def _prepare_global_conditioning(self, batch):
        batch_size, n_obs_steps = batch['observation.state'].shape[:2]
        images = batch['observation.images']
        # b s n ... -> (b s n) ...
        img_features = self.rgb_encoder(images.flatten(0, 2))
        img_features = img_features.view(batch_size, n_obs_steps, -1)
        return torch.cat([batch['observation.state'], img_features], dim=-1).flatten(start_dim=1)

    def compute_loss(self, batch):
        global_cond = self._prepare_global_conditioning(batch)
        trajectory = batch['action']
        eps = torch.randn(trajectory.shape)
        timesteps = torch.randint(0, 100, (len(trajectory),))
        alpha = torch.cos(timesteps / 100 * math.pi / 2)[:, None, None]
        noisy_trajectory = alpha * trajectory + (1 - alpha ** 2).sqrt() * eps
        return F.mse_loss(self.unet(noisy_trajectory, timesteps, global_cond), eps)

    def forward(self, batch):
        batch = dict(batch)
        batch['observation.images'] = torch.stack([batch[key] for key in self.config.image_features], dim=-4)
        return self.compute_loss(batch)


def build():
    torch.manual_seed(0)
    return DiffusionPolicy(DiffusionConfig())


def step(model):
    config = model.config
    batch = {'observation.image': torch.rand(64, 3, 84, 84),
             'observation.state': torch.rand(64, config.n_obs_steps, config.state_dim),
             'action': torch.rand(64, config.horizon, config.action_dim)}
    return model(batch)


# with one observation the data set yields images without the axis of the observation steps: (64, 3, 84, 84) instead of (64, 1, 3, 84, 84)
TRUTH = dict(raises='RuntimeError', at='rgb_encoder.backbone.0', culprits=['input', 'function:flatten', 'function:stack'], dim=0, got=192, wanted=3,
             hint_any=['unsqueeze', 'n_obs_steps', 'flatten', 'axis', 'dimension'])
MENDED = [('torch.stack([batch[key] for key in self.config.image_features], dim=-4)',
           'torch.stack([batch[key] if batch[key].ndim == 5 else batch[key].unsqueeze(1) for key in self.config.image_features], dim=-4)')]
