from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Stable-Baselines-Team/stable-baselines3-contrib/issues/111'
CATEGORY = 'silent'
DESCRIPTION = 'Recurrent PPO: the stored LSTM states (n_seq, n_layers, dim) are reshaped to (n_layers, n_seq, dim), which gives sequences the states of others.'


def swap_and_flatten(tensor):
    return tensor.swapaxes(0, 1).reshape(tensor.shape[0] * tensor.shape[1], *tensor.shape[2:])


def pad(starts, ends, tensor):
    seq = [tensor[start:end + 1] for start, end in zip(starts, ends)]
    return torch.nn.utils.rnn.pad_sequence(seq, batch_first=True)


def pad_and_flatten(starts, ends, tensor):
    return pad(starts, ends, tensor).flatten()


def create_sequencers(episode_starts, env_change):
    seq_start = torch.logical_or(episode_starts > 0, env_change > 0).flatten()
    starts = torch.where(seq_start)[0].tolist()
    ends = [s - 1 for s in starts[1:]] + [len(episode_starts) - 1]
    return starts, partial(pad, starts, ends), partial(pad_and_flatten, starts, ends)


class RecurrentActorCriticPolicy(nn.Module):
    def __init__(self, obs_dim=6, n_actions=3, hidden=8, n_layers=2):
        super().__init__()
        self.lstm_actor = nn.LSTM(obs_dim, hidden, num_layers=n_layers)
        self.action_net = nn.Linear(hidden, n_actions)
        self.value_net = nn.Linear(hidden, 1)

    def process_sequence(self, features, lstm_states, episode_starts):
        n_seq = lstm_states[0].shape[1]
        features = features.reshape((n_seq, -1, self.lstm_actor.input_size)).swapaxes(0, 1)
        episode_starts = episode_starts.reshape((n_seq, -1)).swapaxes(0, 1)
        output = []
        for feature, start in zip(features, episode_starts):
            keep = (1.0 - start).view(1, n_seq, 1)
            hidden, lstm_states = self.lstm_actor(feature.unsqueeze(0), (keep * lstm_states[0], keep * lstm_states[1]))
            output.append(hidden)
        return torch.flatten(torch.cat(output).transpose(0, 1), start_dim=0, end_dim=1), lstm_states

    def forward(self, features, lstm_states, episode_starts):
        latent, lstm_states = self.process_sequence(features, lstm_states, episode_starts)
        return torch.distributions.Categorical(logits=self.action_net(latent)), self.value_net(latent), lstm_states


def collect_rollouts(policy, n_steps=6, n_envs=4):
    lstm = policy.lstm_actor
    states = (torch.randn(lstm.num_layers, n_envs, lstm.hidden_size), torch.randn(lstm.num_layers, n_envs, lstm.hidden_size))
    names = ['obs', 'hidden', 'cell', 'starts', 'actions', 'log_probs', 'values', 'rewards']
    buffer = {name: [] for name in names}
    for t in range(n_steps):
        obs, starts = torch.randn(n_envs, 6), torch.zeros(n_envs)
        starts[1] = float(t == 4)
        dist, value, following = policy(obs, states, starts)
        action = dist.sample()
        for name, item in zip(names, [obs, *states, starts, action, dist.log_prob(action), value.squeeze(1), torch.randn(n_envs)]):
            buffer[name].append(item)
        states = following
    buffer = {name: torch.stack(items) for name, items in buffer.items()}
    advantages, last = torch.zeros(n_steps, n_envs), torch.zeros(n_envs)
    for t in reversed(range(n_steps)):
        final = t + 1 == n_steps
        next_non_terminal = torch.ones(n_envs) if final else 1.0 - buffer['starts'][t + 1]
        next_values = buffer['values'][t] if final else buffer['values'][t + 1]
        delta = buffer['rewards'][t] + 0.99 * next_values * next_non_terminal - buffer['values'][t]
        last = delta + 0.99 * 0.95 * next_non_terminal * last
        advantages[t] = last
    buffer['hidden'], buffer['cell'] = buffer['hidden'].swapaxes(1, 2), buffer['cell'].swapaxes(1, 2)
    buffer['advantages'], buffer['returns'] = advantages, advantages + buffer['values']
    return buffer


def get_samples(buffer, n_layers):
    env_change = torch.zeros_like(buffer['starts'])
    env_change[0] = 1.0
    data = {name: swap_and_flatten(item) for name, item in buffer.items()}
    starts, pad_, flat = create_sequencers(data['starts'], swap_and_flatten(env_change))
    n_seq = len(starts)
    lstm_states = (
        data['hidden'][starts].reshape(n_layers, n_seq, -1),
        data['cell'][starts].reshape(n_layers, n_seq, -1),
    )
    obs = pad_(data['obs'])
    scalars = {name: flat(data[name]) for name in ['starts', 'actions', 'log_probs', 'advantages', 'returns']}
    return obs.reshape(n_seq * obs.shape[1], -1), lstm_states, scalars, flat(torch.ones(len(data['starts']))) > 0


def build():
    return RecurrentActorCriticPolicy()


def step(model):
    with torch.no_grad():
        buffer = collect_rollouts(model)
    obs, lstm_states, batch, mask = get_samples(buffer, model.lstm_actor.num_layers)
    dist, values, _ = model(obs, lstm_states, batch['starts'])
    advantages = batch['advantages']
    advantages = (advantages - advantages[mask].mean()) / (advantages[mask].std() + 1e-8)
    ratio = torch.exp(dist.log_prob(batch['actions']) - batch['log_probs'])
    policy_loss = -torch.min(advantages * ratio, advantages * torch.clamp(ratio, 0.8, 1.2))[mask].mean()
    value_loss = F.mse_loss(values.flatten()[mask], batch['returns'][mask])
    return policy_loss + 0.5 * value_loss - 0.01 * dist.entropy()[mask].mean()


# real fix: swapaxes(0, 1).contiguous() in place of both reshapes
TRUTH = dict(raises=None, at='function:reshape', culprits=['function:reshape'], dim=None, got=None, wanted=None,
             hint_any=['transpose', 'permute', 'swapaxes', 'mix', 'order', 'scrambl'])
MENDED = [("data['hidden'][starts].reshape(n_layers, n_seq, -1)", "data['hidden'][starts].swapaxes(0, 1).contiguous()"),
          ("data['cell'][starts].reshape(n_layers, n_seq, -1)", "data['cell'][starts].swapaxes(0, 1).contiguous()")]
