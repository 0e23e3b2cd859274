import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/huggingface/diffusers/pull/13441'
CATEGORY = 'layer'
DESCRIPTION = ('DreamBooth of an image flow transformer with prior preservation: prediction and target are cut into the instance and the class half, '
               'the weights of the time steps are left for the whole batch.')


class args:
    with_prior_preservation = True
    prior_loss_weight = 1.0
    train_batch_size = 2
    weighting_scheme = 'sigma_sqrt'
    num_train_timesteps = 50


class FlowMatchScheduler:
    def __init__(self, num_train_timesteps):
        self.sigmas = torch.linspace(1.0, 1.0 / num_train_timesteps, num_train_timesteps)
        self.timesteps = self.sigmas * num_train_timesteps


def get_sigmas(scheduler, timesteps, n_dim=4):
    step_indices = [(scheduler.timesteps == t).nonzero().item() for t in timesteps]
    sigma = scheduler.sigmas[step_indices].flatten()
    while len(sigma.shape) < n_dim:
        sigma = sigma.unsqueeze(-1)
    return sigma


def compute_loss_weighting_for_sd3(weighting_scheme, sigmas):
    if weighting_scheme == 'sigma_sqrt':
        return (sigmas ** -2.0).float()
    if weighting_scheme == 'cosmap':
        return 2 / (torch.pi * (1 - 2 * sigmas + 2 * sigmas ** 2))
    return torch.ones_like(sigmas)


def collate_fn(examples, with_prior_preservation=False):
    pixel_values = [example['instance_images'] for example in examples]
    prompts = [example['instance_prompt'] for example in examples]
    if with_prior_preservation:
        pixel_values += [example['class_images'] for example in examples]
        prompts += [example['class_prompt'] for example in examples]
    return {'pixel_values': torch.stack(pixel_values), 'prompts': torch.stack(prompts)}


class Block(nn.Module):
    def __init__(self, dim, heads=4):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, elementwise_affine=False), nn.LayerNorm(dim, elementwise_affine=False)
        self.img_mod = nn.Linear(dim, 4 * dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ff = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x, text, temb):
        s1, g1, s2, g2 = self.img_mod(F.silu(temb)).unsqueeze(1).chunk(4, dim=-1)
        h = self.norm1(x) * (1 + s1)
        joint = torch.cat([text, h], dim=1)
        x = x + g1 * self.attn(h, joint, joint, need_weights=False)[0]
        return x + g2 * self.ff(self.norm2(x) * (1 + s2))


class Transformer2DModel(nn.Module):
    def __init__(self, channels=4, patch=2, dim=32, text_dim=16, layers=2):
        super().__init__()
        self.channels, self.patch = channels, patch
        self.img_in = nn.Linear(channels * patch * patch, dim)
        self.txt_in = nn.Linear(text_dim, dim)
        self.time_embed = nn.Sequential(nn.Linear(1, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.transformer_blocks = nn.ModuleList([Block(dim) for _ in range(layers)])
        self.proj_out = nn.Linear(dim, channels * patch * patch)

    def forward(self, latents, timestep, encoder_hidden_states):
        b, c, h, w = latents.shape
        p = self.patch
        x = latents.view(b, c, h // p, p, w // p, p).permute(0, 2, 4, 1, 3, 5).reshape(b, (h // p) * (w // p), c * p * p)
        x, text, temb = self.img_in(x), self.txt_in(encoder_hidden_states), self.time_embed(timestep[:, None])
        for block in self.transformer_blocks:
            x = block(x, text, temb)
        x = self.proj_out(x).view(b, h // p, w // p, c, p, p).permute(0, 3, 1, 4, 2, 5)
        return x.reshape(b, c, h, w)


class Trainer(nn.Module):
    def __init__(self):
        super().__init__()
        self.vae_encoder = nn.Conv2d(3, 4, 4, stride=4)
        self.transformer = Transformer2DModel()
        self.vae_encoder.requires_grad_(False)

    def training_loss(self, batch, noise_scheduler):
        model_input = self.vae_encoder(batch['pixel_values'])
        noise = torch.randn_like(model_input)
        bsz = model_input.shape[0]
        indices = torch.randint(0, args.num_train_timesteps, (bsz,))
        timesteps = noise_scheduler.timesteps[indices]
        sigmas = get_sigmas(noise_scheduler, timesteps, n_dim=model_input.ndim)
        noisy_model_input = (1.0 - sigmas) * model_input + sigmas * noise
        model_pred = self.transformer(noisy_model_input, timesteps / 1000, batch['prompts'])
        weighting = compute_loss_weighting_for_sd3(args.weighting_scheme, sigmas)
        target = noise - model_input
        if args.with_prior_preservation:
            model_pred, model_pred_prior = torch.chunk(model_pred, 2, dim=0)
            target, target_prior = torch.chunk(target, 2, dim=0)
            prior_loss = torch.mean(
                (weighting.float() * (model_pred_prior.float() - target_prior.float()) ** 2).reshape(target_prior.shape[0], -1), 1).mean()
        loss = torch.mean((weighting.float() * (model_pred.float() - target.float()) ** 2).reshape(target.shape[0], -1), 1).mean()
        if args.with_prior_preservation:
            loss = loss + args.prior_loss_weight * prior_loss
        return loss


def build():
    torch.manual_seed(0)
    return Trainer()


def step(model):
    torch.manual_seed(1)
    instance_prompt, class_prompt = torch.randn(6, 16), torch.randn(6, 16)
    examples = [dict(instance_images=torch.randn(3, 32, 32), instance_prompt=instance_prompt,
                     class_images=torch.randn(3, 32, 32), class_prompt=class_prompt) for _ in range(args.train_batch_size)]
    batch = collate_fn(examples, args.with_prior_preservation)
    return model.training_loss(batch, FlowMatchScheduler(args.num_train_timesteps))


# real fix: weighting, weighting_prior = torch.chunk(weighting, 2, dim=0)
# offending tensor: weighting (4, 1, 1, 1) beside the halves (2, 4, 8, 8)
TRUTH = dict(raises='RuntimeError', at='function:mul', culprits=['function:chunk'], dim=0, got=4, wanted=2, hint_any=['chunk', '4', 'half', 'batch'])
MENDED = [('torch.chunk(target, 2, dim=0)\n', 'torch.chunk(target, 2, dim=0)\n            weighting, weighting_prior = torch.chunk(weighting, 2, dim=0)\n'),
          ('(weighting.float() * (model_pred_prior', '(weighting_prior.float() * (model_pred_prior')]
