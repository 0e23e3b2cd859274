import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/deepspeedai/DeepSpeed/pull/7986'
CATEGORY = 'silent'
DESCRIPTION = 'Mixture of experts with capacity: the top-k logits are scattered into zeros and compared over the tokens; a token that did not choose the expert (0) outranks one that chose it with a negative logit.'


def topkgating(logits, k, capacity_factor, min_capacity=4):
    top_gate, top_idx = torch.topk(logits, k=k, dim=1)
    gates = F.softmax(logits, dim=1)
    num_tokens, num_experts = gates.shape

    topk_masked_gates = torch.zeros_like(logits).scatter(1, top_idx, top_gate)
    mask = torch.zeros_like(gates, dtype=torch.bool).scatter_(1, top_idx, True)

    me, ce = gates.mean(dim=0), mask.float().mean(dim=0)
    l_aux = torch.mean(me * ce) * num_experts * num_experts / k

    capacity = max(math.ceil(num_tokens * k / num_experts * capacity_factor), min_capacity)
    _, capacity_indices = torch.topk(topk_masked_gates, k=capacity, dim=0, sorted=False)
    capacity_mask = torch.zeros_like(logits).scatter(0, capacity_indices, 1)
    mask = torch.logical_and(mask, capacity_mask)
    locations = torch.cumsum(mask, dim=0) - 1

    gates_masked = gates * mask
    denom = gates_masked.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(gates.dtype).eps)
    gates_masked = gates_masked / denom
    locations_sc = F.one_hot((locations * mask).clamp(min=0), num_classes=capacity).float()
    combine_weights = torch.einsum('se,sec->sec', gates_masked, locations_sc)
    return l_aux, combine_weights, combine_weights.bool()


class TopKGate(nn.Module):
    def __init__(self, model_dim, num_experts, k, capacity_factor):
        super().__init__()
        self.wg = nn.Linear(model_dim, num_experts, bias=False)
        self.k, self.capacity_factor = k, capacity_factor

    def forward(self, x):
        return topkgating(self.wg(x.float()), self.k, self.capacity_factor)


class MOELayer(nn.Module):
    def __init__(self, model_dim=16, num_experts=4, k=2, capacity_factor=1.0):
        super().__init__()
        self.gate = TopKGate(model_dim, num_experts, k, capacity_factor)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(model_dim, 32), nn.GELU(), nn.Linear(32, model_dim))
                                     for _ in range(num_experts))
        self.l_aux = None

    def forward(self, x):
        tokens = x.reshape(-1, x.shape[-1])
        self.l_aux, combine_weights, dispatch_mask = self.gate(tokens)
        dispatched = torch.einsum('sec,sm->ecm', dispatch_mask.type_as(tokens), tokens)
        expert_output = torch.stack([expert(chunk) for expert, chunk in zip(self.experts, dispatched)])
        combined = torch.einsum('sec,ecm->sm', combine_weights, expert_output)
        return combined.reshape(x.shape)


class MoELM(nn.Module):
    def __init__(self, vocab=50, dim=16):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.mixer = nn.GRU(dim, dim, batch_first=True)
        self.moe = MOELayer(dim)
        self.head = nn.Linear(dim, vocab)

    def forward(self, ids):
        h = self.mixer(self.embed(ids))[0]
        return self.head(h + self.moe(h))


def build():
    return MoELM()


def step(model):
    ids = torch.randint(0, 50, (4, 13))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    logits = model(ids[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()) + 0.01 * model.moe.l_aux
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


# real fix: top_gate, top_idx = torch.topk(gates, k=k, dim=1) after the softmax, so that what was not chosen (0) is never larger
TRUTH = dict(raises=None, at='function:scatter', culprits=['function:topk', 'function:scatter', 'function:zeros_like', 'moe.gate'],
             dim=None, got=None, wanted=None, hint_any=['softmax', 'logits', 'probab', 'negative', 'zero', '-inf'])
MENDED = [('torch.topk(logits, k=k, dim=1)', 'torch.topk(F.softmax(logits, dim=1), k=k, dim=1)')]
