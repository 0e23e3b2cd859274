import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/instantX-research/InstantID/issues/115'
CATEGORY = 'layer'
DESCRIPTION = 'Region mask of an image-prompt adapter is shrunk by a ratio computed from query.shape[1], which is the heads after the split.'


class RegionControler:
    def __init__(self):
        self.prompt_image_conditioning = []


region_control = RegionControler()


class CrossAttention(nn.Module):
    def __init__(self, query_dim, context_dim, heads):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(query_dim, query_dim, bias=False)
        self.to_k = nn.Linear(context_dim, query_dim, bias=False)
        self.to_v = nn.Linear(context_dim, query_dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(query_dim, query_dim), nn.Dropout(0.)])
        self.processor = None

    def forward(self, hidden_states, encoder_hidden_states):
        return self.processor(self, hidden_states, encoder_hidden_states)


class IPAttnProcessor2_0(nn.Module):
    def __init__(self, hidden_size, cross_attention_dim, scale=0.8, num_tokens=4):
        super().__init__()
        self.scale, self.num_tokens = scale, num_tokens
        self.to_k_ip = nn.Linear(cross_attention_dim, hidden_size, bias=False)
        self.to_v_ip = nn.Linear(cross_attention_dim, hidden_size, bias=False)

    def _attend(self, attn, query, key, value, batch_size, head_dim):
        key = key.view(batch_size, -1, attn.heads, head_dim).transpose(1, 2)
        value = value.view(batch_size, -1, attn.heads, head_dim).transpose(1, 2)
        out = F.scaled_dot_product_attention(query, key, value)
        return out.transpose(1, 2).reshape(batch_size, -1, attn.heads * head_dim)

    def forward(self, attn, hidden_states, encoder_hidden_states):
        residual = hidden_states
        batch_size, channel, height, width = hidden_states.shape
        hidden_states = hidden_states.view(batch_size, channel, height * width).transpose(1, 2)

        query = attn.to_q(hidden_states)
        end_pos = encoder_hidden_states.shape[1] - self.num_tokens
        text, ip = encoder_hidden_states[:, :end_pos], encoder_hidden_states[:, end_pos:]

        head_dim = query.shape[-1] // attn.heads
        query = query.view(batch_size, -1, attn.heads, head_dim).transpose(1, 2)
        hidden_states = self._attend(attn, query, attn.to_k(text), attn.to_v(text), batch_size, head_dim)
        ip_hidden_states = self._attend(attn, query, self.to_k_ip(ip), self.to_v_ip(ip), batch_size, head_dim)

        if len(region_control.prompt_image_conditioning) == 1:
            region_mask = region_control.prompt_image_conditioning[0].get('region_mask', None)
            if region_mask is not None:
                h, w = region_mask.shape[:2]
                ratio = (h * w / query.shape[1]) ** 0.5
                mask = F.interpolate(region_mask[None, None], scale_factor=1 / ratio, mode='nearest').reshape([1, -1, 1])
            else:
                mask = torch.ones_like(ip_hidden_states)
            ip_hidden_states = ip_hidden_states * mask

        hidden_states = hidden_states + self.scale * ip_hidden_states
        for m in attn.to_out:
            hidden_states = m(hidden_states)
        return hidden_states.transpose(-1, -2).reshape(batch_size, channel, height, width) + residual


class TinyUNet(nn.Module):
    def __init__(self, ch=32, ctx=24, heads=4):
        super().__init__()
        self.conv_in = nn.Conv2d(4, ch, 3, padding=1)
        self.attn1 = CrossAttention(ch, ctx, heads)
        self.down = nn.Conv2d(ch, ch, 3, stride=2, padding=1)
        self.attn2 = CrossAttention(ch, ctx, heads)
        self.up = nn.ConvTranspose2d(ch, ch, 2, stride=2)
        self.conv_out = nn.Conv2d(ch, 4, 3, padding=1)

    def set_ip_adapter(self, ctx=24):
        for attn in (self.attn1, self.attn2):
            attn.processor = IPAttnProcessor2_0(attn.to_q.out_features, ctx)

    def forward(self, x, ctx):
        h = self.attn1(self.conv_in(x), ctx)
        m = self.attn2(self.down(h), ctx)
        return self.conv_out(h + self.up(m))


def build():
    torch.manual_seed(0)
    unet = TinyUNet()
    unet.set_ip_adapter()
    return unet


def step(model):
    region_mask = torch.zeros(64, 64)
    region_mask[16:48, 8:40] = 1.
    region_control.prompt_image_conditioning = [dict(region_mask=region_mask)]
    latents, noise = torch.randn(4, 4, 16, 16), torch.randn(4, 4, 16, 16)
    prompt, face = torch.randn(4, 7, 24), torch.randn(4, 4, 24)
    return F.mse_loss(model(latents + noise, torch.cat([prompt, face], dim=1)), noise)


# real fix: query.shape[2] (the tokens) in the ratio; the mask comes out as (1, 4, 1) where (1, 256, 1) is needed
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['function:interpolate'], dim=1, got=4, wanted=256,
             hint_any=['interpolate', 'mask', 'ratio', 'scale_factor', 'head', '256', '16'])
MENDED = [('(h * w / query.shape[1])', '(h * w / query.shape[2])')]
