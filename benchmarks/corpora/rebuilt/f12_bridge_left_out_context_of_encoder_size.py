import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/clovaai/FocusSeq2Seq/issues/6'
CATEGORY = 'layer'
DESCRIPTION = 'Question generation: dec_hidden_size is set to half of enc_hidden_size; the bridge maps the first state to it, the attention context keeps the size of the encoder outputs.'


class Config:
    vocab, embed_size, feat_size = 150, 36, 4
    enc_hidden_size = 64
    dec_hidden_size = 32
    num_layers, dropout = 1, 0.1
    max_decode_len = 12


class GRUEncoder(nn.Module):
    def __init__(self, cfg, embedding):
        super().__init__()
        self.word_embed = embedding
        self.answer_embed = nn.Embedding(3, cfg.feat_size)
        self.rnn = nn.GRU(cfg.embed_size + cfg.feat_size, cfg.enc_hidden_size // 2, cfg.num_layers, batch_first=True, bidirectional=True)

    def forward(self, source, answer):
        x = torch.cat([self.word_embed(source), self.answer_embed(answer)], dim=-1)
        out, h = self.rnn(x)
        return out, torch.cat([h[-2], h[-1]], dim=-1)


class ConcatAttention(nn.Module):
    def __init__(self, q_dim, k_dim, dim):
        super().__init__()
        self.query, self.key = nn.Linear(q_dim, dim, bias=False), nn.Linear(k_dim, dim)
        self.score = nn.Linear(dim, 1, bias=False)

    def forward(self, q, k, mask):
        e = self.score(torch.tanh(self.query(q).unsqueeze(1) + self.key(k))).squeeze(-1)
        attn = F.softmax(e.masked_fill(mask, -1e8), dim=-1)
        return torch.bmm(attn.unsqueeze(1), k).squeeze(1), attn


class NQGDecoder(nn.Module):
    def __init__(self, cfg, embedding):
        super().__init__()
        self.max_len, self.vocab = cfg.max_decode_len, cfg.vocab
        self.word_embed = embedding
        self.rnncell = nn.GRUCell(cfg.embed_size + cfg.dec_hidden_size, cfg.dec_hidden_size)
        self.attention = ConcatAttention(cfg.dec_hidden_size, cfg.enc_hidden_size, cfg.dec_hidden_size)
        self.copy_switch = nn.Sequential(nn.Linear(cfg.enc_hidden_size + cfg.dec_hidden_size, 1), nn.Sigmoid())
        self.readout = nn.Sequential(nn.Linear(cfg.embed_size + cfg.enc_hidden_size + cfg.dec_hidden_size, cfg.embed_size * 2),
                                     nn.Dropout(cfg.dropout))
        self.out = nn.Linear(cfg.embed_size, cfg.vocab)

    def forward(self, enc_outputs, s, source, target):
        mask = source == 0
        context, attn = self.attention(s, enc_outputs, mask)
        probs = []
        for i in range(min(self.max_len, target.size(1))):
            y = self.word_embed(target[:, i])
            dec_input = torch.cat([y, context], dim=1)
            s = self.rnncell(dec_input, s)
            context, attn = self.attention(s, enc_outputs, mask)
            maxout = self.readout(torch.cat([y, s, context], dim=1)).unflatten(1, (-1, 2)).amax(-1)
            p = F.softmax(self.out(maxout), dim=-1)
            switch = self.copy_switch(torch.cat([context, s], dim=1))
            copied = torch.zeros_like(p).scatter_add(1, source, attn)
            probs.append((1 - switch) * p + switch * copied)
        return torch.stack(probs, dim=1)


class FocusSeq2Seq(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        embedding = nn.Embedding(cfg.vocab, cfg.embed_size, padding_idx=0)
        self.encoder = GRUEncoder(cfg, embedding)
        self.bridge = nn.Sequential(nn.Linear(cfg.enc_hidden_size, cfg.dec_hidden_size), nn.Tanh())
        self.decoder = NQGDecoder(cfg, embedding)

    def forward(self, source, answer, target):
        enc_outputs, h = self.encoder(source, answer)
        s = self.bridge(h)
        return self.decoder(enc_outputs, s, source, target)


def build():
    return FocusSeq2Seq(Config)


def step(model):
    lengths = torch.tensor([30, 24, 17, 11])
    source = torch.randint(4, 150, (4, 30)) * (torch.arange(30) < lengths[:, None])
    answer = torch.randint(0, 3, (4, 30))
    target = torch.randint(4, 150, (4, 13))
    probs = model(source, answer, target[:, :-1])
    return F.nll_loss(torch.log(probs + 1e-8).flatten(0, 1), target[:, 1:].flatten(), ignore_index=0)


# real fix: the cell takes embed_size + enc_hidden_size (the context has the size of the encoder outputs)
# offending tensor: dec_input (4, 100), the cell takes 68
TRUTH = dict(raises='RuntimeError', at='module:decoder.rnncell', culprits=['decoder.rnncell', 'encoder.rnn', 'decoder.attention', 'function:cat', 'function:bmm'], dim=1, got=100, wanted=68,
             hint_any=['input_size', 'context', 'rnncell', 'hidden', 'grucell'])
MENDED = [('nn.GRUCell(cfg.embed_size + cfg.dec_hidden_size, cfg.dec_hidden_size)', 'nn.GRUCell(cfg.embed_size + cfg.enc_hidden_size, cfg.dec_hidden_size)')]
