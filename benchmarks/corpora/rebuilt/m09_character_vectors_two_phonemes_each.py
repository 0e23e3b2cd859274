import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

SOURCE = 'https://github.com/ming024/FastSpeech2/issues/204 (the thread has the traceback alone, 33 against 36; the cause is ours)'
CATEGORY = 'layer'
DESCRIPTION = 'Chinese FastSpeech 2 with BERT vectors of characters: the helper repeats each twice (initial and final), syllables without an initial have one phoneme.'

INITIALS = {'b', 'p', 'm', 'f', 'd', 't', 'n', 'l', 'g', 'k', 'h', 'j', 'q', 'x', 'zh', 'ch', 'sh', 'r', 'z', 'c', 's'}
LEXICON = {'ni': ['n', 'i3'], 'hao': ['h', 'ao3'], 'ai': ['ai4'], 'shi': ['sh', 'i4'], 'jie': ['j', 'ie4'], 'an': ['an1'], 'zhong': ['zh', 'ong1'],
           'guo': ['g', 'uo2'], 'er': ['er2'], 'zi': ['z', 'i5'], 'men': ['m', 'en5'], 'tian': ['t', 'ian1']}
PHONES = ['<pad>'] + sorted({p for ps in LEXICON.values() for p in ps})
PHONE_ID = {p: i for i, p in enumerate(PHONES)}


class FFTBlock(nn.Module):
    def __init__(self, d, heads=2, inner=48):
        super().__init__()
        self.slf_attn = nn.MultiheadAttention(d, heads, dropout=0.1, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.w_1, self.w_2 = nn.Conv1d(d, inner, 9, padding=4), nn.Conv1d(inner, d, 1)

    def forward(self, x, mask):
        x = self.norm1(x + self.slf_attn(x, x, x, key_padding_mask=mask, need_weights=False)[0])
        h = self.w_2(F.relu(self.w_1(x.transpose(1, 2)))).transpose(1, 2)
        return self.norm2(x + h).masked_fill(mask.unsqueeze(-1), 0)


class Encoder(nn.Module):
    def __init__(self, d=32, max_len=100):
        super().__init__()
        self.src_word_emb = nn.Embedding(len(PHONES), d, padding_idx=0)
        self.position_enc = nn.Parameter(torch.randn(1, max_len, d) * 0.1, requires_grad=False)
        self.bert_proj = nn.Linear(24, d)
        self.layer_stack = nn.ModuleList(FFTBlock(d) for _ in range(2))

    def forward(self, src_seq, mask, char_vecs=None):
        enc_output = self.src_word_emb(src_seq) + self.position_enc[:, :src_seq.shape[1]]
        if char_vecs is not None:
            char_vecs = self.bert_proj(char_vecs)
            enc_output += char_vecs
        for layer in self.layer_stack:
            enc_output = layer(enc_output, mask)
        return enc_output


class FastSpeech2(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.duration = nn.Linear(32, 1)
        self.mel_linear = nn.Linear(32, 20)

    def forward(self, texts, lengths, char_vecs):
        mask = torch.arange(texts.shape[1])[None] >= lengths[:, None]
        h = self.encoder(texts, mask, char_vecs=char_vecs)
        return self.mel_linear(h), self.duration(h).squeeze(-1), mask


def get_char_embeds(n_chars):
    return torch.randn(n_chars, 24)


def expand_char_vecs(char_embeds, syllables):
    return torch.cat([v.repeat(2, 1) for v, s in zip(char_embeds, syllables)])


def process(sentence):
    syllables = sentence.split()
    phones = [p for s in syllables for p in LEXICON[s]]
    embeds = get_char_embeds(len(syllables))
    return torch.tensor([PHONE_ID[p] for p in phones]), expand_char_vecs(embeds, syllables)


def collate(sentences):
    ids, vecs = zip(*[process(s) for s in sentences])
    lengths = torch.tensor([len(i) for i in ids])
    return pad_sequence(ids, batch_first=True), lengths, pad_sequence(vecs, batch_first=True)


def build():
    return FastSpeech2()


def step(model):
    texts, lengths, char_vecs = collate(['ni hao shi jie zhong guo ai zi men an tian', 'ai er zi men tian an men'])
    mel, dur, mask = model(texts, lengths, char_vecs)
    keep = ~mask
    return F.l1_loss(mel[keep], torch.randn(int(keep.sum()), 20)) + F.mse_loss(dur[keep], torch.rand(int(keep.sum())))


# real fix: a character vector has to be repeated for as many phonemes as its syllable has
# offending tensor: char_vecs (2, 22, 32), enc_output (2, 20, 32)
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['input', 'function:repeat', 'function:cat', 'function:pad_sequence'], dim=1, got=22, wanted=20,
             hint_any=['char_vecs', 'repeat', 'input', '22', 'bert_proj', 'length'])
MENDED = [('v.repeat(2, 1)', 'v.repeat(len(LEXICON[s]), 1)')]
