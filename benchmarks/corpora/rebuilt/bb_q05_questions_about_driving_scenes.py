import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/akshaygopalkr/EM-VLM4AD/issues/2'
CATEGORY = 'loss'
DESCRIPTION = ('Questions about driving scenes: the T5 of the notebook is exchanged for GPT-2, the labels stay the answer alone although a decoder-only '
               'model gives a row of scores for every image token and every token of the question.')


class Config:
    vocab_size = 90
    n_embd = 32
    n_head = 4
    n_layer = 2
    n_positions = 64
    image_dim = 20
    n_views = 6
    pad_token_id = 0


class MultiFrameDataset(Dataset):
    def __init__(self, cfg, n=8):
        g = torch.Generator().manual_seed(2)
        rand = lambda lo, hi: int(torch.randint(lo, hi, (1,), generator=g))
        self.data = []
        for _ in range(n):
            q = torch.randint(1, cfg.vocab_size, (rand(8, 13),), generator=g)
            a = torch.randint(1, cfg.vocab_size, (rand(3, 7),), generator=g)
            self.data.append((q, torch.randn(cfg.n_views, cfg.image_dim, generator=g), a))

    def __len__(self):
        return len(self.data)

    def __getitem__(self, idx):
        return self.data[idx]

    def collate_fn(self, batch):
        q_texts, imgs, a_texts = zip(*batch)
        encodings = pad_sequence(list(q_texts), batch_first=True, padding_value=Config.pad_token_id)
        labels = pad_sequence(list(a_texts), batch_first=True, padding_value=-100)
        return encodings, torch.stack(imgs), labels


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(cfg.n_embd), nn.LayerNorm(cfg.n_embd)
        self.attn = nn.MultiheadAttention(cfg.n_embd, cfg.n_head, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(cfg.n_embd, 4 * cfg.n_embd), nn.GELU(), nn.Linear(4 * cfg.n_embd, cfg.n_embd))

    def forward(self, x):
        mask = torch.triu(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool), 1)
        h = self.ln_1(x)
        x = x + self.attn(h, h, h, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class GPT2LMHeadModel(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.wte = nn.Embedding(cfg.vocab_size, cfg.n_embd)
        self.wpe = nn.Embedding(cfg.n_positions, cfg.n_embd)
        self.h = nn.ModuleList([Block(cfg) for _ in range(cfg.n_layer)])
        self.ln_f = nn.LayerNorm(cfg.n_embd)
        self.lm_head = nn.Linear(cfg.n_embd, cfg.vocab_size, bias=False)

    def get_input_embeddings(self):
        return self.wte

    def forward(self, inputs_embeds, labels=None):
        x = inputs_embeds + self.wpe(torch.arange(inputs_embeds.shape[1]))
        for block in self.h:
            x = block(x)
        lm_logits = self.lm_head(self.ln_f(x))
        loss = None
        if labels is not None:
            shift_logits = lm_logits[..., :-1, :].contiguous()
            shift_labels = labels[..., 1:].contiguous()
            loss = F.cross_entropy(shift_logits.view(-1, shift_logits.size(-1)), shift_labels.view(-1))
        return loss, lm_logits


class DriveVLM(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.model = GPT2LMHeadModel(cfg)
        self.img_projection_layer = nn.Linear(cfg.image_dim, cfg.n_embd)
        self.modal_embeddings = nn.Embedding(2, cfg.n_embd)
        self.gpa = nn.Sequential(nn.Linear(cfg.n_embd, 16), nn.Tanh(), nn.Linear(16, 1))

    def get_embedding(self, text_enc, imgs):
        img_embeds = self.img_projection_layer(imgs) + self.modal_embeddings(torch.tensor(1))
        img_embeds = img_embeds * self.gpa(img_embeds).softmax(1)
        text_embeds = self.model.get_input_embeddings()(text_enc) + self.modal_embeddings(torch.tensor(0))
        return torch.cat([text_embeds, img_embeds], dim=1)

    def forward(self, text_enc, imgs, labels=None):
        merged_embedding = self.get_embedding(text_enc, imgs)
        return self.model(inputs_embeds=merged_embedding, labels=labels)


def build():
    torch.manual_seed(0)
    return DriveVLM(Config)


def step(model):
    torch.manual_seed(1)
    dset = MultiFrameDataset(Config)
    inputs, imgs, labels = next(iter(DataLoader(dset, batch_size=4, shuffle=True, collate_fn=dset.collate_fn)))
    loss, _ = model(inputs, imgs, labels)
    return loss


# real fix: T5 (an encoder-decoder) as in the notebook, or for GPT-2 the answer behind the question and labels as long as the whole input,
# -100 where no answer stands
TRUTH = dict(raises='ValueError', at='loss:cross_entropy', culprits=['target'], dim=1, got=None, wanted=None, hint_any=['label', 'target', 'length', '-100'])
MENDED = [('return torch.cat([text_embeds, img_embeds], dim=1)', 'return torch.cat([img_embeds, text_embeds], dim=1)'),
          ('    def forward(self, text_enc, imgs, labels=None):\n',
           '    def forward(self, text_enc, imgs, labels=None):\n        if labels is not None:\n'
           '            ignored = torch.full((len(labels), self.cfg.n_views + text_enc.shape[1]), -100)\n'
           '            text_enc = torch.cat([text_enc, labels.clamp(min=0)], dim=1)\n            labels = torch.cat([ignored, labels], dim=1)\n')]
