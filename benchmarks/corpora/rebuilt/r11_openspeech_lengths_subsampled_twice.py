import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/openspeech-team/openspeech/issues/76'
CATEGORY = 'silent'
DESCRIPTION = 'The conv front end returns lengths that are already subsampled, its subclass divides them by 4 again: CTC sees a quarter of the frames.'


class MaskConv2d(nn.Module):
    def __init__(self, sequential):
        super().__init__()
        self.sequential = sequential

    def get_sequence_lengths(self, module, seq_lengths):
        if isinstance(module, nn.Conv2d):
            numerator = seq_lengths + 2 * module.padding[1] - module.dilation[1] * (module.kernel_size[1] - 1) - 1
            seq_lengths = torch.div(numerator, module.stride[1], rounding_mode='floor') + 1
        return seq_lengths.int()

    def forward(self, inputs, seq_lengths):
        output = inputs
        for module in self.sequential:
            output = module(output)
            seq_lengths = self.get_sequence_lengths(module, seq_lengths)
            frames = torch.arange(output.size(3))
            mask = frames[None, :] >= seq_lengths[:, None]
            output = output.masked_fill(mask[:, None, None, :], 0)
        return output, seq_lengths


class Conv2dExtractor(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv = MaskConv2d(conv)

    def forward(self, inputs, input_lengths):
        outputs, output_lengths = self.conv(inputs.unsqueeze(1).transpose(2, 3), input_lengths)
        batch_size, channels, dimension, seq_lengths = outputs.size()
        outputs = outputs.permute(0, 3, 1, 2).reshape(batch_size, seq_lengths, channels * dimension)
        return outputs, output_lengths


class Conv2dSubsampling(Conv2dExtractor):
    def __init__(self, in_channels, out_channels):
        super().__init__(nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=2), nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, stride=2), nn.ReLU()))

    def forward(self, inputs, input_lengths):
        outputs, input_lengths = super().forward(inputs, input_lengths)
        output_lengths = input_lengths >> 2
        output_lengths = output_lengths - 1
        return outputs, output_lengths


class ConvModule(nn.Module):
    def __init__(self, dim, kernel_size=5):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.conv = nn.Sequential(
            nn.Conv1d(dim, dim * 2, 1), nn.GLU(dim=1), nn.Conv1d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim),
            nn.SiLU(), nn.Conv1d(dim, dim, 1))

    def forward(self, x):
        return x + self.conv(self.norm(x).transpose(1, 2)).transpose(1, 2)


class ConvEncoder(nn.Module):
    def __init__(self, input_dim=40, encoder_dim=32, num_classes=20):
        super().__init__()
        self.conv_subsample = Conv2dSubsampling(1, 8)
        self.input_projection = nn.Sequential(nn.Linear(8 * (((input_dim - 1) // 2 - 1) // 2), encoder_dim), nn.Dropout(0.))
        self.layers = nn.ModuleList(
            nn.Sequential(ConvModule(encoder_dim), nn.LayerNorm(encoder_dim)) for _ in range(3))
        self.fc = nn.Linear(encoder_dim, num_classes, bias=False)

    def forward(self, inputs, input_lengths):
        outputs, output_lengths = self.conv_subsample(inputs, input_lengths)
        outputs = self.input_projection(outputs)
        for layer in self.layers:
            outputs = layer(outputs)
        return self.fc(outputs).log_softmax(dim=-1), output_lengths


def collate(lengths, target_lengths):
    inputs = torch.zeros(len(lengths), max(lengths), 40)
    for i, n in enumerate(lengths):
        inputs[i, :n] = torch.randn(n, 40)
    targets = torch.stack([torch.randperm(19)[:max(target_lengths)] + 1 for _ in lengths])
    return inputs, torch.tensor(lengths), targets, torch.tensor(target_lengths)


def build():
    return ConvEncoder()


def step(model):
    inputs, input_lengths, targets, target_lengths = collate([171, 140, 120, 104], [7, 5, 4, 3])
    outputs, output_lengths = model(inputs, input_lengths)
    return F.ctc_loss(outputs.transpose(0, 1), targets, output_lengths, target_lengths, blank=0)


# real fix: remove the two lines of Conv2dSubsampling.forward (42 frames, got lengths of 9)
TRUTH = dict(raises=None, at='loss:ctc_loss',
             culprits=['conv_subsample', 'function:__rshift__', 'function:rshift', 'function:bitwise_right_shift', 'function:sub'],
             dim=None, got=9, wanted=42, hint_any=['length', 'frames', 'twice', '42', 'subsampl'])
MENDED = [('        output_lengths = input_lengths >> 2\n        output_lengths = output_lengths - 1\n', '        output_lengths = input_lengths\n')]
