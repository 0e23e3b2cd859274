import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/eric-mitchell/direct-preference-optimization/blob/main/trainers.py'
CATEGORY = 'correct'
DESCRIPTION = 'DPO: chosen and rejected answers in one batch, padded to one length, per-token log probabilities gathered for shifted labels, masked where -100, summed for each answer.'


class CausalLM(nn.Module):
    def __init__(self, vocab=32, dim=24, heads=4, layers=2, max_len=32):
        super().__init__()
        self.embed, self.pos = nn.Embedding(vocab, dim), nn.Embedding(max_len, dim)
        layer = lambda: nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.ModuleList([layer() for _ in range(layers)])
        self.norm = nn.LayerNorm(dim)
        self.lm_head = nn.Linear(dim, vocab, bias=False)

    def forward(self, input_ids, attention_mask):
        t = input_ids.shape[1]
        x = self.embed(input_ids) + self.pos(torch.arange(t))
        causal = torch.triu(torch.ones(t, t, dtype=torch.bool), diagonal=1)
        for layer in self.layers:
            x = layer(x, src_mask=causal, src_key_padding_mask=attention_mask == 0)
        return self.lm_head(self.norm(x))


class DPO(nn.Module):
    def __init__(self):
        super().__init__()
        self.policy = CausalLM()
        self.reference_model = copy.deepcopy(self.policy).requires_grad_(False)


def pad_to_length(tensor, length, pad_value, dim=-1):
    if tensor.size(dim) >= length:
        return tensor
    pad_size = list(tensor.shape)
    pad_size[dim] = length - tensor.size(dim)
    return torch.cat([tensor, pad_value * torch.ones(*pad_size, dtype=tensor.dtype)], dim=dim)


def concatenated_inputs(batch):
    max_length = max(batch['chosen_input_ids'].shape[1], batch['rejected_input_ids'].shape[1])
    concatenated = {}
    for side in ('chosen', 'rejected'):
        for name, pad_value in (('input_ids', 0), ('labels', -100), ('attention_mask', 0)):
            item = pad_to_length(batch[f'{side}_{name}'], max_length, pad_value)
            key = f'concatenated_{name}'
            concatenated[key] = torch.cat((concatenated[key], item), dim=0) if key in concatenated else item
    return concatenated


def get_batch_logps(logits, labels):
    labels = labels[:, 1:].clone()
    logits = logits[:, :-1, :]
    loss_mask = labels != -100
    labels[labels == -100] = 0
    per_token_logps = torch.gather(logits.log_softmax(-1), dim=2, index=labels.unsqueeze(2)).squeeze(2)
    return (per_token_logps * loss_mask).sum(-1)


def concatenated_forward(model, batch):
    concatenated = concatenated_inputs(batch)
    logits = model(concatenated['concatenated_input_ids'], concatenated['concatenated_attention_mask'])
    all_logps = get_batch_logps(logits, concatenated['concatenated_labels'])
    n = batch['chosen_input_ids'].shape[0]
    return all_logps[:n], all_logps[n:]


def preference_loss(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta=0.1):
    pi_logratios = policy_chosen - policy_rejected
    ref_logratios = reference_chosen - reference_rejected
    return -F.logsigmoid(beta * (pi_logratios - ref_logratios))


def answers(prompts, lengths, width):
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    ids[:, :prompts.shape[1]] = prompts
    labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
    for i, n in enumerate(lengths):
        end = prompts.shape[1] + n
        ids[i, prompts.shape[1]:end] = torch.randint(1, 32, (n,))
        labels[i, prompts.shape[1]:end] = ids[i, prompts.shape[1]:end]
        mask[i, :end] = 1
    return dict(input_ids=ids, labels=labels, attention_mask=mask)


def build():
    return DPO()


def step(model):
    prompts = torch.randint(1, 32, (4, 5))
    sides = dict(chosen=answers(prompts, [7, 4, 6, 5], 12), rejected=answers(prompts, [3, 9, 5, 8], 14))
    batch = {f'{side}_{name}': item for side, items in sides.items() for name, item in items.items()}
    policy = concatenated_forward(model.policy, batch)
    with torch.no_grad():
        reference = concatenated_forward(model.reference_model, batch)
    return preference_loss(*policy, *reference).mean()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
