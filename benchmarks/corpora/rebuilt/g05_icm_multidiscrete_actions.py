import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/RLE-Foundation/RLeXplore/issues/27'
CATEGORY = 'loss'
DESCRIPTION = 'Intrinsic curiosity: the inverse model predicts the one-hot width (18) of a MultiDiscrete action space, the rollout holds 8 raw indices.'


class MultiDiscrete:
    def __init__(self, nvec):
        self.nvec = nvec

    def sample(self, n):
        return torch.stack([torch.randint(0, k, (n,)) for k in self.nvec], -1)


class ObservationEncoder(nn.Module):
    def __init__(self, obs_dim, latent_dim):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(obs_dim, 32), nn.ReLU(), nn.Linear(32, latent_dim))

    def forward(self, obs):
        return self.trunk(obs)


class InverseDynamicsModel(nn.Module):
    def __init__(self, latent_dim, action_dim):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(2 * latent_dim, 32), nn.ReLU(), nn.Linear(32, action_dim))

    def forward(self, obs, next_obs):
        return self.trunk(torch.cat([obs, next_obs], dim=1))


class ForwardDynamicsModel(nn.Module):
    def __init__(self, latent_dim, action_dim):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(latent_dim + action_dim, 32), nn.ReLU(), nn.Linear(32, latent_dim))

    def forward(self, obs, pred_actions):
        return self.trunk(torch.cat([obs, pred_actions], dim=1))


class ICM(nn.Module):
    def __init__(self, obs_dim, action_space, latent_dim=16, beta=0.2):
        super().__init__()
        self.action_space = action_space
        self.beta = beta
        self.policy_action_dim = sum(action_space.nvec)
        self.encoder = ObservationEncoder(obs_dim, latent_dim)
        self.im = InverseDynamicsModel(latent_dim, self.policy_action_dim)
        self.fm = ForwardDynamicsModel(latent_dim, self.policy_action_dim)

    def update(self, samples):
        obs, actions, next_obs = samples['observations'], samples['actions'].float(), samples['next_observations']
        obs = obs.reshape(-1, obs.shape[-1])
        next_obs = next_obs.reshape(-1, next_obs.shape[-1])
        actions = actions.reshape(-1, actions.shape[-1])
        src, dst = self.encoder(obs), self.encoder(next_obs)
        pred_actions = self.im(src, dst)
        im_loss = F.mse_loss(pred_actions, actions)
        pred_dst = self.fm(src, pred_actions)
        fm_loss = F.mse_loss(pred_dst, dst.detach())
        return (1 - self.beta) * im_loss + self.beta * fm_loss


class Rollout:
    def __init__(self, n_steps, n_envs, obs_dim, action_space):
        self.observations = torch.randn(n_steps, n_envs, obs_dim)
        self.next_observations = torch.randn(n_steps, n_envs, obs_dim)
        self.actions = action_space.sample(n_steps * n_envs).view(n_steps, n_envs, -1)

    def as_dict(self):
        return dict(observations=self.observations, next_observations=self.next_observations, actions=self.actions)


def build():
    return ICM(8, MultiDiscrete([3, 3, 2, 2, 2, 2, 2, 2]))


def step(model):
    return model.update(Rollout(4, 8, 8, model.action_space).as_dict())


# real fix: encode every action as one-hot before the loss (torch.cat of F.one_hot, 18 wide), as the reporter set out to do
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['target', 'input', 'im.trunk.2'], dim=1, got=8, wanted=18,
             hint_any=['one-hot', 'one_hot', 'target', '18', 'action'])
MENDED = [('        actions = actions.reshape(-1, actions.shape[-1])\n',
           '        actions = actions.reshape(-1, actions.shape[-1])\n'
           '        actions = torch.cat([F.one_hot(actions[:, i].long(), k) for i, k in enumerate(self.action_space.nvec)], -1).float()\n')]
