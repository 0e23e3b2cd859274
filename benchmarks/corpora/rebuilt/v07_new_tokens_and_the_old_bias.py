import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/transformers/issues/1124 (the same for BERT in #851, #1730, #2480)'
CATEGORY = 'layer'
DESCRIPTION = 'resize_token_embeddings resizes the embedding and ties the weight of the LM head to it, the bias of the head keeps the old vocabulary.'


class Tokenizer:
    def __init__(self, words):
        self.vocab = {w: i for i, w in enumerate(['<pad>', '<unk>', '<s>', '</s>'] + words)}

    def add_tokens(self, tokens):
        for token in tokens:
            self.vocab.setdefault(token, len(self.vocab))

    def __len__(self):
        return len(self.vocab)

    def __call__(self, texts):
        rows = [[2] + [self.vocab.get(w, 1) for w in t.split()] + [3] for t in texts]
        longest = max(map(len, rows))
        return torch.tensor([r + [0] * (longest - len(r)) for r in rows])


class PreTrainedModel(nn.Module):
    def resize_token_embeddings(self, new_num_tokens):
        old = self.get_input_embeddings()
        new = nn.Embedding(new_num_tokens, old.embedding_dim)
        n = min(old.num_embeddings, new_num_tokens)
        new.weight.data[:n] = old.weight.data[:n]
        self.set_input_embeddings(new)
        self.config['n_token'] = new_num_tokens
        self.tie_weights()
        return new

    def _tie_or_clone_weights(self, first_module, second_module):
        first_module.weight = second_module.weight


class XLNetLayer(nn.Module):
    def __init__(self, d_model, n_head):
        super().__init__()
        self.rel_attn = nn.MultiheadAttention(d_model, n_head, batch_first=True)
        self.ff = nn.Sequential(nn.Linear(d_model, 2 * d_model), nn.GELU(), nn.Linear(2 * d_model, d_model))
        self.layer_norm = nn.LayerNorm(d_model)

    def forward(self, h):
        h = self.layer_norm(h + self.rel_attn(h, h, h, need_weights=False)[0])
        return self.layer_norm(h + self.ff(h))


class XLNetModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embedding = nn.Embedding(config['n_token'], config['d_model'])
        self.layer = nn.ModuleList(XLNetLayer(config['d_model'], config['n_head']) for _ in range(config['n_layer']))

    def forward(self, input_ids):
        h = self.word_embedding(input_ids)
        for layer in self.layer:
            h = layer(h)
        return h


class XLNetLMHeadModel(PreTrainedModel):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.transformer = XLNetModel(config)
        self.lm_loss = nn.Linear(config['d_model'], config['n_token'], bias=True)
        self.tie_weights()

    def get_input_embeddings(self):
        return self.transformer.word_embedding

    def set_input_embeddings(self, embedding):
        self.transformer.word_embedding = embedding

    def tie_weights(self):
        self._tie_or_clone_weights(self.lm_loss, self.transformer.word_embedding)

    def forward(self, input_ids, labels):
        logits = self.lm_loss(self.transformer(input_ids))
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


tokenizer = Tokenizer(['w%d' % i for i in range(60)])


def build():
    tokenizer.add_tokens(['<token1>', '<token2>', '<token3>'])
    model = XLNetLMHeadModel(dict(n_token=64, d_model=64, n_head=4, n_layer=2))
    model.resize_token_embeddings(len(tokenizer))
    return model


def step(model):
    ids = tokenizer(['w3 w8 <token1> w9 w7', 'w1 <token3> w20', 'w5 w6 w7 w8 w9 <token2>', 'w40'])
    labels = ids.masked_fill(ids == 0, -100)
    return model(ids, labels)


# real fix: pad the bias of the tied head as well when the embedding grows (in _tie_or_clone_weights)
# offending tensor: lm_loss.bias (64,) beside lm_loss.weight (67, 64)
TRUTH = dict(raises='RuntimeError', at='module:lm_loss', culprits=['lm_loss'], dim=0, got=64, wanted=67, hint_any=['bias', '67'])
MENDED = [('        first_module.weight = second_module.weight',
           """        first_module.weight = second_module.weight
        bias = first_module.bias.data
        first_module.bias = nn.Parameter(F.pad(bias, (0, len(first_module.weight) - len(bias))))""")]
