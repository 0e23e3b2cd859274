import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SOURCE = 'https://github.com/openai/CLIP/issues/83'
CATEGORY = 'layer'
DESCRIPTION = 'CLIP fine-tuning: the tokenizer returns (1,77) for every caption, the loader stacks them to (B,1,77), the text encoder wants (B,77).'


def tokenize(texts, context_length=77, vocab=400):
    if isinstance(texts, str):
        texts = [texts]
    result = torch.zeros(len(texts), context_length, dtype=torch.long)
    for i, text in enumerate(texts):
        tokens = [vocab - 2] + [1 + sum(map(ord, w)) % (vocab - 4) for w in text.split()] + [vocab - 1]
        result[i, :len(tokens)] = torch.tensor(tokens)
    return result


class ResidualAttentionBlock(nn.Module):
    def __init__(self, d_model, n_head, attn_mask=None):
        super().__init__()
        self.attn = nn.MultiheadAttention(d_model, n_head)
        self.ln_1, self.ln_2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(nn.Linear(d_model, d_model * 4), nn.GELU(), nn.Linear(d_model * 4, d_model))
        self.attn_mask = attn_mask

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=self.attn_mask)[0]
        return x + self.mlp(self.ln_2(x))


class VisionTransformer(nn.Module):
    def __init__(self, input_resolution, patch_size, width, layers, heads, output_dim):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) * 0.02)
        self.positional_embedding = nn.Parameter(torch.randn((input_resolution // patch_size) ** 2 + 1, width) * 0.02)
        self.transformer = nn.Sequential(*[ResidualAttentionBlock(width, heads) for _ in range(layers)])
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(width, output_dim) * width ** -0.5)

    def forward(self, x):
        x = self.conv1(x).flatten(2).permute(0, 2, 1)
        x = torch.cat([self.class_embedding.expand(x.shape[0], 1, -1), x], dim=1) + self.positional_embedding
        x = self.transformer(x.permute(1, 0, 2)).permute(1, 0, 2)
        return self.ln_post(x[:, 0, :]) @ self.proj


class CLIP(nn.Module):
    def __init__(self, embed_dim=32, context_length=77, vocab_size=400, width=48, heads=4, layers=2):
        super().__init__()
        mask = torch.full((context_length, context_length), float('-inf')).triu_(1)
        self.visual = VisionTransformer(32, 8, 48, layers, heads, embed_dim)
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.randn(context_length, width) * 0.01)
        self.transformer = nn.Sequential(*[ResidualAttentionBlock(width, heads, mask) for _ in range(layers)])
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, embed_dim) * width ** -0.5)
        self.logit_scale = nn.Parameter(torch.ones([]) * math.log(1 / 0.07))

    def encode_text(self, text):
        x = self.token_embedding(text)
        x = x + self.positional_embedding
        x = x.permute(1, 0, 2)
        x = self.transformer(x)
        x = x.permute(1, 0, 2)
        x = self.ln_final(x)
        return x[torch.arange(x.shape[0]), text.argmax(dim=-1)] @ self.text_projection

    def forward(self, image, text):
        image_features = F.normalize(self.visual(image), dim=1)
        text_features = F.normalize(self.encode_text(text), dim=1)
        logits_per_image = self.logit_scale.exp() * image_features @ text_features.t()
        return logits_per_image, logits_per_image.t()


class image_caption_dataset(Dataset):
    def __init__(self, captions):
        self.images = torch.randn(len(captions), 3, 32, 32)
        self.captions = captions
        self.tokenizer = tokenize

    def __len__(self):
        return len(self.captions)

    def __getitem__(self, idx):
        image = self.images[idx]
        tokenized_caption = self.tokenizer(self.captions[idx])
        return image, tokenized_caption


def build():
    return CLIP()


def step(model):
    words = 'a photo of the red small dog cat plane on grass near water'.split()
    dataset = image_caption_dataset([' '.join(words[i % 5:i % 5 + 4 + i % 3]) for i in range(16)])
    loss_img, loss_txt = nn.CrossEntropyLoss(), nn.CrossEntropyLoss()
    total = 0
    for images, texts in DataLoader(dataset, batch_size=8):
        logits_per_image, logits_per_text = model(images, texts)
        ground_truth = torch.arange(len(images), dtype=torch.long)
        total = total + (loss_img(logits_per_image, ground_truth) + loss_txt(logits_per_text, ground_truth)) / 2
    return total / 2


# real fix: take the only row in the dataset: self.tokenizer(self.captions[idx])[0]
# offending tensor: texts (8, 1, 77)
TRUTH = dict(raises='RuntimeError', at='function:permute', culprits=['input', 'token_embedding'], dim=1, got=1, wanted=None,
             hint_any=['squeeze', '[0]', 'flatten', '4', '[:, 0'])
MENDED = [('self.tokenizer(self.captions[idx])', 'self.tokenizer(self.captions[idx])[0]')]
