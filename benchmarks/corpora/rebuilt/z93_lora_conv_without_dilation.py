import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/peft/pull/3700 (issue 3697)'
CATEGORY = 'layer'
DESCRIPTION = ('LoRA on the convolutions of a segmenter: lora_A copies kernel size, stride and padding of its base layer but not the '
               'dilation; the branch of a dilated layer gives larger maps.')


class LoraConv2d(nn.Module):
    def __init__(self, base_layer, adapter_name, r, lora_alpha, lora_dropout):
        super().__init__()
        self.base_layer = base_layer
        self.active_adapter = adapter_name
        self.in_features, self.out_features = base_layer.in_channels, base_layer.out_channels
        self.lora_dropout = nn.ModuleDict({})
        self.lora_A, self.lora_B = nn.ModuleDict({}), nn.ModuleDict({})
        self.scaling = {}
        self.update_layer(adapter_name, r, lora_alpha, lora_dropout)

    def update_layer(self, adapter_name, r, lora_alpha, lora_dropout):
        base = self.base_layer
        conv_layer = type(base)
        self.lora_dropout[adapter_name] = nn.Dropout(lora_dropout) if lora_dropout > 0 else nn.Identity()
        kernel_size, stride, padding = base.kernel_size, base.stride, base.padding
        self.lora_A[adapter_name] = conv_layer(self.in_features, r, kernel_size, stride, padding, bias=False)
        self.lora_B[adapter_name] = conv_layer(r, self.out_features, (1, 1), (1, 1), bias=False)
        self.scaling[adapter_name] = lora_alpha / r
        nn.init.zeros_(self.lora_B[adapter_name].weight)

    def forward(self, x):
        result = self.base_layer(x)
        name = self.active_adapter
        x = self.lora_dropout[name](x)
        return result + self.lora_B[name](self.lora_A[name](x)) * self.scaling[name]


def inject_adapter(model, target_modules, **config):
    model.requires_grad_(False)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Conv2d) and any(name.endswith(t) for t in target_modules):
            parent, _, child = name.rpartition('.')
            setattr(model.get_submodule(parent), child, LoraConv2d(module, 'default', **config))
    return model


class Block(nn.Module):
    def __init__(self, cin, cout, stride=1, dilation=1):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, dilation, dilation, bias=False)
        self.norm1 = nn.GroupNorm(4, cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(4, cout)
        self.shortcut = nn.Conv2d(cin, cout, 1, stride, bias=False)

    def forward(self, x):
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


class DeepLab(nn.Module):
    def __init__(self, num_classes=5):
        super().__init__()
        self.layer1 = Block(3, 16, stride=2)
        self.layer2 = Block(16, 32, stride=2)
        self.layer3 = Block(32, 32, dilation=2)
        self.classifier = nn.Conv2d(32, num_classes, 1)

    def forward(self, x):
        size = x.shape[-2:]
        x = self.layer3(self.layer2(self.layer1(x)))
        return F.interpolate(self.classifier(x), size=size, mode='bilinear', align_corners=False)


def build():
    return inject_adapter(DeepLab(), target_modules=['conv1', 'conv2'], r=4, lora_alpha=8, lora_dropout=0.1)


def step(model):
    return F.cross_entropy(model(torch.randn(2, 3, 64, 64)), torch.randint(0, 5, (2, 64, 64)))


# the fix passes base_layer.dilation (and padding_mode) to lora_A
TRUTH = dict(raises='RuntimeError', at='function:add', culprits=['layer3.conv1.lora_A.default'], dim=None, got=None, wanted=None,
             hint_any=['dilation', 'lora_a'])
MENDED = [('stride, padding, bias=False)\n        self.lora_B', 'stride, padding, base.dilation, bias=False)\n        self.lora_B')]
