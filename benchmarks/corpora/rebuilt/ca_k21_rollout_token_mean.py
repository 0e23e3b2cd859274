import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/alibaba/ROLL/pull/444'
CATEGORY = 'silent'
DESCRIPTION = 'GRPO-like update of a small language model: group-normalised rewards, clipped ratio for each token, responses of different lengths.'

VOCAB, PROMPTS, GROUP, T = 60, 4, 3, 16


class Actor(nn.Module):
    def __init__(self, d=28):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, d)
        self.rnn = nn.GRU(d, d, batch_first=True)
        self.head = nn.Linear(d, VOCAB)

    def forward(self, ids):
        return self.head(self.rnn(self.emb(ids))[0])

    def token_logp(self, ids):
        logits = self(ids[:, :-1])
        return torch.log_softmax(logits, -1).gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1)


def group_advantage(reward):
    r = reward.view(PROMPTS, GROUP)
    return ((r - r.mean(1, keepdim=True)) / (r.std(1, keepdim=True) + 1e-6)).view(-1)


def agg_loss(loss_mat, loss_mask, mode, batch_num_tokens=None):
    if mode == 'token-mean':
        if batch_num_tokens is None:
            batch_num_tokens = loss_mask.sum()
        return loss_mat.sum() / batch_num_tokens
    per_seq = (loss_mat * loss_mask).sum(-1) / loss_mask.sum(-1)
    return per_seq.mean()


class ActorWorker:
    def __init__(self, actor, clip=0.2):
        self.actor, self.clip = actor, clip

    def loss_func(self, batch):
        logp = self.actor.token_logp(batch['ids'])
        ratio = torch.exp(logp - batch['old_logp'])
        adv = batch['adv'].unsqueeze(-1)
        pg = -torch.min(ratio * adv, ratio.clamp(1 - self.clip, 1 + self.clip) * adv)
        return agg_loss(pg, batch['mask'], 'token-mean')


def rollout(actor):
    ids = torch.randint(1, VOCAB, (PROMPTS * GROUP, T + 1))
    lengths = torch.randint(5, T, (PROMPTS * GROUP,))
    mask = (torch.arange(T)[None] < lengths[:, None]).float()
    ids[:, 1:] = ids[:, 1:] * mask.long()
    with torch.no_grad():
        old = actor.token_logp(ids)
    return dict(ids=ids, mask=mask, old_logp=old, adv=group_advantage(torch.rand(PROMPTS * GROUP)))


def build():
    return Actor()


def step(model):
    return ActorWorker(model).loss_func(rollout(model))


# the numerator sums padded tokens as well, the denominator counts the valid ones alone
TRUTH = dict(raises=None, at='function:sum', culprits=['function:sum', 'function:div', 'function:min', 'function:minimum', 'function:neg'], dim=None, got=None, wanted=None,
             hint_any=['mask', 'padding', 'denominator', 'valid', 'numerator'])
MENDED = [('return loss_mat.sum() / batch_num_tokens', 'return (loss_mat * loss_mask).sum() / batch_num_tokens')]
