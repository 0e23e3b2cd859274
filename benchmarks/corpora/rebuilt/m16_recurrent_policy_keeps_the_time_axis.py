import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://taourl.com/read-2473033.html (question and answer on the forward pass of RecurrentPPO, no traceback; the gather is ours)'
CATEGORY = 'layer'
DESCRIPTION = 'Recurrent PPO: one action is taken after 10 observations, the heads are put on all GRU outputs: log-probabilities (B,10,A) gathered with actions (B,).'


class RecurrentPolicy(nn.Module):
    def __init__(self, input_dim=32, hidden_dim=64, action_dim=4):
        super().__init__()
        self.hidden_dim = hidden_dim
        self.embed = nn.Sequential(nn.Linear(input_dim, hidden_dim), nn.Tanh(), nn.LayerNorm(hidden_dim))
        self.gru = nn.GRU(hidden_dim, hidden_dim, batch_first=True)
        self.policy_head = nn.Linear(hidden_dim, action_dim)
        self.value_head = nn.Linear(hidden_dim, 1)

    def initial_state(self, n):
        return torch.zeros(1, n, self.hidden_dim)

    def forward(self, x, h):
        out, h = self.gru(self.embed(x), h)
        policy = self.policy_head(out)
        value = self.value_head(out)
        return policy, value, h


class RolloutBuffer:
    def __init__(self, n, seq_len=10, obs=32, actions=4):
        self.obs = torch.randn(n, seq_len, obs)
        self.actions = torch.randint(0, actions, (n,))
        self.old_log_probs = -torch.rand(n) - 1
        self.rewards, self.values = torch.randn(n), torch.randn(n)
        self.dones = (torch.rand(n) > 0.9).float()

    def compute(self, gamma=0.99, lam=0.95):
        adv, last, next_value = torch.zeros_like(self.rewards), 0.0, 0.0
        for t in reversed(range(len(self.rewards))):
            delta = self.rewards[t] + gamma * next_value * (1 - self.dones[t]) - self.values[t]
            last = delta + gamma * lam * (1 - self.dones[t]) * last
            adv[t], next_value = last, self.values[t]
        self.returns = adv + self.values
        self.advantages = (adv - adv.mean()) / (adv.std() + 1e-8)
        return self

    def minibatches(self, size):
        for idx in torch.randperm(len(self.actions)).split(size):
            yield self.obs[idx], self.actions[idx], self.old_log_probs[idx], self.advantages[idx], self.returns[idx]


def evaluate_actions(model, obs, actions):
    policy, value, _ = model(obs, model.initial_state(obs.size(0)))
    log_probs = F.log_softmax(policy, dim=-1)
    entropy = -(log_probs.exp() * log_probs).sum(-1)
    return log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1), value.squeeze(-1), entropy


def ppo_loss(model, batch, clip=0.2, vf=0.5, ent=0.01):
    obs, actions, old, adv, returns = batch
    log_prob, value, entropy = evaluate_actions(model, obs, actions)
    ratio = torch.exp(log_prob - old)
    surrogate = torch.min(ratio * adv, ratio.clamp(1 - clip, 1 + clip) * adv)
    return -surrogate.mean() + vf * F.mse_loss(value, returns) - ent * entropy.mean()


def build():
    return RecurrentPolicy()


def step(model):
    buffer = RolloutBuffer(24).compute()
    losses = [ppo_loss(model, batch) for batch in buffer.minibatches(8)]
    return torch.stack(losses).mean()


# real fix: only the last output of the GRU goes to the heads: out[:, -1]
# offending tensor: log_probs (8, 10, 4), index (8, 1)
TRUTH = dict(raises='RuntimeError', at='function:gather', culprits=['gru', 'policy_head', '', 'function:gather', 'function:log_softmax'], dim=None, got=None, wanted=None,
             hint_any=['[:, -1]', 'last', 'time', 'gru', 'dimension', '10'])
MENDED = [('out, h = self.gru(self.embed(x), h)\n', 'out, h = self.gru(self.embed(x), h)\n        out = out[:, -1]\n')]
