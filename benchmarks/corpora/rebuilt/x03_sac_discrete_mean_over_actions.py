import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/p-christ/Deep-Reinforcement-Learning-Algorithms-with-PyTorch/issues/54'
CATEGORY = 'silent'
DESCRIPTION = 'SAC-Discrete: the soft value of the next state, probabilities times Q, is averaged over the actions instead of summed (the target is 4 times too small).'

CONFIG = dict(state_size=8, action_size=4, hidden=32, discount_rate=0.99, batch_size=12)


def create_nn(input_dim, output_dim, hidden, final=None):
    layers = [nn.Linear(input_dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, output_dim)]
    return nn.Sequential(*layers, final) if final is not None else nn.Sequential(*layers)


class SAC_Discrete(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        s, a, h = config['state_size'], config['action_size'], config['hidden']
        self.critic_local = create_nn(s, a, h)
        self.critic_local_2 = create_nn(s, a, h)
        self.critic_target = copy.deepcopy(self.critic_local)
        self.critic_target_2 = copy.deepcopy(self.critic_local_2)
        self.actor_local = create_nn(s, a, h, nn.Softmax(dim=1))
        self.alpha = 0.2

    def produce_action_and_action_info(self, state):
        action_probabilities = self.actor_local(state)
        max_probability_action = torch.argmax(action_probabilities, dim=-1)
        action = torch.distributions.Categorical(action_probabilities).sample()
        z = (action_probabilities == 0.0).float() * 1e-8
        log_action_probabilities = torch.log(action_probabilities + z)
        return action, (action_probabilities, log_action_probabilities), max_probability_action

    def calculate_critic_losses(self, state_batch, action_batch, reward_batch, next_state_batch, mask_batch):
        with torch.no_grad():
            _, (action_probabilities, log_action_probabilities), _ = self.produce_action_and_action_info(next_state_batch)
            qf1_next_target = self.critic_target(next_state_batch)
            qf2_next_target = self.critic_target_2(next_state_batch)
            min_qf_next_target = action_probabilities * (
                torch.min(qf1_next_target, qf2_next_target) - self.alpha * log_action_probabilities)
            min_qf_next_target = min_qf_next_target.mean(dim=1).unsqueeze(-1)
            next_q_value = reward_batch + (1.0 - mask_batch) * self.config['discount_rate'] * min_qf_next_target
        qf1 = self.critic_local(state_batch).gather(1, action_batch.long())
        qf2 = self.critic_local_2(state_batch).gather(1, action_batch.long())
        return F.mse_loss(qf1, next_q_value), F.mse_loss(qf2, next_q_value)

    def calculate_actor_loss(self, state_batch):
        _, (action_probabilities, log_action_probabilities), _ = self.produce_action_and_action_info(state_batch)
        with torch.no_grad():
            min_qf_pi = torch.min(self.critic_local(state_batch), self.critic_local_2(state_batch))
        inside_term = self.alpha * log_action_probabilities - min_qf_pi
        return (action_probabilities * inside_term).sum(dim=1).mean()


def sample_experiences(config):
    b, s = config['batch_size'], config['state_size']
    return (torch.randn(b, s), torch.randint(0, config['action_size'], (b, 1)).float(), torch.randn(b, 1),
            torch.randn(b, s), torch.zeros(b, 1))


def build():
    return SAC_Discrete(CONFIG)


def step(model):
    batch = sample_experiences(CONFIG)
    qf1_loss, qf2_loss = model.calculate_critic_losses(*batch)
    return qf1_loss + qf2_loss + model.calculate_actor_loss(batch[0])


# real fix: min_qf_next_target.sum(dim=1).unsqueeze(-1)
TRUTH = dict(raises=None, at='function:mean', culprits=['function:mean'], dim=1, got=None, wanted=None,
             hint_any=['sum', 'expectation', 'weighted', 'probabilit'])
MENDED = [('min_qf_next_target.mean(dim=1).unsqueeze(-1)', 'min_qf_next_target.sum(dim=1).unsqueeze(-1)')]
