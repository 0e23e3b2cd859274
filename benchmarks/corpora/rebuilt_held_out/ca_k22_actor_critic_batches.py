import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/PacktPublishing/Deep-Reinforcement-Learning-Hands-On/issues/33'
CATEGORY = 'silent'
DESCRIPTION = 'A3C on frames: n-step references come from a queue as lists, policy, value and entropy losses in one backward.'

BATCH, GAMMA, STEPS = 16, 0.99, 4


class AtariA2C(nn.Module):
    def __init__(self, channels=4, n_actions=6):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(channels, 8, 4, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU())
        self.policy = nn.Sequential(nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, n_actions))
        self.value = nn.Sequential(nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        fx = x.float() / 256
        conv_out = self.conv(fx).view(fx.size(0), -1)
        return self.policy(conv_out), self.value(conv_out)


def experience(n=BATCH):
    for k in range(n):
        last = None if k % 7 == 6 else torch.randint(0, 256, (4, 16, 16), dtype=torch.uint8)
        yield torch.randint(0, 256, (4, 16, 16), dtype=torch.uint8), k % 6, float(torch.rand(())), last


def unpack_batch(batch, net):
    states, actions, rewards, not_done, last_states = [], [], [], [], []
    for idx, (s, a, r, last) in enumerate(batch):
        states.append(s)
        actions.append(a)
        rewards.append(r)
        if last is not None:
            not_done.append(idx)
            last_states.append(last)
    refs = torch.tensor(rewards)
    with torch.no_grad():
        last_vals = net(torch.stack(last_states))[1][:, 0]
    refs[not_done] += GAMMA ** STEPS * last_vals
    return torch.stack(states), torch.tensor(actions), refs


def build():
    return AtariA2C()


def step(model):
    opt = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-3)
    states_v, actions_t, vals_ref_v = unpack_batch(list(experience()), model)
    opt.zero_grad()
    logits_v, value_v = model(states_v)
    loss_value_v = F.mse_loss(value_v.squeeze(-1), vals_ref_v)
    log_prob_v = F.log_softmax(logits_v, dim=1)
    adv_v = vals_ref_v - value_v.detach()
    log_prob_actions_v = adv_v * log_prob_v[range(BATCH), actions_t]
    loss_policy_v = -log_prob_actions_v.mean()
    prob_v = F.softmax(logits_v, dim=1)
    entropy_loss_v = 0.01 * (prob_v * log_prob_v).sum(dim=1).mean()
    loss_v = entropy_loss_v + loss_value_v + loss_policy_v
    loss_v.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    opt.step()
    return (loss_v).detach()


# the value is squeezed for the value loss, not for the advantage: (16,) - (16, 1) is (16, 16)
TRUTH = dict(raises=None, at='function:sub', culprits=['function:sub', 'function:detach', 'value', 'value.2', 'target'], dim=1, got=1, wanted=None,
             hint_any=['squeeze', 'broadcast', '(16, 16)', 'unsqueeze'])
MENDED = [('adv_v = vals_ref_v - value_v.detach()', 'adv_v = vals_ref_v - value_v.squeeze(-1).detach()')]
