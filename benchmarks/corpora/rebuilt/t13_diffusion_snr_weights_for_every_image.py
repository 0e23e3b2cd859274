import math

import torch
import torch.nn as nn

SOURCE = 'https://github.com/bayesflow-org/bayesflow/issues/787'
CATEGORY = 'silent'
DESCRIPTION = 'Diffusion inference network on channel-last fields: noise-level weights and the mean over the last axis.'


class CosineNoiseSchedule:
    def __init__(self, min_log_snr=-15.0, max_log_snr=15.0, s_shift=0.0):
        self.s = s_shift
        self.t_min = self._t(max_log_snr)
        self.t_max = self._t(min_log_snr)

    def _t(self, log_snr):
        return 2 / math.pi * math.atan(math.exp((2 * self.s - log_snr) / 2))

    def get_log_snr(self, t):
        t = self.t_min + (self.t_max - self.t_min) * t
        return -2 * torch.log(torch.tan(math.pi * t / 2)) + 2 * self.s

    def get_alpha_sigma(self, log_snr):
        return torch.sqrt(torch.sigmoid(log_snr)), torch.sqrt(torch.sigmoid(-log_snr))

    def get_weights_for_snr(self, log_snr):
        return torch.exp(-log_snr / 2).clamp(max=5.0) + torch.sigmoid(-log_snr + 2)


def expand_right_as(x, like):
    return x.reshape(x.shape + (1,) * (like.dim() - x.dim()))


class FieldNet(nn.Module):
    def __init__(self, channels=2, cond=3, width=24):
        super().__init__()
        self.lift = nn.Linear(channels + cond + 1, width)
        self.mix = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Linear(width, channels)

    def forward(self, x, conditions, log_snr):
        b, h, w, _ = x.shape
        cond = conditions[:, None, None, :].expand(b, h, w, -1)
        y = torch.cat([x, cond, log_snr.expand(b, h, w, 1)], dim=-1)
        y = torch.nn.functional.mish(self.lift(y))
        y = self.mix(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.out(torch.nn.functional.mish(y))


class DiffusionModel(nn.Module):
    def __init__(self, subnet):
        super().__init__()
        self.subnet = subnet
        self.noise_schedule = CosineNoiseSchedule()

    def compute_metrics(self, x, conditions, sample_weight=None):
        t = torch.rand(x.shape[0])
        log_snr_t = expand_right_as(self.noise_schedule.get_log_snr(t), x)
        alpha_t, sigma_t = self.noise_schedule.get_alpha_sigma(log_snr_t)
        weights_for_snr = self.noise_schedule.get_weights_for_snr(log_snr_t)
        eps_t = torch.randn_like(x)
        diffusion_target = alpha_t * x + sigma_t * eps_t
        noise_pred = self.subnet(diffusion_target, conditions, log_snr_t / 15)
        loss = weights_for_snr * torch.mean((noise_pred - eps_t) ** 2, dim=-1)
        if sample_weight is not None:
            loss = loss * sample_weight
        return {'loss': loss.mean()}


def build():
    return DiffusionModel(FieldNet())


def step(model):
    x, conditions = torch.randn(8, 8, 8, 2), torch.randn(8, 3)
    metrics = model.compute_metrics(x, conditions)
    metrics['loss'].backward()
    return metrics['loss'].detach()


# (8, 1, 1, 1) weights times (8, 8, 8) errors give (8, 8, 8, 8): each weight meets each image;
# fix: drop the last dimension of the weights (or keepdim in the mean)
TRUTH = dict(raises=None, at='function:mul', culprits=['function:mul', 'function:mean', 'function:reshape'], dim=None, got=None, wanted=None,
             hint_any=['broadcast', 'keepdim', 'squeeze', 'weights'])
MENDED = [('loss = weights_for_snr * torch.mean', 'loss = weights_for_snr[..., 0] * torch.mean')]
