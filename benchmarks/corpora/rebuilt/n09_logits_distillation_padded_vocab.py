import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/NVIDIA/Model-Optimizer/issues/2489'
CATEGORY = 'loss'
DESCRIPTION = 'Logit distillation between two sizes of one model family: same tokenizer, embedding tables padded to other lengths.'

TOKENIZER_LENGTH = 146


class Config:
    def __init__(self, vocab_size, hidden_size, num_layers, num_heads):
        self.vocab_size, self.hidden_size, self.num_layers, self.num_heads = vocab_size, hidden_size, num_layers, num_heads


STUDENT = Config(vocab_size=152, hidden_size=32, num_layers=1, num_heads=2)
TEACHER = Config(vocab_size=160, hidden_size=64, num_layers=2, num_heads=4)


class DecoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        d = config.hidden_size
        self.num_heads = config.num_heads
        self.input_layernorm = nn.RMSNorm(d)
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.post_attention_layernorm = nn.RMSNorm(d)
        self.gate_proj, self.up_proj, self.down_proj = nn.Linear(d, 2 * d), nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def heads(self, x):
        return x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)

    def forward(self, x):
        h = self.input_layernorm(x)
        q, k, v = self.heads(self.q_proj(h)), self.heads(self.k_proj(h)), self.heads(self.v_proj(h))
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.o_proj(h)
        h = self.post_attention_layernorm(x)
        return x + self.down_proj(F.silu(self.gate_proj(h)) * self.up_proj(h))


class CausalLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([DecoderLayer(config) for _ in range(config.num_layers)])
        self.norm = nn.RMSNorm(config.hidden_size)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, input_ids):
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x)
        return self.lm_head(self.norm(x))


class LogitsDistillationLoss(nn.Module):
    def __init__(self, temperature=1.0, reduction='batchmean'):
        super().__init__()
        self._temperature, self._reduction = temperature, reduction

    def forward(self, logits_s, logits_t):
        soft_log_probs = F.log_softmax(logits_s / self._temperature, dim=-1)
        soft_targets = F.softmax(logits_t / self._temperature, dim=-1)
        loss = F.kl_div(soft_log_probs, soft_targets.detach(), reduction=self._reduction)
        return loss * self._temperature ** 2


class StaticLossBalancer(nn.Module):
    def __init__(self, kd_loss_weight=0.5):
        super().__init__()
        self.kd_loss_weight = kd_loss_weight

    def forward(self, kd_loss, student_loss):
        return self.kd_loss_weight * kd_loss + (1 - self.kd_loss_weight) * student_loss


class DistillationModel(nn.Module):
    def __init__(self, student, teacher, criterion, balancer):
        super().__init__()
        self.student, self.teacher, self.criterion, self.balancer = student, teacher.eval().requires_grad_(False), criterion, balancer

    def forward(self, input_ids, labels):
        student_logits = self.student(input_ids)
        with torch.no_grad():
            teacher_logits = self.teacher(input_ids)
        student_loss = F.cross_entropy(student_logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return self.balancer(self.criterion(student_logits, teacher_logits), student_loss)


def build():
    return DistillationModel(CausalLM(STUDENT), CausalLM(TEACHER), LogitsDistillationLoss(2.0), StaticLossBalancer())


def step(model):
    input_ids = torch.randint(0, TOKENIZER_LENGTH, (4, 12))
    return model(input_ids, input_ids)


# real fix: leave out the padding of the longer vocabulary (both tokenizers have 146 entries), or resize the embeddings and the head
# offending tensor: teacher logits (4, 12, 160) against student logits (4, 12, 152)
TRUTH = dict(raises='RuntimeError', at='loss:kl_div', culprits=['teacher.lm_head', 'student.lm_head'], dim=2, got=160, wanted=152,
             hint_any=['vocab', '152', '160', 'truncat', 'lm_head', 'class'])
MENDED = [('teacher_logits = self.teacher(input_ids)', 'teacher_logits = self.teacher(input_ids)[..., :student_logits.shape[-1]]')]
