import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/microsoft/LMOps/pull/331 (152064 and 151936 of a tokenizer of 151665; here 320, 288 and 280)'
CATEGORY = 'loss'
DESCRIPTION = 'Instructions: a small language model learns the distribution over the next word of a larger one of the same family.'

TOKENIZER_SIZE = 280


class Qwen2Config:
    def __init__(self, vocab_size, hidden_size, num_hidden_layers, num_attention_heads):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads


class Qwen2DecoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        d = config.hidden_size
        self.self_attn = nn.MultiheadAttention(d, config.num_attention_heads, batch_first=True)
        self.gate_proj = nn.Linear(d, d * 2, bias=False)
        self.up_proj = nn.Linear(d, d * 2, bias=False)
        self.down_proj = nn.Linear(d * 2, d, bias=False)
        self.input_layernorm = nn.LayerNorm(d)
        self.post_attention_layernorm = nn.LayerNorm(d)

    def forward(self, x, mask):
        h = self.input_layernorm(x)
        x = x + self.self_attn(h, h, h, attn_mask=mask, need_weights=False)[0]
        h = self.post_attention_layernorm(x)
        return x + self.down_proj(F.silu(self.gate_proj(h)) * self.up_proj(h))


class Qwen2ForCausalLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Qwen2DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, input_ids):
        n = input_ids.shape[1]
        mask = torch.triu(torch.ones(n, n, dtype=torch.bool), 1)
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x, mask)
        return self.lm_head(self.norm(x))


class Distillation(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Qwen2ForCausalLM(Qwen2Config(288, 32, 1, 4))
        self.teacher_model = Qwen2ForCausalLM(Qwen2Config(320, 64, 2, 4)).eval().requires_grad_(False)


def get_distil_loss(teacher_logits, logits, no_model_batch):
    teacher_probs = F.softmax(teacher_logits, dim=-1, dtype=torch.float32)
    inf_mask = torch.isinf(logits)
    logprobs = F.log_softmax(logits, dim=-1, dtype=torch.float32)
    prod_probs = torch.masked_fill(teacher_probs * logprobs, inf_mask, 0)
    x = torch.sum(prod_probs, dim=-1).view(-1)
    mask = (no_model_batch['label'] != -100).int()
    return -torch.sum(x * mask.view(-1), dim=0) / torch.sum(mask.view(-1), dim=0)


def build():
    torch.manual_seed(0)
    return Distillation()


def step(model):
    g = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, TOKENIZER_SIZE, (2, 25), generator=g)
    input_ids, label = tokens[:, :-1], tokens[:, 1:].clone()
    label[:, :8] = -100
    logits = model.model(input_ids)
    lm_loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), label.reshape(-1), ignore_index=-100)
    with torch.no_grad():
        teacher_logits = model.teacher_model(input_ids)
    distil_loss = get_distil_loss(teacher_logits, logits, {'label': label})
    return 0.5 * lm_loss + 0.5 * distil_loss


# the embeddings of the two models are padded to different sizes; the entries past the tokenizer mean nothing and are cut off
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['teacher_model.lm_head', 'model.lm_head', 'function:mul'], dim=2,
             got=320, wanted=288, hint_any=['vocab', '320', '288', 'teacher'])
MENDED = [('teacher_logits = model.teacher_model(input_ids)', 'teacher_logits = model.teacher_model(input_ids)[..., :logits.shape[-1]]')]
