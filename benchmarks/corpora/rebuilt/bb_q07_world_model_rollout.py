import torch
import torch.distributions as td
import torch.nn as nn
import torch.nn.functional as tf
from collections import namedtuple

SOURCE = 'https://github.com/juliusfrost/dreamer-pytorch/issues/81'
CATEGORY = 'layer'
DESCRIPTION = ('World model of Dreamer: the prior network reads the deterministic state but its first layer is built with hidden_size; '
               'both are 200 by default, here the recurrent state was made larger.')

RSSMState = namedtuple('RSSMState', ['mean', 'std', 'stoch', 'deter'])


def stack_states(rssm_states, dim):
    return RSSMState(*[torch.stack([getattr(s, f) for s in rssm_states], dim=dim) for f in RSSMState._fields])


def get_feat(rssm_state):
    return torch.cat((rssm_state.stoch, rssm_state.deter), dim=-1)


def get_dist(rssm_state):
    return td.independent.Independent(td.Normal(rssm_state.mean, rssm_state.std), 1)


class RSSMTransition(nn.Module):
    def __init__(self, action_size, stochastic_size=30, deterministic_size=200, hidden_size=200, activation=nn.ELU, distribution=td.Normal):
        super().__init__()
        self._action_size = action_size
        self._stoch_size = stochastic_size
        self._deter_size = deterministic_size
        self._hidden_size = hidden_size
        self._activation = activation
        self._cell = nn.GRUCell(hidden_size, deterministic_size)
        self._rnn_input_model = self._build_rnn_input_model()
        self._stochastic_prior_model = self._build_stochastic_model()
        self._dist = distribution

    def _build_rnn_input_model(self):
        rnn_input_model = [nn.Linear(self._action_size + self._stoch_size, self._hidden_size)]
        rnn_input_model += [self._activation()]
        return nn.Sequential(*rnn_input_model)

    def _build_stochastic_model(self):
        stochastic_model = [nn.Linear(self._hidden_size, self._hidden_size)]
        stochastic_model += [self._activation()]
        stochastic_model += [nn.Linear(self._hidden_size, 2 * self._stoch_size)]
        return nn.Sequential(*stochastic_model)

    def initial_state(self, batch_size):
        zeros = torch.zeros(batch_size, self._stoch_size)
        return RSSMState(zeros, zeros, zeros, torch.zeros(batch_size, self._deter_size))

    def forward(self, prev_action, prev_state):
        rnn_input = self._rnn_input_model(torch.cat([prev_action, prev_state.stoch], dim=-1))
        deter_state = self._cell(rnn_input, prev_state.deter)
        mean, std = torch.chunk(self._stochastic_prior_model(deter_state), 2, dim=-1)
        std = tf.softplus(std) + 0.1
        return RSSMState(mean, std, self._dist(mean, std).rsample(), deter_state)


class RSSMRepresentation(nn.Module):
    def __init__(self, transition_model, obs_embed_size, action_size, stochastic_size=30, deterministic_size=200, hidden_size=200, activation=nn.ELU):
        super().__init__()
        self._transition_model = transition_model
        self._stochastic_posterior_model = nn.Sequential(
            nn.Linear(deterministic_size + obs_embed_size, hidden_size), activation(), nn.Linear(hidden_size, 2 * stochastic_size))

    def forward(self, obs_embed, prev_action, prev_state):
        prior_state = self._transition_model(prev_action, prev_state)
        x = torch.cat([prior_state.deter, obs_embed], -1)
        mean, std = torch.chunk(self._stochastic_posterior_model(x), 2, dim=-1)
        std = tf.softplus(std) + 0.1
        return prior_state, RSSMState(mean, std, td.Normal(mean, std).rsample(), prior_state.deter)


class RSSMRollout(nn.Module):
    def __init__(self, representation_model):
        super().__init__()
        self.representation_model = representation_model

    def forward(self, steps, obs_embed, action, prev_state):
        priors, posteriors = [], []
        for t in range(steps):
            prior_state, prev_state = self.representation_model(obs_embed[t], action[t], prev_state)
            priors.append(prior_state)
            posteriors.append(prev_state)
        return stack_states(priors, dim=0), stack_states(posteriors, dim=0)


class AgentModel(nn.Module):
    def __init__(self, obs_size=12, action_size=4, stochastic_size=8, deterministic_size=48, hidden_size=32, embed_size=20):
        super().__init__()
        sizes = dict(stochastic_size=stochastic_size, deterministic_size=deterministic_size, hidden_size=hidden_size)
        self.observation_encoder = nn.Sequential(nn.Linear(obs_size, embed_size), nn.ELU())
        self.transition = RSSMTransition(action_size, **sizes)
        self.representation = RSSMRepresentation(self.transition, embed_size, action_size, **sizes)
        self.rollout = RSSMRollout(self.representation)
        feature_size = stochastic_size + deterministic_size
        self.observation_decoder = nn.Sequential(nn.Linear(feature_size, hidden_size), nn.ELU(), nn.Linear(hidden_size, obs_size))
        self.reward_model = nn.Sequential(nn.Linear(feature_size, hidden_size), nn.ELU(), nn.Linear(hidden_size, 1))


def model_loss(model, observation, action, reward, free_nats=3.0, kl_scale=1.0):
    embed = model.observation_encoder(observation)
    batch_t, batch_b = reward.shape[:2]
    prior, post = model.rollout(batch_t, embed, action, model.transition.initial_state(batch_b))
    feat = get_feat(post)
    image_loss = -td.Independent(td.Normal(model.observation_decoder(feat), 1), 1).log_prob(observation).mean()
    reward_loss = -td.Independent(td.Normal(model.reward_model(feat), 1), 1).log_prob(reward).mean()
    div = td.kl_divergence(get_dist(post), get_dist(prior)).mean().clamp(min=free_nats)
    return kl_scale * div + reward_loss + image_loss


def build():
    torch.manual_seed(0)
    return AgentModel()


def step(model):
    torch.manual_seed(1)
    T, B = 5, 8
    observation, reward = torch.randn(T, B, 12), torch.randn(T, B, 1)
    action = tf.one_hot(torch.randint(0, 4, (T, B)), 4).float()
    return model_loss(model, observation, action, reward)


# real fix: the first layer of the stochastic prior model is nn.Linear(deterministic_size, hidden_size)
# offending tensor: deter_state (8, 48) into Linear(32, 32)
TRUTH = dict(raises='RuntimeError', at='module:transition._stochastic_prior_model.0',
             culprits=['transition._stochastic_prior_model.0', 'transition._stochastic_prior_model'], dim=1, got=48, wanted=32,
             hint_any=['48', 'in_features', 'deter'])
MENDED = [('stochastic_model = [nn.Linear(self._hidden_size, self._hidden_size)]', 'stochastic_model = [nn.Linear(self._deter_size, self._hidden_size)]')]
