import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'own program after https://github.com/ruotianluo/self-critical.pytorch'
CATEGORY = 'correct'
DESCRIPTION = 'Self-critical captioning: the greedy caption runs in eval mode without gradient, train mode comes back for the sampled one, the reward is a plain number per caption repeated over the words, the mask is shifted by one.'


class Captioner(nn.Module):
    def __init__(self, vocab=30, dim=16, feat=24, length=9):
        super().__init__()
        self.img_embed = nn.Linear(feat, dim)
        self.embed = nn.Embedding(vocab + 1, dim)
        self.core = nn.LSTMCell(dim, dim)
        self.drop = nn.Dropout(0.5)
        self.logit = nn.Linear(dim, vocab + 1)
        self.length = length

    def sample(self, feats, greedy):
        state = self.core(self.img_embed(feats))
        it = torch.zeros(feats.size(0), dtype=torch.long)
        words, logprobs, unfinished = [], [], torch.ones_like(it, dtype=torch.bool)
        for t in range(self.length):
            state = self.core(self.embed(it), state)
            logp = F.log_softmax(self.logit(self.drop(state[0])), dim=1)
            it = logp.argmax(1) if greedy else torch.multinomial(logp.detach().exp(), 1).squeeze(1)
            logprobs.append(logp.gather(1, it.unsqueeze(1)).squeeze(1))
            it = it * unfinished
            unfinished = unfinished & (it > 0)
            words.append(it)
        return torch.stack(words, 1), torch.stack(logprobs, 1)


def score(words, references):
    return (words.unsqueeze(2) == references.unsqueeze(1)).any(2).float().mean(1)


def reward_criterion(logprobs, seq, reward):
    mask = (seq > 0).float()
    mask = torch.cat([torch.ones(mask.size(0), 1), mask[:, :-1]], 1)
    output = -logprobs * reward.unsqueeze(1).expand_as(logprobs) * mask
    return output.sum() / mask.sum()


def build():
    return Captioner()


def step(model):
    feats, references = torch.randn(9, 24), torch.randint(1, 30, (9, 9))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    model.eval()
    with torch.no_grad():
        greedy, _ = model.sample(feats, greedy=True)
    model.train()
    sampled, logprobs = model.sample(feats, greedy=False)
    reward = score(sampled, references) - score(greedy, references)
    loss = reward_criterion(logprobs, sampled, reward)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
