import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/openai/whisper/pull/2389'
CATEGORY = 'layer'
DESCRIPTION = 'Whisper decoding with beams: the tokens are repeated for every beam, the audio features of a batch of recordings are not (a batch of one hides it by broadcasting).'


class MultiHeadAttention(nn.Module):
    def __init__(self, n_state, n_head):
        super().__init__()
        self.n_head = n_head
        self.query = nn.Linear(n_state, n_state)
        self.key = nn.Linear(n_state, n_state, bias=False)
        self.value = nn.Linear(n_state, n_state)
        self.out = nn.Linear(n_state, n_state)

    def forward(self, x, xa=None, mask=None):
        q = self.query(x)
        k = self.key(x if xa is None else xa)
        v = self.value(x if xa is None else xa)
        return self.out(self.qkv_attention(q, k, v, mask))

    def qkv_attention(self, q, k, v, mask=None):
        n_batch, n_ctx, n_state = q.shape
        scale = (n_state // self.n_head) ** -0.25
        q = q.view(*q.shape[:2], self.n_head, -1).permute(0, 2, 1, 3) * scale
        k = k.view(*k.shape[:2], self.n_head, -1).permute(0, 2, 3, 1) * scale
        v = v.view(*v.shape[:2], self.n_head, -1).permute(0, 2, 1, 3)
        qk = q @ k
        if mask is not None:
            qk = qk + mask[:n_ctx, :n_ctx]
        w = F.softmax(qk, dim=-1)
        return (w @ v).permute(0, 2, 1, 3).flatten(start_dim=2)


class ResidualAttentionBlock(nn.Module):
    def __init__(self, n_state, n_head, cross_attention=False):
        super().__init__()
        self.attn = MultiHeadAttention(n_state, n_head)
        self.attn_ln = nn.LayerNorm(n_state)
        self.cross_attn = MultiHeadAttention(n_state, n_head) if cross_attention else None
        self.cross_attn_ln = nn.LayerNorm(n_state) if cross_attention else None
        self.mlp = nn.Sequential(nn.Linear(n_state, n_state * 4), nn.GELU(), nn.Linear(n_state * 4, n_state))
        self.mlp_ln = nn.LayerNorm(n_state)

    def forward(self, x, xa=None, mask=None):
        x = x + self.attn(self.attn_ln(x), mask=mask)
        if self.cross_attn:
            x = x + self.cross_attn(self.cross_attn_ln(x), xa)
        return x + self.mlp(self.mlp_ln(x))


class AudioEncoder(nn.Module):
    def __init__(self, n_mels, n_state, n_head, n_layer):
        super().__init__()
        self.conv1 = nn.Conv1d(n_mels, n_state, 3, padding=1)
        self.conv2 = nn.Conv1d(n_state, n_state, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList([ResidualAttentionBlock(n_state, n_head) for _ in range(n_layer)])

    def forward(self, x):
        x = F.gelu(self.conv2(F.gelu(self.conv1(x)))).permute(0, 2, 1)
        for block in self.blocks:
            x = block(x)
        return x


class TextDecoder(nn.Module):
    def __init__(self, n_vocab, n_ctx, n_state, n_head, n_layer):
        super().__init__()
        self.token_embedding = nn.Embedding(n_vocab, n_state)
        nn.init.normal_(self.token_embedding.weight, std=0.05)
        self.positional_embedding = nn.Parameter(torch.randn(n_ctx, n_state) * 0.01)
        self.blocks = nn.ModuleList([ResidualAttentionBlock(n_state, n_head, cross_attention=True) for _ in range(n_layer)])
        self.ln = nn.LayerNorm(n_state)
        self.register_buffer('mask', torch.full((n_ctx, n_ctx), float('-inf')).triu_(1), persistent=False)

    def forward(self, x, xa):
        x = self.token_embedding(x) + self.positional_embedding[: x.shape[-1]]
        for block in self.blocks:
            x = block(x, xa, mask=self.mask)
        return self.ln(x) @ self.token_embedding.weight.t()


class Whisper(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = AudioEncoder(16, 32, 4, 2)
        self.decoder = TextDecoder(90, 24, 32, 4, 2)


class DecodingTask:
    def __init__(self, model, beam_size=5, sample_len=3):
        self.model = model
        self.n_group = beam_size
        self.sample_len = sample_len
        self.initial_tokens = (80, 81, 82)

    def main_loop(self, audio_features, tokens):
        sum_logprobs = torch.zeros(tokens.shape[0])
        for _ in range(self.sample_len):
            logits = self.model.decoder(tokens, audio_features)[:, -1]
            logprobs, picked = F.log_softmax(logits, dim=-1).max(dim=-1)
            sum_logprobs = sum_logprobs + logprobs
            tokens = torch.cat([tokens, picked[:, None]], dim=-1)
        return tokens, sum_logprobs

    def run(self, mel):
        audio_features = self.model.encoder(mel)
        tokens = torch.tensor([self.initial_tokens]).repeat(mel.shape[0], 1)
        tokens = tokens.repeat_interleave(self.n_group, dim=0)
        tokens, sum_logprobs = self.main_loop(audio_features, tokens)
        return sum_logprobs.view(mel.shape[0], self.n_group)


def build():
    return Whisper()


def step(model):
    mel = torch.randn(4, 16, 30)
    scores = DecodingTask(model).run(mel)
    return -scores.max(dim=1).values.mean()


TRUTH = dict(raises='RuntimeError', at='function:matmul', culprits=['function:repeat_interleave', 'encoder'], dim=0, got=4, wanted=20,
             hint_any=['repeat', 'beam', '20', 'batch', 'audio'])
MENDED = [('        tokens, sum_logprobs = self.main_loop(audio_features, tokens)',
           '        audio_features = audio_features.repeat_interleave(self.n_group, dim=0)\n        tokens, sum_logprobs = self.main_loop(audio_features, tokens)')]
