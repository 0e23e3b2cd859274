import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/thesouther/MARL/issues/8'
CATEGORY = 'silent'
DESCRIPTION = 'QMIX: when the target networks are refreshed, target_qmix_net loads its own state_dict in place of that of eval_qmix_net and stays at its start for ever.'


class DRQN(nn.Module):
    def __init__(self, input_shape, hidden, n_actions):
        super().__init__()
        self.fc1 = nn.Linear(input_shape, hidden)
        self.rnn = nn.GRUCell(hidden, hidden)
        self.fc2 = nn.Linear(hidden, n_actions)

    def forward(self, obs, hidden_state):
        h = self.rnn(F.relu(self.fc1(obs)), hidden_state.reshape(obs.shape[0], -1))
        return self.fc2(h), h


class QMIXNET(nn.Module):
    def __init__(self, n_agents, state_shape, hidden=16):
        super().__init__()
        self.n_agents, self.hidden, self.state_shape = n_agents, hidden, state_shape
        self.hyper_w1 = nn.Linear(state_shape, n_agents * hidden)
        self.hyper_w2 = nn.Linear(state_shape, hidden)
        self.hyper_b1 = nn.Linear(state_shape, hidden)
        self.hyper_b2 = nn.Sequential(nn.Linear(state_shape, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, q_values, states):
        episode_num = q_values.size(0)
        q_values = q_values.reshape(-1, 1, self.n_agents)
        states = states.reshape(-1, self.state_shape)
        w1 = torch.abs(self.hyper_w1(states)).view(-1, self.n_agents, self.hidden)
        b1 = self.hyper_b1(states).view(-1, 1, self.hidden)
        hidden = F.elu(torch.bmm(q_values, w1) + b1)
        w2 = torch.abs(self.hyper_w2(states)).view(-1, self.hidden, 1)
        b2 = self.hyper_b2(states).view(-1, 1, 1)
        return (torch.bmm(hidden, w2) + b2).view(episode_num, -1, 1)


class QMIX(nn.Module):
    def __init__(self, n_agents=3, n_actions=5, obs_shape=10, state_shape=12, hidden=16):
        super().__init__()
        self.n_agents, self.hidden = n_agents, hidden
        self.eval_drqn_net = DRQN(obs_shape, hidden, n_actions)
        self.target_drqn_net = DRQN(obs_shape, hidden, n_actions)
        self.eval_qmix_net = QMIXNET(n_agents, state_shape)
        self.target_qmix_net = QMIXNET(n_agents, state_shape)
        self.target_drqn_net.load_state_dict(self.eval_drqn_net.state_dict())
        self.target_qmix_net.load_state_dict(self.eval_qmix_net.state_dict())
        self.eval_parameters = list(self.eval_qmix_net.parameters()) + list(self.eval_drqn_net.parameters())
        self.optimizer = torch.optim.RMSprop(self.eval_parameters, lr=5e-3)
        self.update_target_params = 2

    def get_q_values(self, batch):
        episodes, length = batch['o'].shape[:2]
        eval_hidden = torch.zeros(episodes, self.n_agents, self.hidden)
        target_hidden = torch.zeros(episodes, self.n_agents, self.hidden)
        q_evals, q_targets = [], []
        for t in range(length):
            q_eval, eval_hidden = self.eval_drqn_net(batch['o'][:, t].flatten(0, 1), eval_hidden)
            q_target, target_hidden = self.target_drqn_net(batch['o_'][:, t].flatten(0, 1), target_hidden)
            q_evals.append(q_eval.view(episodes, self.n_agents, -1))
            q_targets.append(q_target.view(episodes, self.n_agents, -1))
        return torch.stack(q_evals, dim=1), torch.stack(q_targets, dim=1)

    def learn(self, batch, train_step, gamma=0.99):
        q_evals, q_targets = self.get_q_values(batch)
        q_evals = torch.gather(q_evals, dim=3, index=batch['u']).squeeze(3)
        q_targets = q_targets.max(dim=3)[0]
        q_total_eval = self.eval_qmix_net(q_evals, batch['s'])
        q_total_target = self.target_qmix_net(q_targets, batch['s_'])
        targets = batch['r'] + gamma * q_total_target * (1 - batch['terminated'])
        td_error = q_total_eval - targets.detach()
        loss = (td_error ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.eval_parameters, 10)
        self.optimizer.step()
        if train_step > 0 and train_step % self.update_target_params == 0:
            self.target_drqn_net.load_state_dict(self.eval_drqn_net.state_dict())
            self.target_qmix_net.load_state_dict(self.target_qmix_net.state_dict())
        return loss


def build():
    return QMIX()


def sample_batch(episodes=4, length=6):
    return {'o': torch.randn(episodes, length, 3, 10), 'o_': torch.randn(episodes, length, 3, 10),
            's': torch.randn(episodes, length, 12), 's_': torch.randn(episodes, length, 12),
            'u': torch.randint(0, 5, (episodes, length, 3, 1)), 'r': torch.randn(episodes, length, 1),
            'terminated': torch.zeros(episodes, length, 1)}


def step(model):
    for train_step in range(1, 6):
        loss = model.learn(sample_batch(), train_step)
    return loss.detach()


# real fix: self.target_qmix_net.load_state_dict(self.eval_qmix_net.state_dict())
TRUTH = dict(raises=None, at='module:target_qmix_net',
             culprits=['target_qmix_net', 'target_qmix_net.hyper_w1', 'target_qmix_net.hyper_w2', 'target_qmix_net.hyper_b1',
                       'target_qmix_net.hyper_b2'], dim=None, got=None, wanted=None,
             hint_any=['target_qmix_net', 'never changes', 'load_state_dict', 'not updated'])
MENDED = [('load_state_dict(self.target_qmix_net.state_dict())', 'load_state_dict(self.eval_qmix_net.state_dict())')]
