import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/marlbenchmark/off-policy/pull/13'
CATEGORY = 'layer'
DESCRIPTION = 'Recurrent multi-agent Q-learning where the QMIX mixer was exchanged for VDN: the Bellman target of whole episodes.'


class Args:
    gamma, hidden_size, episode_length, batch_size = 0.99, 16, 5, 4
    num_agents, obs_dim, act_dim, cent_obs_dim = 4, 10, 5, 18


class AgentQFunction(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(args.obs_dim + args.act_dim, args.hidden_size), nn.ReLU())
        self.rnn = nn.GRU(args.hidden_size, args.hidden_size)
        self.norm = nn.LayerNorm(args.hidden_size)
        self.q = nn.Linear(args.hidden_size, args.act_dim)

    def forward(self, obs, prev_act):
        x, _ = self.rnn(self.mlp(torch.cat([obs, prev_act], dim=-1)))
        return self.q(self.norm(x))


class M_QMixer(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.num_agents, self.hidden = args.num_agents, args.hidden_size
        self.hyper_w1 = nn.Linear(args.cent_obs_dim, args.num_agents * args.hidden_size)
        self.hyper_b1 = nn.Linear(args.cent_obs_dim, args.hidden_size)
        self.hyper_w2 = nn.Linear(args.cent_obs_dim, args.hidden_size)
        self.hyper_b2 = nn.Linear(args.cent_obs_dim, 1)

    def forward(self, agent_q_inps, states):
        batch_size = agent_q_inps.size(1)
        states = states.reshape(-1, states.shape[-1])
        agent_q_inps = agent_q_inps.reshape(-1, 1, self.num_agents)
        w1 = self.hyper_w1(states).abs().view(-1, self.num_agents, self.hidden)
        h = F.elu(torch.bmm(agent_q_inps, w1) + self.hyper_b1(states).unsqueeze(1))
        out = torch.bmm(h, self.hyper_w2(states).abs().unsqueeze(2)) + self.hyper_b2(states).unsqueeze(2)
        return out.view(-1, batch_size, 1, 1)


class M_VDNMixer(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.num_agents = args.num_agents

    def forward(self, agent_q_inps, states):
        return agent_q_inps.sum(dim=-1).view(-1, 1, 1)


MIXERS = {'qmix': M_QMixer, 'vdn': M_VDNMixer}


class QMix(nn.Module):
    def __init__(self, args, mixer):
        super().__init__()
        self.args = args
        self.policy, self.target_policy = AgentQFunction(args), AgentQFunction(args)
        self.mixer, self.target_mixer = MIXERS[mixer](args), MIXERS[mixer](args)
        self.target_policy.load_state_dict(self.policy.state_dict())

    def train_policy_on_batch(self, obs, cent_obs, acts, rewards, dones_env_batch):
        curr_qs, next_qs = [], []
        for agent in range(self.args.num_agents):
            prev = torch.cat([torch.zeros_like(acts[agent][:1]), acts[agent]])
            q_seq = self.policy(obs[agent], prev)
            curr_qs.append(torch.gather(q_seq[:-1], 2, acts[agent].argmax(dim=-1, keepdim=True)))
            with torch.no_grad():
                greedy = q_seq[1:].argmax(dim=-1, keepdim=True)
                next_qs.append(torch.gather(self.target_policy(obs[agent], prev)[1:], 2, greedy))
        agent_q_seq, agent_nq_seq = torch.cat(curr_qs, dim=-1), torch.cat(next_qs, dim=-1)

        with torch.no_grad():
            next_step_Q_tot_seq = self.target_mixer(agent_nq_seq, cent_obs[1:]).squeeze(-1)
            Q_tot_target_seq = rewards + (1 - dones_env_batch) * self.args.gamma * next_step_Q_tot_seq
        Q_tot_seq = self.mixer(agent_q_seq, cent_obs[:-1]).squeeze(-1)

        mask = torch.cat([torch.ones_like(dones_env_batch[:1]), 1 - dones_env_batch[:-1]])
        return ((Q_tot_seq - Q_tot_target_seq) * mask).pow(2).sum() / mask.sum()


def build():
    return QMix(Args, 'vdn')


def step(model):
    T, B, a = Args.episode_length, Args.batch_size, Args
    obs = torch.randn(a.num_agents, T + 1, B, a.obs_dim)
    acts = F.one_hot(torch.randint(0, a.act_dim, (a.num_agents, T, B)), a.act_dim).float()
    dones = torch.zeros(T, B, 1)
    dones[-1] = 1
    return model.train_policy_on_batch(obs, torch.randn(T + 1, B, a.cent_obs_dim), acts, torch.randn(T, B, 1), dones)


# real fix: view(-1, batch_size, 1, 1) in the VDN mixer, as in the QMIX mixer
# offending tensor: next_step_Q_tot_seq (20, 1) against (5, 4, 1)
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['function:view', 'target_mixer', 'mixer'], dim=0, got=20, wanted=4,
             hint_any=['view', 'batch', '20', 'episode', 'time'])
MENDED = [('.view(-1, 1, 1)', '.view(-1, agent_q_inps.size(1), 1, 1)')]
