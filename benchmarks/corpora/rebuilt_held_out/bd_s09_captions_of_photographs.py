import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = ('https://github.com/salesforce/LAVIS/issues/142 (3 against 9; also salesforce/BLIP issue 173 and cobanov/image-captioning issue 5; that newer versions of '
          'transformers expand encoder_hidden_states themselves is read from the sizes and transformers issue 21599)')
CATEGORY = 'layer'
DESCRIPTION = ('Captions with beam search: the captioner repeats the image embeddings for every beam, and the generation loop expands all model inputs by the '
               'number of beams once more.')


class Attention(nn.Module):
    def __init__(self, hidden, heads, encoder_width=None):
        super().__init__()
        self.heads, self.dim = heads, hidden // heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(encoder_width or hidden, hidden)
        self.value = nn.Linear(encoder_width or hidden, hidden)
        self.dense = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden)

    def transpose_for_scores(self, x):
        return x.view(x.size(0), x.size(1), self.heads, self.dim).permute(0, 2, 1, 3)

    def forward(self, hidden_states, context=None, mask=None):
        context = hidden_states if context is None else context
        q = self.transpose_for_scores(self.query(hidden_states))
        k = self.transpose_for_scores(self.key(context))
        v = self.transpose_for_scores(self.value(context))
        scores = torch.matmul(q, k.transpose(-1, -2)) / self.dim ** 0.5
        if mask is not None:
            scores = scores + mask
        out = torch.matmul(scores.softmax(-1), v).permute(0, 2, 1, 3).flatten(2)
        return self.norm(self.dense(out) + hidden_states)


class BertLayer(nn.Module):
    def __init__(self, hidden, heads, encoder_width):
        super().__init__()
        self.attention = Attention(hidden, heads)
        self.crossattention = Attention(hidden, heads, encoder_width)
        self.ffn = nn.Sequential(nn.Linear(hidden, hidden * 2), nn.GELU(), nn.Linear(hidden * 2, hidden))

    def forward(self, x, mask, encoder_hidden_states, encoder_mask):
        x = self.attention(x, mask=mask)
        x = self.crossattention(x, encoder_hidden_states, encoder_mask)
        return x + self.ffn(x)


def expand_inputs_for_generation(expand_size, input_ids, model_kwargs):
    for key, value in model_kwargs.items():
        if torch.is_tensor(value):
            model_kwargs[key] = value.repeat_interleave(expand_size, dim=0)
    return input_ids.repeat_interleave(expand_size, dim=0), model_kwargs


class BertLMHeadModel(nn.Module):
    def __init__(self, vocab=30, hidden=24, heads=3, layers=2, encoder_width=32):
        super().__init__()
        self.embeddings = nn.Embedding(vocab, hidden)
        self.positions = nn.Embedding(20, hidden)
        self.layers = nn.ModuleList([BertLayer(hidden, heads, encoder_width) for _ in range(layers)])
        self.cls = nn.Linear(hidden, vocab)

    def forward(self, input_ids, encoder_hidden_states, encoder_attention_mask):
        n = input_ids.size(1)
        x = self.embeddings(input_ids) + self.positions(torch.arange(n))
        causal = torch.full((n, n), -1e4).triu(1)
        encoder_mask = (1.0 - encoder_attention_mask[:, None, None, :].float()) * -1e4
        for layer in self.layers:
            x = layer(x, causal, encoder_hidden_states, encoder_mask)
        return self.cls(x)

    def generate(self, input_ids, max_length, num_beams, **model_kwargs):
        batch = input_ids.size(0)
        input_ids, model_kwargs = expand_inputs_for_generation(num_beams, input_ids, model_kwargs)
        beam_scores = torch.full((batch, num_beams), -1e9)
        beam_scores[:, 0] = 0
        while input_ids.size(1) < max_length:
            logits = self(input_ids, **model_kwargs)[:, -1]
            vocab = logits.size(-1)
            scores = F.log_softmax(logits, -1).view(batch, num_beams, vocab) + beam_scores[:, :, None]
            beam_scores, idx = scores.view(batch, -1).topk(num_beams)
            rows = (idx // vocab + torch.arange(batch)[:, None] * num_beams).view(-1)
            input_ids = torch.cat([input_ids[rows], (idx % vocab).view(-1, 1)], dim=-1)
        return input_ids.view(batch, num_beams, -1)[:, 0], beam_scores[:, 0]


class VisionTransformer(nn.Module):
    def __init__(self, width=32, patch=16):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.randn(1, 17, width) * 0.02)
        self.block = nn.TransformerEncoderLayer(width, 4, 64, batch_first=True)

    def forward(self, x):
        x = self.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.size(0), -1, -1), x], dim=1)
        return self.block(x + self.pos_embed)


class BLIP_Decoder(nn.Module):
    def __init__(self, prompt=(4, 7, 2, 9)):
        super().__init__()
        self.visual_encoder = VisionTransformer()
        self.text_decoder = BertLMHeadModel()
        self.prompt = torch.tensor(prompt)

    def generate(self, image, sample=False, num_beams=3, max_length=12):
        image_embeds = self.visual_encoder(image)
        if not sample:
            image_embeds = image_embeds.repeat_interleave(num_beams, dim=0)
        image_atts = torch.ones(image_embeds.size()[:-1], dtype=torch.long)
        model_kwargs = {'encoder_hidden_states': image_embeds, 'encoder_attention_mask': image_atts}
        input_ids = self.prompt.repeat(image.size(0), 1)
        return self.text_decoder.generate(input_ids, max_length=max_length, num_beams=num_beams, **model_kwargs)


def build():
    torch.manual_seed(0)
    return BLIP_Decoder().eval()


def step(model):
    torch.manual_seed(1)
    image = torch.rand(1, 3, 64, 64)
    caption, score = model.generate(image, num_beams=3)
    return -score.mean() / caption.size(1)


# real fix: the captioner leaves the repetition to generate (or the older version of transformers)
# offending tensor: encoder_hidden_states (9, 17, 32) beside input_ids (3, 4); three heads too
TRUTH = dict(raises='RuntimeError', at='function:matmul', culprits=['function:repeat_interleave'], dim=0, got=9, wanted=3,
             hint_any=['repeat', 'beam', 'twice', 'expand', '9'])
MENDED = [('            image_embeds = image_embeds.repeat_interleave(num_beams, dim=0)\n', '            num_beams = max(num_beams, 1)\n')]
