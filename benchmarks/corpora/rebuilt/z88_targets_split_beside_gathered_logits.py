from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ServiceNow/Fast-LLM/issues/239 (fixed in pull 240)'
CATEGORY = 'loss'
DESCRIPTION = ('Language model head with sequence parallelism over two ranks and parallel embeddings: the hidden states are gathered '
               'over the sequence before the logits, the labels are still cut to the part of the rank.')


@dataclass
class TensorSpace:
    tensor_parallel: int = 2
    tensor_rank: int = 0
    sequence_tensor_parallel: bool = True
    parallel_embeddings: bool = True


class Group:
    """one process stands for all ranks: it keeps the other ranks' parts of a tensor for the collectives"""

    def __init__(self, size, rank):
        self.size, self.rank, self.parts = size, rank, None

    def split(self, tensor, dim=0):
        return tensor.chunk(self.size, dim=dim)[self.rank]

    def scatter(self, tensor):
        self.parts = list(tensor.chunk(self.size, dim=0))
        return self.parts[self.rank]

    def gather(self, tensor):
        parts = list(self.parts)
        parts[self.rank] = tensor
        return torch.cat(parts, dim=0)


class Layer(nn.Module):
    def __init__(self, hidden, heads=4):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.attn = nn.MultiheadAttention(hidden, heads)
        self.mlp = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden))

    def forward(self, x):
        h = self.norm_1(x)
        mask = torch.triu(torch.ones(len(x), len(x), dtype=torch.bool), 1)
        x = x + self.attn(h, h, h, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.norm_2(x))


class LanguageModelHead(nn.Module):
    def __init__(self, vocab, hidden, space, group):
        super().__init__()
        self.group = group
        self.sequence_parallel = space.sequence_tensor_parallel
        self.sequence_parallel_logits = space.sequence_tensor_parallel and not space.parallel_embeddings
        self.final_norm = nn.LayerNorm(hidden)
        self.output_weights = nn.Parameter(torch.randn(vocab, hidden) * 0.02)

    def forward(self, input_, labels):
        target = labels.flatten()
        if self.sequence_parallel:
            target = self.group.split(target)
        ln_output = self.final_norm(input_)
        return self.logits_loss(ln_output, target)

    def logits_loss(self, input_, target):
        if self.sequence_parallel and not self.sequence_parallel_logits:
            input_ = self.group.gather(input_)
        logits = F.linear(input_, self.output_weights)
        return F.cross_entropy(logits.flatten(0, -2).float(), target)


class GPT(nn.Module):
    def __init__(self, vocab=96, hidden=32, layers=2, space=TensorSpace()):
        super().__init__()
        self.group = Group(space.tensor_parallel, space.tensor_rank)
        self.embed = nn.Embedding(vocab, hidden)
        self.layers = nn.ModuleList([Layer(hidden) for _ in range(layers)])
        self.head = LanguageModelHead(vocab, hidden, space, self.group)

    def forward(self, tokens, labels):
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.group.scatter(x), labels)


def build():
    return GPT()


def step(model):
    tokens = torch.randint(0, 96, (33, 2))
    return model(tokens[:-1], tokens[1:])


# labels are split only where the logits stay split (sequence_parallel_logits)
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['target', 'function:chunk'], dim=0, got=32, wanted=64,
             hint_any=['chunk', 'split', 'gather', 'sequence', 'rank'])
MENDED = [('        if self.sequence_parallel:\n            target', '        if self.sequence_parallel_logits:\n            target')]
