import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/wyf3/llm_related/issues/25'
CATEGORY = 'layer'
DESCRIPTION = 'Four image tokens are folded into one for the language model: a vision tower of another resolution and patch size gives 729 tokens (here 81), which four does not divide.'


class VisionConfig:
    def __init__(self, image_size=224, patch_size=16, hidden_size=48, layers=2):
        self.image_size, self.patch_size, self.hidden_size, self.layers = image_size, patch_size, hidden_size, layers


TOWERS = {'siglip-base-patch16-224': VisionConfig(64, 8, 48),
          'siglip-so400m-patch14-384': VisionConfig(126, 14, 72)}


class VisionTower(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.config = cfg
        self.patch_embedding = nn.Conv2d(3, cfg.hidden_size, cfg.patch_size, cfg.patch_size)
        n = (cfg.image_size // cfg.patch_size) ** 2
        self.position_embedding = nn.Embedding(n, cfg.hidden_size)
        self.encoder = nn.ModuleList([nn.TransformerEncoderLayer(cfg.hidden_size, 4, 96, batch_first=True) for _ in range(cfg.layers)])

    def forward(self, pixel_values):
        x = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        x = x + self.position_embedding.weight
        for blk in self.encoder:
            x = blk(x)
        return x


class VLM(nn.Module):
    def __init__(self, tower, vocab=120, llm_hidden=64):
        super().__init__()
        self.vision_model = VisionTower(TOWERS[tower])
        self.linear1 = nn.Linear(self.vision_model.config.hidden_size * 4, llm_hidden)
        self.linear2 = nn.Linear(llm_hidden, llm_hidden)
        self.embed_tokens = nn.Embedding(vocab, llm_hidden)
        self.llm = nn.TransformerEncoderLayer(llm_hidden, 4, 128, batch_first=True)
        self.lm_head = nn.Linear(llm_hidden, vocab)

    def forward(self, input_ids, labels, pixel_values):
        text_embeds = self.embed_tokens(input_ids)
        image_embeds = self.vision_model(pixel_values)
        b, s, d = image_embeds.shape
        image_embeds = image_embeds.view(b, -1, d * 4)
        image_features = self.linear2(F.silu(self.linear1(image_embeds)))
        x = torch.cat([image_features, text_embeds], dim=1)
        logits = self.lm_head(self.llm(x))[:, image_features.shape[1]:]
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))


def build():
    torch.manual_seed(0)
    return VLM('siglip-so400m-patch14-384')


def step(model):
    size = model.vision_model.config.image_size
    pixel_values = torch.randn(2, 3, size, size)
    ids = torch.randint(0, 120, (2, 13))
    return model(ids[:, :-1], ids[:, 1:], pixel_values)


# 81 tokens x 72 cannot be folded into rows of 288; the answer: take siglip-base-patch16-224
TRUTH = dict(raises='RuntimeError', at='function:view', culprits=['function:view', 'vision_model', 'vision_model.patch_embedding'], dim=1, got=81, wanted=None,
             hint_any=['81', '288', '4', 'token'])
MENDED = [("return VLM('siglip-so400m-patch14-384')", "return VLM('siglip-base-patch16-224')")]
