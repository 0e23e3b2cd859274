from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/uoe-agents/BRDiv/issues/2 (cause read from the numbers: 42 = 2 * 21, 46 = 2 * (21 + 2))'
CATEGORY = 'layer'
DESCRIPTION = 'Teammate population: the joint value net is sized with the population ids of both agents, the self-play loss gives it the bare observations.'


@dataclass
class Config:
    obs_size: int = 21
    act_size: int = 6
    num_agents: int = 2
    populations: int = 2
    hidden: int = 128
    gamma: float = 0.99
    n_step: int = 4
    entropy_weight: float = 0.01


def fc(sizes, out):
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], out))


class AgentPopulations(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c = config
        width = config.obs_size + config.populations
        self.policies = nn.ModuleList(fc([config.obs_size, config.hidden, config.hidden], config.act_size) for _ in range(config.populations))
        self.joint_action_value_function = fc([width * config.num_agents, config.hidden, config.hidden], 1)
        self.target_joint_action_value_function = fc([width * config.num_agents, config.hidden, config.hidden], 1)
        self.target_joint_action_value_function.load_state_dict(self.joint_action_value_function.state_dict())

    def with_ids(self, obs, ids):
        onehot = F.one_hot(ids, self.c.populations).float()
        return torch.cat([obs, onehot.unsqueeze(-2).expand(*obs.shape[:-1], -1)], dim=-1)

    def targets(self, batch):
        with torch.no_grad():
            last = self.with_ids(batch['next_obs'][:, -1], batch['ids'])
            value = self.target_joint_action_value_function(last.flatten(1)).squeeze(1)
            returns = []
            for t in reversed(range(self.c.n_step)):
                value = batch['rewards'][:, t] + self.c.gamma * (1 - batch['dones'][:, t]) * value
                returns.append(value)
            return torch.stack(returns[::-1], 1)

    def logits(self, obs, ids):
        stacked = torch.stack([p(obs) for p in self.policies], 1)
        return stacked[torch.arange(len(obs)), ids]

    def compute_sp_critic_loss(self, batch):
        targets = self.targets(batch)
        critic_loss, policy_loss, entropy = 0, 0, 0
        for idx in range(self.c.n_step):
            obs_idx = batch['obs'][:, idx]
            sp_v_values = self.joint_action_value_function(obs_idx.view(obs_idx.size(0), 1, -1).squeeze(1)).squeeze(1)
            advantage = targets[:, idx] - sp_v_values
            critic_loss = critic_loss + advantage.pow(2).mean()
            for agent in range(self.c.num_agents):
                dist = torch.distributions.Categorical(logits=self.logits(batch['obs'][:, idx, agent], batch['ids']))
                logp = dist.log_prob(batch['acts'][:, idx, agent])
                policy_loss = policy_loss - (logp * advantage.detach()).mean()
                entropy = entropy + dist.entropy().mean()
        return critic_loss / self.c.n_step, policy_loss / self.c.n_step, entropy / self.c.n_step


def replay(c, n=32):
    shape = (n, c.n_step, c.num_agents)
    return dict(obs=torch.rand(*shape, c.obs_size), next_obs=torch.rand(*shape, c.obs_size), acts=torch.randint(0, c.act_size, shape),
                rewards=torch.rand(n, c.n_step), dones=(torch.rand(n, c.n_step) > 0.9).float(), ids=torch.randint(0, c.populations, (n,)))


def build():
    return AgentPopulations(Config())


def step(model):
    critic, policy, entropy = model.compute_sp_critic_loss(replay(model.c))
    return critic + policy - model.c.entropy_weight * entropy


# real fix: the ids of the population have to be appended to the observations, as for the targets
# offending tensor: input (32, 42) where 46 are needed
TRUTH = dict(raises='RuntimeError', at='module:joint_action_value_function.0', culprits=['input', 'function:view', 'function:squeeze', 'function:getitem', ''], dim=1, got=42, wanted=46,
             hint_any=['46', 'with_ids', 'ids', 'cat', 'input'])
MENDED = [("obs_idx = batch['obs'][:, idx]", "obs_idx = self.with_ids(batch['obs'][:, idx], batch['ids'])")]
