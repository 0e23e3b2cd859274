import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/xuehy/pytorch-maddpg/issues/12 (the same in issue 8)'
CATEGORY = 'layer'
DESCRIPTION = 'MADDPG: the target critic gives (n, 1) and is written into target_Q[non_final_mask] of shape (n) without the squeeze.'


class Critic(nn.Module):
    def __init__(self, n_agent, dim_observation, dim_action):
        super().__init__()
        obs_dim, act_dim = dim_observation * n_agent, dim_action * n_agent
        self.FC1 = nn.Linear(obs_dim, 64)
        self.FC2 = nn.Linear(64 + act_dim, 32)
        self.FC3 = nn.Linear(32, 16)
        self.FC4 = nn.Linear(16, 1)

    def forward(self, obs, acts):
        result = F.relu(self.FC1(obs))
        combined = torch.cat([result, acts], 1)
        return self.FC4(F.relu(self.FC3(F.relu(self.FC2(combined)))))


class Actor(nn.Module):
    def __init__(self, dim_observation, dim_action):
        super().__init__()
        self.FC1 = nn.Linear(dim_observation, 32)
        self.FC2 = nn.Linear(32, dim_action)

    def forward(self, obs):
        return torch.tanh(self.FC2(F.relu(self.FC1(obs))))


class MADDPG(nn.Module):
    def __init__(self, n_agents=2, dim_obs=6, dim_act=2, batch_size=24, gamma=0.95):
        super().__init__()
        self.n_agents, self.n_states, self.n_actions = n_agents, dim_obs, dim_act
        self.batch_size, self.GAMMA = batch_size, gamma
        self.actors = nn.ModuleList([Actor(dim_obs, dim_act) for _ in range(n_agents)])
        self.critics = nn.ModuleList([Critic(n_agents, dim_obs, dim_act) for _ in range(n_agents)])
        self.actors_target = nn.ModuleList([Actor(dim_obs, dim_act) for _ in range(n_agents)])
        self.critics_target = nn.ModuleList([Critic(n_agents, dim_obs, dim_act) for _ in range(n_agents)])

    def update_policy(self, batch):
        c_loss = 0
        for agent in range(self.n_agents):
            non_final_mask = batch['non_final']
            state_batch, action_batch, reward_batch = batch['states'], batch['actions'], batch['rewards']
            non_final_next_states = batch['next_states'][non_final_mask]
            whole_state = state_batch.view(self.batch_size, -1)
            whole_action = action_batch.view(self.batch_size, -1)
            current_Q = self.critics[agent](whole_state, whole_action)
            with torch.no_grad():
                non_final_next_actions = torch.stack(
                    [self.actors_target[i](non_final_next_states[:, i, :]) for i in range(self.n_agents)]).transpose(0, 1).contiguous()
                target_Q = torch.zeros(self.batch_size)
                target_Q[non_final_mask] = self.critics_target[agent](
                    non_final_next_states.view(-1, self.n_agents * self.n_states),
                    non_final_next_actions.view(-1, self.n_agents * self.n_actions))
            target_Q = (target_Q.unsqueeze(1) * self.GAMMA) + (reward_batch[:, agent].unsqueeze(1) * 0.1)
            c_loss = c_loss + F.mse_loss(current_Q, target_Q)
        return c_loss


def build():
    return MADDPG()


def step(model):
    non_final = torch.ones(24, dtype=torch.bool)
    non_final[-1] = False
    return model.update_policy(dict(states=torch.randn(24, 2, 6), actions=torch.rand(24, 2, 2), rewards=torch.rand(24, 2),
                                    next_states=torch.randn(24, 2, 6), non_final=non_final))


# real fix: .squeeze() after the target critic
TRUTH = dict(raises='RuntimeError', at='function:setitem', culprits=['function:setitem', 'critics_target.0', 'critics_target.0.FC4'], dim=1, got=1, wanted=None,
             hint_any=['squeeze', '(23, 1)', '23'])
MENDED = [('non_final_next_actions.view(-1, self.n_agents * self.n_actions))', 'non_final_next_actions.view(-1, self.n_agents * self.n_actions)).squeeze(1)')]
