import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/peft/issues/2549 (fix in pull 2567)'
CATEGORY = 'layer'
DESCRIPTION = ('DoRA on the convolutions of a ResNeXt-like net: for a convolution with groups=2 the product of lora_B and lora_A has '
               'twice the numbers of the base weight, the reshape to its shape fails.')


class DoraConv2dLayer(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        norm = self.get_weight_norm(base_layer.weight, torch.zeros_like(base_layer.weight), 1.0)
        self.weight = nn.Parameter(norm, requires_grad=True)

    def get_weight_norm(self, weight, lora_weight, scaling):
        weight = weight + scaling * lora_weight
        dim = tuple(range(1, weight.dim()))
        return weight.norm(p=2, dim=dim, keepdim=True).transpose(1, 0)

    def forward(self, x, lora_A, lora_B, scaling, base_layer, base_result):
        weight = base_layer.weight
        lora_weight = torch.mm(lora_B.weight.flatten(start_dim=1), lora_A.weight.flatten(start_dim=1))
        lora_weight = lora_weight.reshape(weight.shape)
        magnitude = self.weight
        weight_norm = self.get_weight_norm(weight, lora_weight.detach(), scaling).detach()
        mag_norm_scale = magnitude / weight_norm
        return (mag_norm_scale - 1) * base_result + mag_norm_scale * lora_B(lora_A(x)) * scaling


class LoraConv2d(nn.Module):
    def __init__(self, base_layer, r, lora_alpha, use_dora):
        super().__init__()
        self.base_layer = base_layer
        b = base_layer
        self.lora_A = nn.Conv2d(b.in_channels, r, b.kernel_size, b.stride, b.padding, bias=False)
        self.lora_B = nn.Conv2d(r, b.out_channels, 1, bias=False)
        nn.init.zeros_(self.lora_B.weight)
        self.scaling = lora_alpha / r
        self.lora_magnitude_vector = DoraConv2dLayer(base_layer) if use_dora else None

    def forward(self, x):
        result = self.base_layer(x)
        if self.lora_magnitude_vector is None:
            return result + self.lora_B(self.lora_A(x)) * self.scaling
        return result + self.lora_magnitude_vector(x, self.lora_A, self.lora_B, self.scaling, self.base_layer, result)


class Bottleneck(nn.Module):
    def __init__(self, cin, width, cout, stride, groups):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
        self.conv3 = nn.Conv2d(width, cout, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(width), nn.BatchNorm2d(width), nn.BatchNorm2d(cout)])
        self.down = nn.Conv2d(cin, cout, 1, stride, bias=False)

    def forward(self, x):
        out = x
        for conv, norm in zip((self.conv1, self.conv2, self.conv3), self.norms):
            out = F.relu(norm(conv(out)))
        return out + self.down(x)


class ResNeXt(nn.Module):
    def __init__(self, num_classes=8, groups=2):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.layers = nn.Sequential(Bottleneck(16, 16, 32, 1, groups), Bottleneck(32, 32, 64, 2, groups))
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.fc(self.layers(F.relu(self.stem(x))).mean(dim=(2, 3)))


def get_peft_model(model, target_modules, r=8, lora_alpha=8, use_dora=False):
    model.requires_grad_(False)
    for name, module in list(model.named_modules()):
        if name.split('.')[-1] in target_modules:
            parent, _, child = name.rpartition('.')
            setattr(model.get_submodule(parent), child, LoraConv2d(module, r, lora_alpha, use_dora))
    return model


def build():
    return get_peft_model(ResNeXt(), ['conv1', 'conv2'], use_dora=True)


def step(model):
    return F.cross_entropy(model(torch.randn(8, 3, 32, 32)), torch.randint(0, 8, (8,)))


# the adapter convolutions have to know base_layer.groups
TRUTH = dict(raises='RuntimeError', at='function:reshape',
             culprits=['layers.0.conv2.lora_A', 'layers.0.conv2.lora_B', 'function:mm', 'function:reshape'], dim=None, got=None,
             wanted=None, hint_any=['groups', 'lora_a', 'lora_b', 'mm'])
MENDED = [('b.stride, b.padding, bias=False)', 'b.stride, b.padding, groups=b.groups, bias=False)')]
