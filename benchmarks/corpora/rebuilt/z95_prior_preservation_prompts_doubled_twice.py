import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/diffusers/pull/13415 (issue 13292)'
CATEGORY = 'layer'
DESCRIPTION = ('DreamBooth LoRA of a flow transformer with prior preservation: prompt_embeds already holds instance and class prompt, '
               'it is repeated len(prompts) times although collate_fn doubled the prompts too: 8 text rows for 4 latents.')


class Args:
    with_prior_preservation = True
    prior_loss_weight = 1.0
    train_batch_size = 2
    instance_prompt, class_prompt = 'a photo of sks dog', 'a photo of dog'


class TextEncoder(nn.Module):
    def __init__(self, dim, max_length=6):
        super().__init__()
        self.token = nn.Embedding(128, dim)
        self.max_length = max_length

    def forward(self, prompts):
        ids = torch.tensor([[ord(c) % 128 for c in p.ljust(self.max_length)[:self.max_length]] for p in prompts])
        return self.token(ids)


class SingleBlock(nn.Module):
    def __init__(self, dim, heads=4):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.proj = nn.Linear(dim, dim)

    def forward(self, hidden_states, temb):
        h = self.norm(hidden_states) + temb.unsqueeze(1)
        return hidden_states + self.proj(self.attn(h, h, h, need_weights=False)[0])


class Transformer2DModel(nn.Module):
    def __init__(self, in_channels=16, dim=32, layers=2):
        super().__init__()
        self.x_embedder = nn.Linear(in_channels, dim)
        self.context_embedder = nn.Linear(24, dim)
        self.time_embed = nn.Sequential(nn.Linear(1, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.blocks = nn.ModuleList([SingleBlock(dim) for _ in range(layers)])
        self.proj_out = nn.Linear(dim, in_channels)

    def forward(self, hidden_states, encoder_hidden_states, timestep):
        temb = self.time_embed(timestep.view(-1, 1))
        num_txt = encoder_hidden_states.shape[1]
        x = torch.cat([self.context_embedder(encoder_hidden_states), self.x_embedder(hidden_states)], dim=1)
        for block in self.blocks:
            x = block(x, temb)
        return self.proj_out(x[:, num_txt:])


class Pipeline(nn.Module):
    def __init__(self):
        super().__init__()
        self.text_encoder = TextEncoder(24).requires_grad_(False)
        self.transformer = Transformer2DModel()


def collate_fn(examples, with_prior_preservation=False):
    latents = [e['instance_latents'] for e in examples]
    prompts = [e['instance_prompt'] for e in examples]
    if with_prior_preservation:
        latents += [e['class_latents'] for e in examples]
        prompts += [e['class_prompt'] for e in examples]
    return {'latents': torch.stack(latents), 'prompts': prompts}


def pack_latents(latents):
    b, c, h, w = latents.shape
    latents = latents.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return latents.reshape(b, (h // 2) * (w // 2), c * 4)


def build():
    return Pipeline()


def step(model, args=Args()):
    examples = [dict(instance_latents=torch.randn(4, 8, 8), class_latents=torch.randn(4, 8, 8), instance_prompt=args.instance_prompt,
                     class_prompt=args.class_prompt) for _ in range(args.train_batch_size)]
    with torch.no_grad():
        prompt_embeds = model.text_encoder([args.instance_prompt])
        if args.with_prior_preservation:
            prompt_embeds = torch.cat([prompt_embeds, model.text_encoder([args.class_prompt])], dim=0)

    batch = collate_fn(examples, args.with_prior_preservation)
    prompts = batch['prompts']
    num_repeat_elements = len(prompts)
    prompt_embeds = prompt_embeds.repeat_interleave(num_repeat_elements, dim=0)

    model_input = pack_latents(batch['latents'])
    noise = torch.randn_like(model_input)
    sigmas = torch.rand(model_input.shape[0])
    noisy = (1 - sigmas.view(-1, 1, 1)) * model_input + sigmas.view(-1, 1, 1) * noise
    model_pred = model.transformer(noisy, prompt_embeds, sigmas)
    target = noise - model_input
    model_pred, model_pred_prior = model_pred.chunk(2, dim=0)
    target, target_prior = target.chunk(2, dim=0)
    return F.mse_loss(model_pred, target) + args.prior_loss_weight * F.mse_loss(model_pred_prior, target_prior)


# the fix: len(prompts) // 2 with prior preservation
TRUTH = dict(raises='RuntimeError', at='function:cat', culprits=['function:repeat_interleave'], dim=0, got=8, wanted=4,
             hint_any=['repeat', 'prompt', 'batch'])
MENDED = [('num_repeat_elements = len(prompts)\n', 'num_repeat_elements = len(prompts) // 2\n')]
