import copy
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/MishaLaskin/curl/issues/26'
CATEGORY = 'correct'
DESCRIPTION = 'CURL: a critic on pixels with a convolutional encoder, contrastive learning between the encoders of the critic and of its target.'


class PixelEncoder(nn.Module):
    def __init__(self, obs_channels, feature_dim):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(obs_channels, 8, 3, stride=2), nn.Conv2d(8, 8, 3, stride=1)])
        self.fc = nn.Linear(8 * 8 * 8, feature_dim)
        self.ln = nn.LayerNorm(feature_dim)

    def forward(self, obs, detach=False):
        h = obs / 255.
        for conv in self.convs:
            h = torch.relu(conv(h))
        h = h.reshape(h.size(0), -1)
        if detach:
            h = h.detach()
        return self.ln(self.fc(h))


class QFunction(nn.Module):
    def __init__(self, obs_dim, action_dim, hidden_dim):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(obs_dim + action_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 1))

    def forward(self, obs, action):
        return self.trunk(torch.cat([obs, action], dim=1))


class Critic(nn.Module):
    def __init__(self, channels, action_dim, hidden_dim, feature_dim):
        super().__init__()
        self.encoder = PixelEncoder(channels, feature_dim)
        self.Q1, self.Q2 = QFunction(feature_dim, action_dim, hidden_dim), QFunction(feature_dim, action_dim, hidden_dim)

    def forward(self, obs, action, detach_encoder=False):
        obs = self.encoder(obs, detach=detach_encoder)
        return self.Q1(obs, action), self.Q2(obs, action)


class CURL(nn.Module):
    def __init__(self, z_dim, critic, critic_target):
        super().__init__()
        self.encoder = critic.encoder
        self.encoder_target = critic_target.encoder
        self.W = nn.Parameter(torch.rand(z_dim, z_dim))

    def encode(self, x, ema=False):
        if ema:
            with torch.no_grad():
                return self.encoder_target(x).detach()
        return self.encoder(x)

    def compute_logits(self, z_a, z_pos):
        logits = torch.matmul(z_a, torch.matmul(self.W, z_pos.T))
        return logits - torch.max(logits, 1)[0][:, None]


def soft_update_params(net, target_net, tau):
    for param, target_param in zip(net.parameters(), target_net.parameters()):
        target_param.data.copy_(tau * param.data + (1 - tau) * target_param.data)


class CurlAgent(nn.Module):
    def __init__(self, channels=9, action_dim=2, hidden_dim=32, feature_dim=24):
        super().__init__()
        self.critic = Critic(channels, action_dim, hidden_dim, feature_dim)
        self.critic_target = copy.deepcopy(self.critic)
        self.CURL = CURL(feature_dim, self.critic, self.critic_target)
        self.critic_tau, self.encoder_tau, self.target_update_freq = 0.01, 0.05, 2

    def make_optimizers(self):
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=1e-3)
        self.encoder_optimizer = torch.optim.Adam(self.critic.encoder.parameters(), lr=1e-3)
        self.cpc_optimizer = torch.optim.Adam(self.CURL.parameters(), lr=1e-3)

    def update_critic(self, obs, action, reward, next_obs, not_done):
        with torch.no_grad():
            next_action = torch.rand_like(action) * 2 - 1
            target_Q1, target_Q2 = self.critic_target(next_obs, next_action)
            target_Q = reward + not_done * 0.99 * torch.min(target_Q1, target_Q2)
        Q1, Q2 = self.critic(obs, action)
        loss = F.mse_loss(Q1, target_Q) + F.mse_loss(Q2, target_Q)
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()
        return loss.detach()

    def update_cpc(self, obs_anchor, obs_pos):
        z_a, z_pos = self.CURL.encode(obs_anchor), self.CURL.encode(obs_pos, ema=True)
        logits = self.CURL.compute_logits(z_a, z_pos)
        loss = F.cross_entropy(logits, torch.arange(logits.shape[0]))
        self.encoder_optimizer.zero_grad()
        self.cpc_optimizer.zero_grad()
        loss.backward()
        self.encoder_optimizer.step()
        self.cpc_optimizer.step()
        return loss.detach()

    def update(self, batch, step):
        obs, action, reward, next_obs, not_done, pos = batch
        loss = self.update_critic(obs, action, reward, next_obs, not_done)
        if step % self.target_update_freq == 0:
            soft_update_params(self.critic.Q1, self.critic_target.Q1, self.critic_tau)
            soft_update_params(self.critic.Q2, self.critic_target.Q2, self.critic_tau)
            soft_update_params(self.critic.encoder, self.critic_target.encoder, self.encoder_tau)
        return loss + self.update_cpc(obs, pos)


def build():
    return CurlAgent()


def step(model):
    model.make_optimizers()
    for i in range(4):
        frames = torch.randint(0, 256, (3, 16, 9, 21, 21)).float()
        batch = (frames[0], torch.rand(16, 2) * 2 - 1, torch.rand(16, 1), frames[1], torch.ones(16, 1), frames[2])
        loss = model.update(batch, i)
    return loss


# CURL itself never moves encoder_target: it is the encoder of critic_target, which the soft update moves
TRUTH = dict(raises=None, culprits=[])
MENDED = []
