import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/transformers/issues/14668 (the same in https://github.com/huggingface/transformers/issues/21599)'
CATEGORY = 'layer'
DESCRIPTION = 'Beam search over a decoder that is given encoder_hidden_states: the prompt and its mask are expanded to batch * beams, the encoder states are not.'


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.query, self.key, self.value, self.dense = (nn.Linear(dim, dim) for _ in range(4))

    def split(self, x):
        return x.view(x.shape[0], x.shape[1], self.heads, self.head_dim).permute(0, 2, 1, 3)

    def forward(self, x, states=None, mask=None, past=None):
        q = self.split(self.query(x))
        source = x if states is None else states
        if states is not None and past is not None:
            k, v = past
        else:
            k, v = self.split(self.key(source)), self.split(self.value(source))
            if past is not None:
                k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(self.head_dim)
        if mask is not None:
            scores = scores + mask
        context = torch.matmul(scores.softmax(-1), v).permute(0, 2, 1, 3).flatten(2)
        return self.dense(context), (k, v)


class DecoderLayer(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.attention, self.crossattention = Attention(dim, heads), Attention(dim, heads)
        self.output = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))

    def forward(self, x, states, mask, past):
        own, cross = past if past is not None else (None, None)
        a, own = self.attention(x, mask=mask, past=own)
        x = self.norms[0](x + a)
        a, cross = self.crossattention(x, states=states, past=cross)
        x = self.norms[1](x + a)
        return self.norms[2](x + self.output(x)), (own, cross)


class BertLMHeadModel(nn.Module):
    def __init__(self, vocab=40, dim=32, heads=4, layers=2, max_len=32):
        super().__init__()
        self.word_embeddings, self.position_embeddings = nn.Embedding(vocab, dim), nn.Embedding(max_len, dim)
        self.layer = nn.ModuleList(DecoderLayer(dim, heads) for _ in range(layers))
        self.cls = nn.Linear(dim, vocab)

    def forward(self, input_ids, attention_mask, encoder_hidden_states, past_key_values=None):
        total = attention_mask.shape[1]
        n = input_ids.shape[1]
        positions = torch.arange(total - n, total)
        causal = positions[:, None] >= torch.arange(total)[None]
        mask = (causal[None, None] & attention_mask[:, None, None, :].bool()).logical_not() * -1e4
        x = self.word_embeddings(input_ids) + self.position_embeddings(positions)
        presents = []
        for i, layer in enumerate(self.layer):
            x, present = layer(x, encoder_hidden_states, mask, past_key_values[i] if past_key_values else None)
            presents.append(present)
        return self.cls(x), presents

    @staticmethod
    def _expand_inputs_for_generation(input_ids, expand_size=1, attention_mask=None, **model_kwargs):
        idx = torch.arange(input_ids.shape[0]).view(-1, 1).repeat(1, expand_size).view(-1)
        input_ids = input_ids.index_select(0, idx)
        if attention_mask is not None:
            model_kwargs['attention_mask'] = attention_mask.index_select(0, idx)
        return input_ids, model_kwargs

    @staticmethod
    def _reorder_cache(past, beam_idx):
        return [tuple(tuple(t.index_select(0, beam_idx) for t in pair) for pair in layer_past) for layer_past in past]

    def generate(self, input_ids, num_beams=1, max_length=10, **model_kwargs):
        batch_size = input_ids.shape[0]
        input_ids, model_kwargs = self._expand_inputs_for_generation(input_ids, num_beams, **model_kwargs)
        beam_scores = torch.zeros(batch_size, num_beams)
        beam_scores[:, 1:] = -1e9
        past, tokens = None, input_ids
        mask = model_kwargs['attention_mask']
        while input_ids.shape[1] < max_length:
            logits, past = self(tokens, mask, model_kwargs['encoder_hidden_states'], past)
            vocab = logits.shape[-1]
            scores = logits[:, -1].log_softmax(-1).view(batch_size, num_beams, vocab) + beam_scores[:, :, None]
            beam_scores, picked = scores.flatten(1).topk(num_beams, dim=1)
            beam_idx = (picked // vocab + torch.arange(batch_size)[:, None] * num_beams).view(-1)
            tokens = (picked % vocab).view(-1, 1)
            input_ids = torch.cat([input_ids[beam_idx], tokens], dim=1)
            mask = torch.cat([mask[beam_idx], mask.new_ones(len(mask), 1)], dim=1)
            past = self._reorder_cache(past, beam_idx)
        return input_ids, beam_scores


def build():
    return BertLMHeadModel(heads=4)


def step(model):
    prompt = torch.randint(0, 40, (4, 3))                     # four sentences
    cell_states = torch.randn(4, 7, 32)
    _, beam_scores = model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt),
                                    encoder_hidden_states=cell_states, num_beams=3, max_length=8)
    return -beam_scores[:, 0].mean()


# real fix: expand encoder_hidden_states with the prompt in _expand_inputs_for_generation
# offending tensor: the keys of the cross attention (4, 4, 8, 7) where the queries are (12, 4, 3, 8)
TRUTH = dict(raises='RuntimeError', at='function:matmul', culprits=['input', 'function:index_select', ''], dim=0, got=4, wanted=12,
             hint_any=['12', 'beam', 'encoder', 'index_select', 'repeat'])
MENDED = [('        return input_ids, model_kwargs\n',
           """        model_kwargs['encoder_hidden_states'] = model_kwargs['encoder_hidden_states'].index_select(0, idx)
        return input_ids, model_kwargs
""")]
