from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/meta-pytorch/torchtune/issues/2119'
CATEGORY = 'layer'
DESCRIPTION = 'Distillation inside one model family: the tokenizer is shared, but the larger model pads its vocabulary to 608 rows, the smaller one to 576.'


@dataclass
class ModelArgs:
    vocab_size: int
    embed_dim: int
    num_heads: int
    num_kv_heads: int
    num_layers: int
    tie_word_embeddings: bool = False
    max_seq_len: int = 64


STUDENT = ModelArgs(vocab_size=576, embed_dim=32, num_heads=4, num_kv_heads=2, num_layers=2, tie_word_embeddings=True)
TEACHER = ModelArgs(vocab_size=608, embed_dim=48, num_heads=6, num_kv_heads=2, num_layers=2)
TOKENIZER = dict(size=566, pad_id=565)


class Attention(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.a, self.head_dim = a, a.embed_dim // a.num_heads
        self.q_proj = nn.Linear(a.embed_dim, a.num_heads * self.head_dim)
        self.k_proj = nn.Linear(a.embed_dim, a.num_kv_heads * self.head_dim)
        self.v_proj = nn.Linear(a.embed_dim, a.num_kv_heads * self.head_dim)
        self.output_proj = nn.Linear(a.embed_dim, a.embed_dim, bias=False)

    def forward(self, x):
        b, s, _ = x.shape
        q = self.q_proj(x).view(b, s, -1, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(b, s, -1, self.head_dim).transpose(1, 2).repeat_interleave(self.a.num_heads // self.a.num_kv_heads, 1)
        v = self.v_proj(x).view(b, s, -1, self.head_dim).transpose(1, 2).repeat_interleave(self.a.num_heads // self.a.num_kv_heads, 1)
        return self.output_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, s, -1))


class Layer(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.sa_norm, self.mlp_norm, self.attn = nn.RMSNorm(a.embed_dim), nn.RMSNorm(a.embed_dim), Attention(a)
        self.w1, self.w2, self.w3 = nn.Linear(a.embed_dim, 2 * a.embed_dim), nn.Linear(2 * a.embed_dim, a.embed_dim), nn.Linear(a.embed_dim, 2 * a.embed_dim)

    def forward(self, x):
        x = x + self.attn(self.sa_norm(x))
        h = self.mlp_norm(x)
        return x + self.w2(F.silu(self.w1(h)) * self.w3(h))


class TransformerDecoder(nn.Module):
    def __init__(self, a, num_output_chunks=4):
        super().__init__()
        self.tok_embeddings = nn.Embedding(a.vocab_size, a.embed_dim)
        self.pos_embeddings = nn.Embedding(a.max_seq_len, a.embed_dim)
        self.layers = nn.ModuleList(Layer(a) for _ in range(a.num_layers))
        self.norm = nn.RMSNorm(a.embed_dim)
        self.output = nn.Linear(a.embed_dim, a.vocab_size, bias=False)
        if a.tie_word_embeddings:
            self.output.weight = self.tok_embeddings.weight
        self.num_output_chunks = num_output_chunks

    def forward(self, tokens):
        h = self.tok_embeddings(tokens) + self.pos_embeddings(torch.arange(tokens.size(1)))
        for layer in self.layers:
            h = layer(h)
        return [self.output(chunk) for chunk in self.norm(h).chunk(self.num_output_chunks, dim=1)]


class ForwardKLLoss(nn.Module):
    def __init__(self, ignore_index=-100):
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, student_logits, teacher_logits, labels, normalize=True):
        teacher_prob = F.softmax(teacher_logits, dim=-1, dtype=torch.float32)
        inf_mask = torch.isinf(student_logits)
        student_logprob = F.log_softmax(student_logits, dim=-1, dtype=torch.float32)
        prod_probs = torch.masked_fill(teacher_prob * student_logprob, inf_mask, 0)
        x = torch.sum(prod_probs, dim=-1).view(-1)
        mask = (labels != self.ignore_index).int()
        return -torch.sum(x * mask.view(-1), dim=0) / (mask.sum() if normalize else 1)


def chunked(fn, student_logits, teacher_logits, labels, chunks):
    mask = labels != -100
    labels = [t.reshape(-1) for t in labels.chunk(chunks, dim=1)]
    student_logits = [t.reshape(-1, t.size(-1)) for t in student_logits]
    teacher_logits = [t.reshape(-1, t.size(-1)) for t in teacher_logits]
    return sum(fn(s, t, l, normalize=False) for s, t, l in zip(student_logits, teacher_logits, labels)) / mask.sum()


class Recipe(nn.Module):
    def __init__(self, kd_ratio=0.5):
        super().__init__()
        self.model, self.teacher_model = TransformerDecoder(STUDENT), TransformerDecoder(TEACHER).eval().requires_grad_(False)
        self.kd_loss_fn, self.kd_ratio = ForwardKLLoss(), kd_ratio

    def forward(self, tokens, labels):
        logits = self.model(tokens)
        with torch.no_grad():
            teacher_logits = self.teacher_model(tokens)
        labels = torch.hstack((labels[..., 1:], torch.full_like(labels[..., :1], -100)))
        class_loss = sum(F.cross_entropy(l.flatten(0, 1), t.flatten(), reduction='sum') for l, t in zip(logits, labels.chunk(4, dim=1)))
        class_loss = class_loss / (labels != -100).sum()
        kd_loss = chunked(self.kd_loss_fn, logits, teacher_logits, labels, chunks=4)
        return (1 - self.kd_ratio) * class_loss + self.kd_ratio * kd_loss


def build():
    return Recipe()


def step(model):
    lengths = torch.tensor([[32], [25], [19]])
    tokens = torch.randint(0, TOKENIZER['pad_id'], (3, 32))
    padding = torch.arange(32) >= lengths
    return model(tokens.masked_fill(padding, TOKENIZER['pad_id']), tokens.masked_fill(padding | (torch.arange(32) < 6), -100))


# real fix: cut the padded columns off the teacher's logits before the loss: no token has an id above 565
# offending tensor: teacher_prob (24, 608) times student_logprob (24, 576)
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['teacher_model.output', 'model.output', 'teacher_model', 'model', 'model.tok_embeddings'],
             dim=1, got=608, wanted=576, hint_any=['vocab', 'output', 'logits', 'teacher'])
MENDED = [('teacher_logits = self.teacher_model(tokens)', 'teacher_logits = [t[:, :, :STUDENT.vocab_size] for t in self.teacher_model(tokens)]')]
