import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/trl/issues/3812'
CATEGORY = 'layer'
DESCRIPTION = 'Prompt tuning in an SFT trainer: the logits cover the 32 virtual tokens too, the token accuracy compares them with the labels of the text alone.'

VOCAB, VIRTUAL = 128, 32


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.ln1, self.ln2 = heads, nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.ln2(x))


class CausalLM(nn.Module):
    def __init__(self, dim=32, layers=2, heads=4):
        super().__init__()
        self.embed_tokens, self.pos = nn.Embedding(VOCAB, dim), nn.Embedding(256, dim)
        self.layers = nn.ModuleList([Block(dim, heads) for _ in range(layers)])
        self.norm, self.lm_head = nn.LayerNorm(dim), nn.Linear(dim, VOCAB, bias=False)

    def forward(self, inputs_embeds, labels=None):
        x = inputs_embeds + self.pos.weight[:inputs_embeds.size(1)]
        for layer in self.layers:
            x = layer(x)
        logits = self.lm_head(self.norm(x))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        return dict(loss=loss, logits=logits)


class PromptEncoder(nn.Module):
    def __init__(self, num_virtual_tokens, dim):
        super().__init__()
        self.embedding = nn.Embedding(num_virtual_tokens, dim)
        self.mlp_head = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, batch):
        return self.mlp_head(self.embedding.weight).unsqueeze(0).expand(batch, -1, -1)


class PeftModelForCausalLM(nn.Module):
    def __init__(self, base, num_virtual_tokens):
        super().__init__()
        self.base_model, self.num_virtual_tokens = base.requires_grad_(False), num_virtual_tokens
        self.prompt_encoder = PromptEncoder(num_virtual_tokens, base.embed_tokens.embedding_dim)

    def forward(self, input_ids, labels=None):
        b = input_ids.size(0)
        embeds = torch.cat((self.prompt_encoder(b), self.base_model.embed_tokens(input_ids)), dim=1)
        if labels is not None:
            labels = torch.cat((labels.new_full((b, self.num_virtual_tokens), -100), labels), dim=1)
        return self.base_model(embeds, labels)


class SFTTrainer:
    def __init__(self, model):
        self.model, self._metrics = model, {'mean_token_accuracy': []}

    def collate(self, examples):
        n = max(len(p) + len(c) for p, c in examples)
        input_ids, labels = torch.zeros(len(examples), n, dtype=torch.long), torch.full((len(examples), n), -100)
        for i, (p, c) in enumerate(examples):
            input_ids[i, :len(p) + len(c)] = torch.cat([p, c])
            labels[i, len(p):len(p) + len(c)] = c
        return dict(input_ids=input_ids, labels=labels)

    def compute_loss(self, inputs):
        outputs = self.model(**inputs)
        with torch.no_grad():
            shift_logits = outputs['logits'][..., :-1, :].contiguous()
            shift_labels = inputs['labels'][..., 1:].contiguous()
            predictions = shift_logits.argmax(dim=-1)
            mask = shift_labels != -100
            correct_predictions = (predictions == shift_labels) & mask
            self._metrics['mean_token_accuracy'].append((correct_predictions.sum() / mask.sum()).item())
        return outputs['loss']


def build():
    return PeftModelForCausalLM(CausalLM(), VIRTUAL)


def step(model):
    trainer = SFTTrainer(model)
    examples = [(torch.randint(1, VOCAB, (p,)), torch.randint(1, VOCAB, (c,))) for p, c in ((40, 52), (30, 41), (25, 60))]
    return trainer.compute_loss(trainer.collate(examples))


# real fix: cut the virtual tokens off the logits before they are compared
# offending tensor: predictions (3, 123), 91 expected
TRUTH = dict(raises='RuntimeError', at='function:eq', culprits=['function:cat', '', 'prompt_encoder', 'function:getitem', 'input'], dim=1, got=123, wanted=91,
             hint_any=['virtual', 'cat', 'prompt', '32', 'slice'])
MENDED = [("outputs['logits'][..., :-1, :].contiguous()", "outputs['logits'][..., self.model.num_virtual_tokens:-1, :].contiguous()")]
