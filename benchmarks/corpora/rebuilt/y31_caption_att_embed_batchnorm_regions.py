import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/ruotianluo/self-critical.pytorch/issues/44'
CATEGORY = 'layer'
DESCRIPTION = 'Captioning: att_embed starts with BatchNorm1d(feature size) but gets 3-D region features (batch, 36, feature), so BatchNorm counts 36 channels; the regions have to be packed to (K, feature).'


class Attention(nn.Module):
    def __init__(self, rnn_size, att_hid):
        super().__init__()
        self.h2att = nn.Linear(rnn_size, att_hid)
        self.alpha_net = nn.Linear(att_hid, 1)

    def forward(self, h, att_feats, p_att_feats):
        dot = torch.tanh(p_att_feats + self.h2att(h).unsqueeze(1))
        weight = F.softmax(self.alpha_net(dot).squeeze(2), dim=1)
        return torch.bmm(weight.unsqueeze(1), att_feats).squeeze(1)


class TopDownCore(nn.Module):
    def __init__(self, enc, rnn, att_hid):
        super().__init__()
        self.att_lstm = nn.LSTMCell(enc + rnn * 2, rnn)
        self.lang_lstm = nn.LSTMCell(rnn * 2, rnn)
        self.attention = Attention(rnn, att_hid)

    def forward(self, xt, fc_feats, att_feats, p_att_feats, state):
        (h0, c0), (h1, c1) = state
        h0, c0 = self.att_lstm(torch.cat([h1, fc_feats, xt], 1), (h0, c0))
        att = self.attention(h0, att_feats, p_att_feats)
        h1, c1 = self.lang_lstm(torch.cat([att, h0], 1), (h1, c1))
        return h1, ((h0, c0), (h1, c1))


class AttModel(nn.Module):
    def __init__(self, opt):
        super().__init__()
        self.rnn_size, self.use_bn = opt['rnn_size'], opt['use_bn']
        self.embed = nn.Embedding(opt['vocab_size'] + 1, opt['input_encoding_size'])
        self.fc_embed = nn.Sequential(nn.Linear(opt['fc_feat_size'], self.rnn_size), nn.ReLU())
        self.att_embed = nn.Sequential(*(
            ((nn.BatchNorm1d(opt['att_feat_size']),) if self.use_bn else ()) +
            (nn.Linear(opt['att_feat_size'], self.rnn_size), nn.ReLU(), nn.Dropout(0.5)) +
            ((nn.BatchNorm1d(self.rnn_size),) if self.use_bn == 2 else ())))
        self.ctx2att = nn.Linear(self.rnn_size, opt['att_hid_size'])
        self.core = TopDownCore(opt['input_encoding_size'], self.rnn_size, opt['att_hid_size'])
        self.logit = nn.Linear(self.rnn_size, opt['vocab_size'] + 1)

    def _prepare_feature(self, fc_feats, att_feats):
        fc_feats = self.fc_embed(fc_feats)
        att_feats = self.att_embed(att_feats)
        return fc_feats, att_feats, self.ctx2att(att_feats)

    def forward(self, fc_feats, att_feats, seq):
        fc_feats, att_feats, p_att_feats = self._prepare_feature(fc_feats, att_feats)
        zero = fc_feats.new_zeros(fc_feats.size(0), self.rnn_size)
        state = ((zero, zero), (zero, zero))
        outputs = []
        for i in range(seq.size(1) - 1):
            out, state = self.core(self.embed(seq[:, i]), fc_feats, att_feats, p_att_feats, state)
            outputs.append(F.log_softmax(self.logit(out), dim=1))
        return torch.stack(outputs, 1)


def build():
    return AttModel(dict(rnn_size=32, use_bn=1, vocab_size=40, input_encoding_size=24, fc_feat_size=64, att_feat_size=64, att_hid_size=16))


def step(model):
    seq = torch.randint(1, 41, (5, 8))
    logp = model(torch.randn(5, 64), torch.randn(5, 36, 64), seq)
    return F.nll_loss(logp.reshape(-1, 41), seq[:, 1:].reshape(-1))


# real fix: pack the regions to (K, feature) before att_embed and restore the batch after it (pack_wrapper)
TRUTH = dict(raises='RuntimeError', at='module:att_embed.0', culprits=['att_embed.0', 'att_embed'], dim=1, got=36, wanted=64,
             hint_any=['transpose', 'permute', 'flatten', 'channel', 'dim 1', 'layernorm'])
MENDED = [('att_feats = self.att_embed(att_feats)', 'att_feats = self.att_embed(att_feats.flatten(0, 1)).view(*att_feats.shape[:2], -1)')]
