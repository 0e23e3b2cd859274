from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/transformers/issues/33852'
CATEGORY = 'layer'
DESCRIPTION = 'Prefix tuning: the attention mask is lengthened by the virtual tokens in the key/value cache; the language model picks the loss positions with that same mask.'


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.num_heads, self.head_dim = heads, dim // heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(dim, dim, bias=False) for _ in range(4))

    def _shape(self, x):
        return x.view(x.size(0), -1, self.num_heads, self.head_dim).transpose(1, 2)

    def forward(self, hidden_states, attention_mask, past_key_value=None):
        q, k, v = (self._shape(p(hidden_states)) for p in (self.q_proj, self.k_proj, self.v_proj))
        if past_key_value is not None:
            k = torch.cat([past_key_value[0], k], dim=2)
            v = torch.cat([past_key_value[1], v], dim=2)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask)
        return self.o_proj(out.transpose(1, 2).flatten(2))


class DecoderLayer(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(dim), nn.RMSNorm(dim)
        self.self_attn = Attention(dim, heads)
        self.gate_proj, self.up_proj, self.down_proj = nn.Linear(dim, 2 * dim), nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)

    def forward(self, x, mask, past):
        x = x + self.self_attn(self.input_layernorm(x), mask, past)
        h = self.post_attention_layernorm(x)
        return x + self.down_proj(F.silu(self.gate_proj(h)) * self.up_proj(h))


class CausalLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config.hidden_size, config.num_heads) for _ in range(config.num_layers))
        self.norm = nn.RMSNorm(config.hidden_size)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def prepare_mask(self, attention_mask, q_len, past_len):
        causal = torch.ones(q_len, past_len + q_len, dtype=torch.bool).tril(past_len)
        return causal[None, None] & attention_mask[:, None, None, :].bool()

    def forward(self, input_ids, attention_mask, labels=None, past_key_values=None):
        past_len = 0 if past_key_values is None else past_key_values[0][0].size(2)
        x = self.embed_tokens(input_ids)
        mask = self.prepare_mask(attention_mask, x.size(1), past_len)
        for i, layer in enumerate(self.layers):
            x = layer(x, mask, None if past_key_values is None else past_key_values[i])
        logits = self.lm_head(self.norm(x))
        loss = None
        if labels is not None:
            if attention_mask is not None:
                shift_attention_mask = attention_mask[:, 1:]
                shift_logits = logits[:, :-1][shift_attention_mask != 0].contiguous()
                shift_labels = labels[:, 1:][shift_attention_mask != 0].contiguous()
            else:
                shift_logits, shift_labels = logits[:, :-1].contiguous(), labels[:, 1:].contiguous()
            loss = F.cross_entropy(shift_logits.view(-1, shift_logits.size(-1)), shift_labels.view(-1))
        return SimpleNamespace(loss=loss, logits=logits)


class PrefixEncoder(nn.Module):
    def __init__(self, peft, config):
        super().__init__()
        self.embedding = nn.Embedding(peft.num_virtual_tokens, config.hidden_size)
        self.transform = nn.Sequential(nn.Linear(config.hidden_size, peft.encoder_hidden_size), nn.Tanh(),
                                       nn.Linear(peft.encoder_hidden_size, config.num_layers * 2 * config.hidden_size))

    def forward(self, tokens):
        return self.transform(self.embedding(tokens))


class PeftModelForCausalLM(nn.Module):
    def __init__(self, base_model, peft):
        super().__init__()
        self.base_model, self.peft = base_model, peft
        for p in base_model.parameters():
            p.requires_grad_(False)
        self.prompt_encoder = PrefixEncoder(peft, base_model.config)

    def get_prompt(self, batch_size):
        c = self.base_model.config
        tokens = torch.arange(self.peft.num_virtual_tokens).expand(batch_size, -1)
        past = self.prompt_encoder(tokens).view(batch_size, self.peft.num_virtual_tokens, c.num_layers * 2, c.num_heads, -1)
        return past.permute(2, 0, 3, 1, 4).split(2)

    def forward(self, input_ids, attention_mask, labels):
        batch_size = input_ids.size(0)
        prefix_attention_mask = torch.ones(batch_size, self.peft.num_virtual_tokens, dtype=attention_mask.dtype)
        attention_mask = torch.cat((prefix_attention_mask, attention_mask), dim=1)
        return self.base_model(input_ids, attention_mask, labels, past_key_values=self.get_prompt(batch_size))


def build():
    config = SimpleNamespace(vocab_size=90, hidden_size=32, num_heads=4, num_layers=2)
    return PeftModelForCausalLM(CausalLM(config), SimpleNamespace(num_virtual_tokens=8, encoder_hidden_size=24))


def step(model):
    lengths = torch.tensor([20, 14, 17, 9])
    attention_mask = (torch.arange(20) < lengths[:, None]).long()
    input_ids = torch.randint(1, 90, (4, 20)) * attention_mask
    return model(input_ids, attention_mask, labels=input_ids).loss


# real fix: attention_mask[:, -(logits.shape[1] - 1):], the last positions only
# offending tensor: shift_attention_mask (4, 27), logits[:, :-1] has 19 positions
TRUTH = dict(raises='IndexError', at='function:getitem', culprits=['function:cat', 'function:getitem', '', 'base_model'], dim=1, got=27, wanted=19,
             hint_any=['mask', 'prefix', 'virtual', 'past'])
MENDED = [('attention_mask[:, 1:]\n', 'attention_mask[:, -(logits.shape[1] - 1):]\n')]
