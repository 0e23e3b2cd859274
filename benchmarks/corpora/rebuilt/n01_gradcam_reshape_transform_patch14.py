import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/jacobgil/pytorch-grad-cam/issues/509'
CATEGORY = 'layer'
DESCRIPTION = 'Grad-CAM for a pathology ViT: the reshape_transform of the usage example is written for 14x14 tokens.'


class PatchEmbed(nn.Module):
    def __init__(self, img_size=224, patch_size=16, in_chans=3, embed_dim=48):
        super().__init__()
        self.num_patches = (img_size // patch_size) ** 2
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, C // self.num_heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, N, C))


class Block(nn.Module):
    def __init__(self, dim, num_heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, img_size=224, patch_size=14, embed_dim=48, depth=2, num_heads=4, num_classes=2):
        super().__init__()
        self.patch_embed = PatchEmbed(img_size, patch_size, 3, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.randn(1, self.patch_embed.num_patches + 1, embed_dim) * 0.02)
        self.blocks = nn.ModuleList([Block(embed_dim, num_heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(embed_dim)
        self.head = nn.Linear(embed_dim, num_classes)

    def forward(self, x):
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        for blk in self.blocks:
            x = blk(x)
        return self.head(self.norm(x)[:, 0])


def reshape_transform(tensor, height=14, width=14):
    result = tensor[:, 1:, :].reshape(tensor.size(0), height, width, tensor.size(2))
    # bring the channels to the first dimension, like in CNNs
    return result.transpose(2, 3).transpose(1, 2)


class ActivationsAndGradients:
    def __init__(self, model, target_layers, reshape_transform):
        self.model, self.reshape_transform = model, reshape_transform
        self.activations, self.gradients = [], []
        self.handles = [layer.register_forward_hook(self.save_activation) for layer in target_layers]

    def save_activation(self, module, inputs, output):
        activation = output if self.reshape_transform is None else self.reshape_transform(output)
        self.activations.append(activation)
        output.register_hook(lambda g: self.gradients.append(self.reshape_transform(g)))

    def release(self):
        for handle in self.handles:
            handle.remove()


class GradCAM:
    def __init__(self, model, target_layers, reshape_transform=None):
        self.extractor = ActivationsAndGradients(model, target_layers, reshape_transform)
        self.model = model

    def __call__(self, images, category):
        try:
            self.model(images)[:, category].sum().backward()
        finally:
            self.extractor.release()
        acts, grads = self.extractor.activations[0], self.extractor.gradients[0]
        cam = F.relu((grads.mean(dim=(2, 3), keepdim=True) * acts).sum(1, keepdim=True))
        return F.interpolate(cam, size=images.shape[-2:], mode='bilinear')


def build():
    return VisionTransformer()


def step(model):
    images = torch.randn(1, 3, 224, 224)
    cam = GradCAM(model, [model.blocks[-1].norm1], reshape_transform)
    return cam(images, 1).mean()


# real fix: the model has patches of 14 pixels, 224 / 14 = 16: reshape_transform(tensor, height=16, width=16)
# offending tensor: the tokens without the class token (1, 256, 48); 14 * 14 = 196
TRUTH = dict(raises='RuntimeError', at='function:reshape', culprits=['function:reshape'], dim=1, got=256, wanted=196,
             hint_any=['16', '256', '196', 'height', 'grid', 'patch'])
MENDED = [('height=14, width=14', 'height=16, width=16')]
