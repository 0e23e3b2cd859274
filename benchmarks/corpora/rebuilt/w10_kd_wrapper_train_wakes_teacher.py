import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/neuralmagic/sparseml/pull/2191'
CATEGORY = 'silent'
DESCRIPTION = 'The wrapper holds the teacher as a submodule: model.train() puts the teacher back into train mode, its dropout disturbs every target of the distillation.'


class Config:
    vocab, hidden, heads, layers, dropout, positions = 60, 32, 4, 2, 0.2, 24

    def __init__(self, **kwargs):
        self.__dict__.update(kwargs)


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.heads = cfg.heads
        self.input_norm, self.post_norm = nn.LayerNorm(cfg.hidden), nn.LayerNorm(cfg.hidden)
        self.qkv_proj, self.o_proj = nn.Linear(cfg.hidden, cfg.hidden * 3), nn.Linear(cfg.hidden, cfg.hidden)
        self.mlp = nn.Sequential(nn.Linear(cfg.hidden, cfg.hidden * 4), nn.GELU(), nn.Linear(cfg.hidden * 4, cfg.hidden))
        self.resid_drop = nn.Dropout(cfg.dropout)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in self.qkv_proj(self.input_norm(x)).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d)
        x = x + self.resid_drop(self.o_proj(y))
        return x + self.resid_drop(self.mlp(self.post_norm(x)))


class CausalLM(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.embed_tokens = nn.Embedding(cfg.vocab, cfg.hidden)
        self.embed_positions = nn.Embedding(cfg.positions, cfg.hidden)
        self.layers = nn.ModuleList(Block(cfg) for _ in range(cfg.layers))
        self.norm, self.lm_head = nn.LayerNorm(cfg.hidden), nn.Linear(cfg.hidden, cfg.vocab, bias=False)

    def forward(self, input_ids):
        x = self.embed_tokens(input_ids) + self.embed_positions(torch.arange(input_ids.shape[1]))
        hidden = []
        for layer in self.layers:
            x = layer(x)
            hidden.append(x)
        return self.lm_head(self.norm(x)), hidden


def square_head(student, teacher, eps=1e-6):
    return ((student - teacher) ** 2).sum() / ((teacher ** 2).sum() + eps)


class KDModelWrapper(nn.Module):
    def __init__(self, student_model, teacher_model, comparison=square_head):
        super().__init__()
        self.student_model = student_model
        self.teacher_model = teacher_model
        self.kd_comparison = comparison
        self.kd_enabled = True

    def forward(self, input_ids):
        logits, student_hidden = self.student_model(input_ids)
        if not self.kd_enabled:
            return logits, None
        with torch.no_grad():
            _, teacher_hidden = self.teacher_model(input_ids)
        layerwise = [self.kd_comparison(s, t) for s, t in zip(student_hidden, teacher_hidden)]
        return logits, torch.stack(layerwise).mean()


class Trainer:
    def __init__(self, model, hardness_ce=0.5, hardness_kd=0.5):
        self.model, self.hardness_ce, self.hardness_kd = model, hardness_ce, hardness_kd

    def training_step(self, input_ids):
        self.model.train()
        logits, kd_loss = self.model(input_ids)
        ce = F.cross_entropy(logits[:, :-1].flatten(0, 1), input_ids[:, 1:].flatten())
        return self.hardness_ce * ce + self.hardness_kd * kd_loss


def build():
    student, teacher = CausalLM(Config(dropout=0.0)), CausalLM(Config())
    teacher.eval()
    for p in teacher.parameters():
        p.requires_grad_(False)
    return KDModelWrapper(student, teacher)


def step(model):
    return Trainer(model).training_step(torch.randint(0, Config.vocab, (8, 16)))


# real fix: the wrapper overrides train() so that only the student changes its mode
TRUTH = dict(raises=None, at='module:teacher_model.layers.0.resid_drop',
             culprits=['teacher_model', 'teacher_model.layers.0.resid_drop', 'teacher_model.layers.1.resid_drop', ''],
             dim=None, got=None, wanted=None, hint_any=['eval', 'train', 'mode', 'dropout'])
MENDED = [('    def forward(self, input_ids):\n        logits, student_hidden',
           '    def train(self, mode=True):\n        self.student_model.train(mode)\n        return self\n\n'
           '    def forward(self, input_ids):\n        logits, student_hidden')]
