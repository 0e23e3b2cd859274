from collections import deque
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = ('https://github.com/HumanCompatibleAI/imitation/issues/692 ((1024, 59, 256, 1) against stacks of four; that rollout unwraps what RolloutInfoWrapper recorded '
          'inside of VecFrameStack is read from the code of the question and the documentation of unwrap; smaller pictures, toy environment)')
CATEGORY = 'layer'
DESCRIPTION = ('Imitation learning from pictures: the policy sees stacks of four frames, the expert trajectories are unwrapped to the single frames that the '
               'inner recorder saw.')


class TrackEnv:
    def __init__(self, seed, horizon=12):
        self.g = torch.Generator().manual_seed(seed)
        self.horizon = horizon
        self.observation_shape, self.n_actions = (1, 24, 40), 4

    def observe(self):
        return torch.rand(self.observation_shape, generator=self.g)

    def reset(self):
        self.t = 0
        return self.observe()

    def step(self, action):
        self.t += 1
        return self.observe(), float(action == self.t % self.n_actions), self.t >= self.horizon, {}


class RolloutInfoWrapper:
    def __init__(self, env):
        self.env = env
        self.observation_shape, self.n_actions = env.observation_shape, env.n_actions

    def reset(self):
        obs = self.env.reset()
        self._obs = [obs]
        return obs

    def step(self, action):
        obs, rew, done, info = self.env.step(action)
        self._obs.append(obs)
        if done:
            info['rollout'] = {'obs': torch.stack(self._obs)}
        return obs, rew, done, info


class FrameStack:
    def __init__(self, env, n_stack):
        self.env, self.n_stack = env, n_stack
        c, h, w = env.observation_shape
        self.observation_shape, self.n_actions = (c * n_stack, h, w), env.n_actions
        self.frames = deque(maxlen=n_stack)

    def stacked(self):
        return torch.cat(list(self.frames), dim=0)

    def reset(self):
        obs = self.env.reset()
        for _ in range(self.n_stack):
            self.frames.append(torch.zeros_like(obs))
        self.frames.append(obs)
        return self.stacked()

    def step(self, action):
        obs, rew, done, info = self.env.step(action)
        self.frames.append(obs)
        return self.stacked(), rew, done, info


def rollout(policy, env, min_episodes, unwrap=True):
    trajectories = []
    for _ in range(min_episodes):
        obs, acts, done = [env.reset()], [], False
        while not done:
            acts.append(policy.predict(obs[-1]))
            o, _, done, info = env.step(acts[-1])
            obs.append(o)
        obs = info['rollout']['obs'] if unwrap else torch.stack(obs)
        trajectories.append({'obs': obs, 'acts': torch.tensor(acts)})
    return trajectories


def flatten_trajectories(trajectories):
    return {'obs': torch.cat([t['obs'][:-1] for t in trajectories]), 'acts': torch.cat([t['acts'] for t in trajectories]),
            'next_obs': torch.cat([t['obs'][1:] for t in trajectories])}


class NatureCNN(nn.Module):
    def __init__(self, n_input_channels, features_dim=32):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(n_input_channels, 8, 8, stride=4), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.Flatten())
        self.linear = nn.Sequential(nn.Linear(16 * 2 * 4, features_dim), nn.ReLU())

    def forward(self, observations):
        return self.linear(self.cnn(observations))


class CnnPolicy(nn.Module):
    def __init__(self, observation_shape, n_actions):
        super().__init__()
        self.features_extractor = NatureCNN(observation_shape[0])
        self.action_net = nn.Linear(32, n_actions)
        self.value_net = nn.Linear(32, 1)

    def evaluate_actions(self, obs, acts):
        dist = torch.distributions.Categorical(logits=self.action_net(self.features_extractor(obs)))
        return dist.log_prob(acts), dist.entropy()

    @torch.no_grad()
    def predict(self, obs):
        return self.action_net(self.features_extractor(obs[None])).argmax(1).item()


class BasicRewardNet(nn.Module):
    def __init__(self, observation_shape, n_actions):
        super().__init__()
        self.n_actions = n_actions
        self.encoder = NatureCNN(observation_shape[0])
        self.mlp = nn.Sequential(nn.Linear(32 + n_actions, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, obs, acts):
        x = torch.cat([self.encoder(obs), F.one_hot(acts, self.n_actions).float()], dim=1)
        return self.mlp(x).squeeze(1)


class GAIL(nn.Module):
    def __init__(self, env, demo_batch_size):
        super().__init__()
        self.gen_algo = CnnPolicy(env.observation_shape, env.n_actions)
        self.reward_net = BasicRewardNet(env.observation_shape, env.n_actions)
        self.demo_batch_size = demo_batch_size

    def disc_batches(self, expert, gen):
        for label, data in ((0.0, gen), (1.0, expert)):
            idx = torch.randperm(len(data['acts']))[:self.demo_batch_size]
            yield data['obs'][idx], data['acts'][idx], torch.full((len(idx),), label)

    def train_disc(self, expert, gen):
        loss = 0
        for obs, acts, labels in self.disc_batches(expert, gen):
            log_policy_act_prob, _ = self.gen_algo.evaluate_actions(obs, acts)
            logits = self.reward_net(obs, acts) - log_policy_act_prob.detach()
            loss = loss + F.binary_cross_entropy_with_logits(logits, labels)
        return loss


def make_env(seed):
    return FrameStack(RolloutInfoWrapper(TrackEnv(seed)), n_stack=4)


def build():
    torch.manual_seed(0)
    return GAIL(make_env(0), demo_batch_size=8)


def step(model):
    torch.manual_seed(1)
    env = make_env(3)
    expert = CnnPolicy(env.observation_shape, env.n_actions)
    demonstrations = flatten_trajectories(rollout(expert, env, min_episodes=2))
    gen = flatten_trajectories(rollout(model.gen_algo, make_env(4), min_episodes=1, unwrap=False))
    return model.train_disc(demonstrations, gen)


# fix: unwrap=False for the expert too (or the recorder outside of the frame stack)
# offending tensor: obs (8, 1, 24, 40), stacked by RolloutInfoWrapper
TRUTH = dict(raises='RuntimeError', at='module:gen_algo.features_extractor.cnn.0', culprits=['input', 'function:stack'], dim=1, got=1, wanted=4,
             hint_any=['channel', 'frame', 'stack', 'input'])
MENDED = [('rollout(expert, env, min_episodes=2)', 'rollout(expert, env, min_episodes=2, unwrap=False)')]
