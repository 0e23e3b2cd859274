import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/kimiyoung/transformer-xl/issues/74'
CATEGORY = 'layer'
DESCRIPTION = 'Transformer-XL with attn_type 2: memories begin as torch.empty(0); for absolute embeddings the positions (0, 1, D) are added to them even when they are empty.'

args = dict(n_token=60, n_layer=2, n_head=4, d_model=32, d_head=8, d_inner=64, dropout=0.1, tgt_len=20, mem_len=20, attn_type=2, batch_size=6)


class PositionalEmbedding(nn.Module):
    def __init__(self, demb):
        super().__init__()
        self.register_buffer('inv_freq', 1 / (10000 ** (torch.arange(0.0, demb, 2.0) / demb)))

    def forward(self, pos_seq):
        sinusoid = torch.outer(pos_seq, self.inv_freq)
        return torch.cat([sinusoid.sin(), sinusoid.cos()], dim=-1)[:, None, :]


class PositionwiseFF(nn.Module):
    def __init__(self, d_model, d_inner, dropout):
        super().__init__()
        self.CoreNet = nn.Sequential(nn.Linear(d_model, d_inner), nn.ReLU(inplace=True), nn.Dropout(dropout), nn.Linear(d_inner, d_model), nn.Dropout(dropout))
        self.layer_norm = nn.LayerNorm(d_model)

    def forward(self, inp):
        return self.layer_norm(inp + self.CoreNet(inp))


class MultiHeadAttn(nn.Module):
    def __init__(self, n_head, d_model, d_head, dropout):
        super().__init__()
        self.n_head, self.d_head = n_head, d_head
        self.q_net = nn.Linear(d_model, n_head * d_head, bias=False)
        self.kv_net = nn.Linear(d_model, 2 * n_head * d_head, bias=False)
        self.o_net = nn.Linear(n_head * d_head, d_model, bias=False)
        self.layer_norm = nn.LayerNorm(d_model)
        self.drop = nn.Dropout(dropout)

    def forward(self, h, attn_mask=None, mems=None):
        c = torch.cat([mems, h], 0) if mems is not None else h
        head_q = self.q_net(h).view(h.size(0), h.size(1), self.n_head, self.d_head)
        head_k, head_v = self.kv_net(c).view(c.size(0), c.size(1), self.n_head, 2 * self.d_head).chunk(2, -1)
        score = torch.einsum('ibnd,jbnd->ijbn', head_q, head_k) / self.d_head ** 0.5
        score = score.float().masked_fill(attn_mask[:, :, :, None], -float('inf'))
        vec = torch.einsum('ijbn,jbnd->ibnd', F.softmax(score, dim=1), head_v).flatten(2)
        return self.layer_norm(h + self.drop(self.o_net(vec)))


class DecoderLayer(nn.Module):
    def __init__(self, n_head, d_model, d_head, d_inner, dropout):
        super().__init__()
        self.dec_attn = MultiHeadAttn(n_head, d_model, d_head, dropout)
        self.pos_ff = PositionwiseFF(d_model, d_inner, dropout)

    def forward(self, dec_inp, dec_attn_mask=None, mems=None):
        return self.pos_ff(self.dec_attn(dec_inp, dec_attn_mask, mems))


class MemTransformerLM(nn.Module):
    def __init__(self, n_token, n_layer, n_head, d_model, d_head, d_inner, dropout, tgt_len, mem_len, attn_type, batch_size):
        super().__init__()
        self.n_layer, self.mem_len, self.attn_type = n_layer, mem_len, attn_type
        self.word_emb = nn.Embedding(n_token, d_model)
        self.drop = nn.Dropout(dropout)
        self.layers = nn.ModuleList(DecoderLayer(n_head, d_model, d_head, d_inner, dropout) for _ in range(n_layer))
        if attn_type == 2:
            self.pos_emb = PositionalEmbedding(d_model)
        self.crit = nn.Linear(d_model, n_token)

    def init_mems(self):
        return [torch.empty(0, dtype=next(self.parameters()).dtype) for _ in range(self.n_layer + 1)] if self.mem_len > 0 else None

    def _update_mems(self, hids, mems, qlen, mlen):
        with torch.no_grad():
            end_idx = mlen + max(0, qlen)
            beg_idx = max(0, end_idx - self.mem_len)
            return [torch.cat([m, h], dim=0)[beg_idx:end_idx].detach() for m, h in zip(mems, hids)]

    def _forward(self, dec_inp, mems=None):
        qlen, bsz = dec_inp.size()
        word_emb = self.word_emb(dec_inp)
        mlen = mems[0].size(0) if mems is not None else 0
        klen = mlen + qlen
        dec_attn_mask = torch.triu(word_emb.new_ones(qlen, klen), diagonal=1 + mlen).bool()[:, :, None]
        hids = []
        if self.attn_type == 2:
            pos_seq = torch.arange(klen - 1, -1, -1.0)
            pos_emb = self.pos_emb(pos_seq)
            core_out = self.drop(word_emb + pos_emb[-qlen:])
            hids.append(core_out)
            for i, layer in enumerate(self.layers):
                mems_i = None if mems is None else mems[i]
                if mems_i is not None and i == 0:
                    mems_i += pos_emb[:mlen]
                core_out = layer(core_out, dec_attn_mask=dec_attn_mask, mems=mems_i)
                hids.append(core_out)
        core_out = self.drop(core_out)
        return core_out, self._update_mems(hids, mems, qlen, mlen)

    def forward(self, data, target, *mems):
        mems = list(mems) if mems else self.init_mems()
        hidden, new_mems = self._forward(data, mems=mems)
        loss = F.cross_entropy(self.crit(hidden[-target.size(0):]).flatten(0, 1), target.flatten(), reduction='none')
        return [loss.view(target.size())] + new_mems


def build():
    return MemTransformerLM(**args)


def step(model):
    corpus = torch.randint(0, args['n_token'], (2 * args['tgt_len'] + 1, args['batch_size']))
    mems, total = tuple(), 0.0
    for i in range(0, 2 * args['tgt_len'], args['tgt_len']):
        data, target = corpus[i:i + args['tgt_len']], corpus[i + 1:i + 1 + args['tgt_len']]
        ret = model(data, target, *mems)
        loss, mems = ret[0], ret[1:]
        total = total + loss.float().mean()
    return total / 2


# real fix: only `if mlen > 0` (empty memories have the shape (0,))
# offending tensor: mems_i (0,), to which (0, 1, 32) is added
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['function:empty', ''], dim=0, got=0, wanted=32,
             hint_any=['empty', 'mems', 'mem', '(0,', 'torch.empty'])
MENDED = [('if mems_i is not None and i == 0:', 'if mems_i is not None and i == 0 and mlen > 0:')]
