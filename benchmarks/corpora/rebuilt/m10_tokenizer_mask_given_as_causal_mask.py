import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://openillumi.com/?p=87900 (retells a Stack Overflow question)'
CATEGORY = 'layer'
DESCRIPTION = 'Decoder of a translation model gets the attention mask of the tokenizer (B,T) as tgt_mask, which is (T,T) and says what may be seen.'

PAD, BOS, EOS = 0, 1, 2


class ToyTokenizer:
    def __init__(self, vocab=80):
        self.vocab = {f'w{i}': i + 3 for i in range(vocab - 3)}

    def __call__(self, texts, max_length=24):
        rows = [[BOS] + [self.vocab[t] for t in s.split()][:max_length - 2] + [EOS] for s in texts]
        ids = torch.full((len(rows), max_length), PAD)
        for i, row in enumerate(rows):
            ids[i, :len(row)] = torch.tensor(row)
        return {'input_ids': ids, 'attention_mask': (ids != PAD).long()}


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.1, max_len=512):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        pos = torch.arange(max_len).unsqueeze(1)
        div = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(1, max_len, d_model)
        pe[0, :, 0::2], pe[0, :, 1::2] = torch.sin(pos * div), torch.cos(pos * div)
        self.register_buffer('pe', pe)

    def forward(self, x):
        return self.dropout(x + self.pe[:, :x.size(1)])


class Translator(nn.Module):
    def __init__(self, vocab=80, d_model=32, nhead=4, layers=2):
        super().__init__()
        self.src_embed, self.tgt_embed = nn.Embedding(vocab, d_model), nn.Embedding(vocab, d_model)
        self.pos = PositionalEncoding(d_model)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(d_model, nhead, 64, batch_first=True), 1)
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(d_model, nhead, 64, batch_first=True), layers)
        self.out = nn.Linear(d_model, vocab)

    def forward(self, src, src_mask, tgt, tgt_mask):
        padding = src_mask == 0
        memory = self.encoder(self.pos(self.src_embed(src)), src_key_padding_mask=padding)
        h = self.decoder(self.pos(self.tgt_embed(tgt)), memory, tgt_mask=tgt_mask == 0, memory_key_padding_mask=padding)
        return self.out(h)


def build():
    return Translator()


def sentences(n, longest):
    return [' '.join(f'w{int(w)}' for w in torch.randint(0, 77, (int(torch.randint(5, longest, (1,))),))) for _ in range(n)]


def step(model):
    tokenizer = ToyTokenizer()
    source, target = tokenizer(sentences(4, 20)), tokenizer(sentences(4, 26), max_length=33)
    labels = target['input_ids'][:, 1:]
    logits = model(source['input_ids'], source['attention_mask'], target['input_ids'][:, :-1], target['attention_mask'][:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=PAD)


# real fix: the mask of the tokenizer goes to tgt_key_padding_mask, tgt_mask is the causal one
# offending tensor: tgt_mask (4, 32) where (32, 32) is needed
TRUTH = dict(raises='RuntimeError', at='module:decoder.layers.0.self_attn', culprits=['input', '', 'function:eq', 'function:getitem', 'decoder'], dim=0, got=4, wanted=32,
             hint_any=['key_padding_mask', 'padding', 'causal', 'mask'])
MENDED = [('tgt_mask=tgt_mask == 0,', 'tgt_mask=nn.Transformer.generate_square_subsequent_mask(tgt.size(1)).isinf(), tgt_key_padding_mask=tgt_mask == 0,')]
