import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/Kchu/DeepRL_PyTorch/issues/1'
CATEGORY = 'correct'
DESCRIPTION = 'IQN: smooth_l1_loss of (m, N, 1) against (m, 1, N) broadcasts to all pairs of quantiles on purpose; the maintainer explains that it is no bug.'

N_ACTIONS, N_QUANT, GAMMA = 4, 16, 0.99


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.feature_extraction = nn.Sequential(
            nn.Conv2d(4, 8, 8, 4), nn.ReLU(), nn.Conv2d(8, 16, 4, 2), nn.ReLU(), nn.Conv2d(16, 16, 3, 1), nn.ReLU())
        self.phi = nn.Linear(1, 144, bias=False)
        self.phi_bias = nn.Parameter(torch.zeros(144))
        self.fc = nn.Linear(144, 64)
        self.fc_q = nn.Linear(64, N_ACTIONS)

    def forward(self, x):
        mb_size = x.size(0)
        x = self.feature_extraction(x).view(mb_size, -1)
        tau = torch.rand(N_QUANT, 1)
        quants = torch.arange(0, N_QUANT, 1.0)
        cos_trans = torch.cos(quants * tau * 3.141592).unsqueeze(2)
        rand_feat = F.relu(self.phi(cos_trans).mean(dim=1) + self.phi_bias.unsqueeze(0)).unsqueeze(0)
        x = x.unsqueeze(1) * rand_feat
        action_value = self.fc_q(F.relu(self.fc(x))).transpose(1, 2)
        return action_value, tau


class DQN(nn.Module):
    def __init__(self):
        super().__init__()
        self.pred_net, self.target_net = ConvNet(), ConvNet()
        self.target_net.load_state_dict(self.pred_net.state_dict())

    def learn(self, b_s, b_a, b_r, b_s_, b_d):
        m = b_s.size(0)
        q_eval, q_eval_tau = self.pred_net(b_s)
        q_eval = torch.stack([q_eval[i].index_select(0, b_a[i]) for i in range(m)]).squeeze(1)
        q_eval = q_eval.unsqueeze(2)
        with torch.no_grad():
            q_next, _ = self.target_net(b_s_)
            best_actions = q_next.mean(dim=2).argmax(dim=1)
            q_next = torch.stack([q_next[i].index_select(0, best_actions[i]) for i in range(m)]).squeeze(1)
            q_target = b_r.unsqueeze(1) + GAMMA * (1. - b_d.unsqueeze(1)) * q_next
            q_target = q_target.unsqueeze(1)
        u = q_target - q_eval
        tau = q_eval_tau.unsqueeze(0)
        weight = torch.abs(tau - u.le(0.).float())
        loss = F.smooth_l1_loss(q_eval, q_target, reduction='none')
        return torch.mean(weight * loss, dim=1).mean(dim=1).mean()


def build():
    return DQN()


def step(model):
    m = 8
    return model.learn(torch.rand(m, 4, 52, 52), torch.randint(0, N_ACTIONS, (m,)), torch.rand(m), torch.rand(m, 4, 52, 52), torch.zeros(m))


TRUTH = dict(raises=None, at=None, culprits=[])
