import math
import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/diffusers/issues/3207'
CATEGORY = 'layer'
DESCRIPTION = 'Unconditional diffusion with the attention block for torch < 2.0: reshape_batch_dim_to_heads forgets to divide the batch by the heads in its second reshape. Batch and heads are both 4.'


class AttentionBlock(nn.Module):
    def __init__(self, channels, num_head_channels=None, norm_num_groups=8, rescale_output_factor=1.0, eps=1e-5):
        super().__init__()
        self.channels = channels
        self.num_heads = channels // num_head_channels if num_head_channels is not None else 1
        self.group_norm = nn.GroupNorm(num_channels=channels, num_groups=norm_num_groups, eps=eps)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.rescale_output_factor = rescale_output_factor
        self.proj_attn = nn.Linear(channels, channels, bias=True)

    def reshape_heads_to_batch_dim(self, tensor):
        batch_size, seq_len, dim = tensor.shape
        head_size = self.num_heads
        tensor = tensor.reshape(batch_size, seq_len, head_size, dim // head_size)
        tensor = tensor.permute(0, 2, 1, 3).reshape(batch_size * head_size, seq_len, dim // head_size)
        return tensor

    def reshape_batch_dim_to_heads(self, tensor):
        batch_size, seq_len, dim = tensor.shape
        head_size = self.num_heads
        tensor = tensor.reshape(batch_size // head_size, head_size, seq_len, dim)
        tensor = tensor.permute(0, 2, 1, 3).reshape(batch_size, seq_len, dim * head_size)
        return tensor

    def forward(self, hidden_states):
        residual = hidden_states
        batch, channel, height, width = hidden_states.shape
        hidden_states = self.group_norm(hidden_states)
        hidden_states = hidden_states.view(batch, channel, height * width).transpose(1, 2)
        query_proj = self.query(hidden_states)
        key_proj = self.key(hidden_states)
        value_proj = self.value(hidden_states)
        scale = 1 / math.sqrt(self.channels / self.num_heads)
        query_proj = self.reshape_heads_to_batch_dim(query_proj)
        key_proj = self.reshape_heads_to_batch_dim(key_proj)
        value_proj = self.reshape_heads_to_batch_dim(value_proj)
        attention_scores = torch.bmm(query_proj, key_proj.transpose(-1, -2)) * scale
        attention_probs = torch.softmax(attention_scores.float(), dim=-1)
        hidden_states = torch.bmm(attention_probs, value_proj)
        hidden_states = self.reshape_batch_dim_to_heads(hidden_states)
        hidden_states = self.proj_attn(hidden_states)
        hidden_states = hidden_states.transpose(-1, -2).reshape(batch, channel, height, width)
        return (hidden_states + residual) / self.rescale_output_factor


class ResnetBlock(nn.Module):
    def __init__(self, cin, cout, temb):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, cin)
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1)
        self.time_emb_proj = nn.Linear(temb, cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)
        self.shortcut = nn.Conv2d(cin, cout, 1)

    def forward(self, x, temb):
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(temb))[:, :, None, None]
        return self.conv2(F.silu(h)) + self.shortcut(x)


class UNet2DModel(nn.Module):
    def __init__(self, block_out_channels=(16, 32), attention_head_dim=8):
        super().__init__()
        a, b = block_out_channels
        self.time_embedding = nn.Embedding(1000, 4 * a)
        self.conv_in = nn.Conv2d(3, a, 3, padding=1)
        self.down = ResnetBlock(a, b, 4 * a)
        self.downsample = nn.Conv2d(b, b, 3, stride=2, padding=1)
        self.mid_attention = AttentionBlock(b, num_head_channels=attention_head_dim)
        self.up = ResnetBlock(2 * b, a, 4 * a)
        self.conv_out = nn.Conv2d(a, 3, 3, padding=1)

    def forward(self, sample, timestep):
        temb = self.time_embedding(timestep)
        skip = self.down(self.conv_in(sample), temb)
        x = self.mid_attention(self.downsample(skip))
        x = F.interpolate(x, scale_factor=2.0, mode='nearest')
        return self.conv_out(self.up(torch.cat([x, skip], dim=1), temb))


def add_noise(clean, noise, timesteps):
    alphas_cumprod = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)[timesteps].view(-1, 1, 1, 1)
    return alphas_cumprod.sqrt() * clean + (1 - alphas_cumprod).sqrt() * noise


def build():
    torch.manual_seed(0)
    return UNet2DModel()


def step(model):
    g = torch.Generator().manual_seed(1)
    clean_images = torch.rand(4, 3, 16, 16, generator=g) * 2 - 1
    noise = torch.randn(clean_images.shape, generator=g)
    timesteps = torch.randint(0, 1000, (4,), generator=g)
    noise_pred = model(add_noise(clean_images, noise, timesteps), timesteps)
    return F.mse_loss(noise_pred, noise)


TRUTH = dict(raises='RuntimeError', at='function:reshape', culprits=['function:reshape', 'mid_attention'], dim=0, got=16, wanted=4,
             hint_any=['//', '4', 'batch', 'divide'])
MENDED = [('.reshape(batch_size, seq_len, dim * head_size)', '.reshape(batch_size // head_size, seq_len, dim * head_size)')]
