from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/transformers/issues/30731'
CATEGORY = 'layer'
DESCRIPTION = 'Mixture of experts with a key/value cache: the attention mask covers cached and new tokens, the router saw the new tokens only; the balancing loss counts layers from both.'


class SparseMoeBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.top_k = c.num_experts_per_tok
        self.gate = nn.Linear(c.hidden_size, c.num_local_experts, bias=False)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(c.hidden_size, c.intermediate_size), nn.SiLU(), nn.Linear(c.intermediate_size, c.hidden_size))
                                     for _ in range(c.num_local_experts))

    def forward(self, hidden_states):
        b, t, d = hidden_states.shape
        x = hidden_states.view(-1, d)
        router_logits = self.gate(x)
        weights, selected = torch.topk(F.softmax(router_logits, dim=1), self.top_k, dim=-1)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        out = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            rows, slots = torch.where(selected == e)
            out = out.index_add(0, rows, expert(x[rows]) * weights[rows, slots, None])
        return out.view(b, t, d), router_logits


class DecoderLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads = c.num_heads
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(c.hidden_size), nn.RMSNorm(c.hidden_size)
        self.qkv, self.o_proj = nn.Linear(c.hidden_size, 3 * c.hidden_size, bias=False), nn.Linear(c.hidden_size, c.hidden_size, bias=False)
        self.block_sparse_moe = SparseMoeBlock(c)

    def forward(self, x, mask, past=None):
        b, t, d = x.shape
        q, k, v = self.qkv(self.input_layernorm(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.o_proj(out.transpose(1, 2).reshape(b, t, d))
        h, router_logits = self.block_sparse_moe(self.post_attention_layernorm(x))
        return x + h, router_logits, (k, v)


def load_balancing_loss_func(gate_logits, num_experts, top_k=2, attention_mask=None):
    concatenated_gate_logits = torch.cat(gate_logits, dim=0)
    routing_weights = F.softmax(concatenated_gate_logits, dim=-1)
    _, selected_experts = torch.topk(routing_weights, top_k, dim=-1)
    expert_mask = F.one_hot(selected_experts, num_experts)
    if attention_mask is None:
        tokens_per_expert = torch.mean(expert_mask.float(), dim=0)
        router_prob_per_expert = torch.mean(routing_weights, dim=0)
    else:
        batch_size, sequence_length = attention_mask.shape
        num_hidden_layers = concatenated_gate_logits.shape[0] // (batch_size * sequence_length)
        expert_attention_mask = (attention_mask[None, :, :, None, None]
                                 .expand((num_hidden_layers, batch_size, sequence_length, top_k, num_experts)).reshape(-1, top_k, num_experts))
        tokens_per_expert = torch.sum(expert_mask.float() * expert_attention_mask, dim=0) / torch.sum(expert_attention_mask, dim=0)
        router_mask = (attention_mask[None, :, :, None].expand((num_hidden_layers, batch_size, sequence_length, num_experts)).reshape(-1, num_experts))
        router_prob_per_expert = torch.sum(routing_weights * router_mask, dim=0) / torch.sum(router_mask, dim=0)
    return torch.sum(tokens_per_expert * router_prob_per_expert.unsqueeze(0)) * num_experts


class MoeForCausalLM(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config = c
        self.embed_tokens, self.embed_positions = nn.Embedding(c.vocab_size, c.hidden_size), nn.Embedding(64, c.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(c) for _ in range(c.num_hidden_layers))
        self.norm, self.lm_head = nn.RMSNorm(c.hidden_size), nn.Linear(c.hidden_size, c.vocab_size, bias=False)

    def forward(self, input_ids, attention_mask, labels=None, past_key_values=None, output_router_logits=True):
        past = 0 if past_key_values is None else past_key_values[0][0].size(2)
        t = input_ids.size(1)
        positions = (attention_mask.cumsum(1) - 1).clamp(min=0)[:, past:]
        x = self.embed_tokens(input_ids) + self.embed_positions(positions)
        mask = torch.ones(t, past + t, dtype=torch.bool).tril(past)[None, None] & attention_mask[:, None, None].bool()
        mask = mask | torch.eye(t, past + t, dtype=torch.bool).roll(past, 1)
        router_logits, cache = (), ()
        for i, layer in enumerate(self.layers):
            x, logits, kv = layer(x, mask, past_key_values[i] if past_key_values is not None else None)
            router_logits += (logits,)
            cache += (kv,)
        logits, loss = self.lm_head(self.norm(x)), None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        if output_router_logits:
            aux_loss = load_balancing_loss_func(router_logits, self.config.num_local_experts, self.config.num_experts_per_tok, attention_mask)
            loss = None if loss is None else loss + self.config.router_aux_loss_coef * aux_loss
        return SimpleNamespace(loss=loss, past_key_values=cache)


def build():
    return MoeForCausalLM(SimpleNamespace(vocab_size=80, hidden_size=24, intermediate_size=32, num_heads=2, num_hidden_layers=4,
                                          num_local_experts=4, num_experts_per_tok=2, router_aux_loss_coef=0.02))


def step(model):
    prompt, answer = torch.randint(0, 80, (2, 12)), torch.randint(0, 80, (2, 6))
    prompt_mask = (torch.arange(12) >= torch.tensor([[0], [3]])).long()
    with torch.no_grad():
        cache = model(prompt, prompt_mask).past_key_values
    return model(answer, torch.cat([prompt_mask, torch.ones_like(answer)], dim=1), labels=answer, past_key_values=cache).loss


# real fix: give the balancing loss the mask of the tokens that were routed, attention_mask[:, -input_ids.shape[1]:]
# offending tensor: expert_attention_mask (36, 2, 4) = 1 layer * 2 * 18, expert_mask has 4 layers * 2 * 6 = 48 rows
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['function:cat', 'input', 'function:reshape', 'function:expand', ''], dim=0, got=36, wanted=48,
             hint_any=['attention_mask', 'cache', 'past', 'mask', 'sequence_length'])
MENDED = [('self.config.num_experts_per_tok, attention_mask)', 'self.config.num_experts_per_tok, attention_mask[:, -t:])')]
