import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/vit-pytorch/issues/289'
CATEGORY = 'correct'
DESCRIPTION = 'DeiT distillation: kl_div of log_softmax (student) and detached softmax (teacher), batchmean times T^2, on the extra token; class token for the labels.'


class Attention(nn.Module):
    def __init__(self, dim, heads, dim_head):
        super().__init__()
        self.heads, self.scale = heads, dim_head ** -0.5
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, heads * dim_head * 3, bias=False)
        self.to_out = nn.Linear(heads * dim_head, dim)

    def forward(self, x):
        b, n, _ = x.shape
        qkv = self.to_qkv(self.norm(x)).chunk(3, dim=-1)
        q, k, v = (t.reshape(b, n, self.heads, -1).transpose(1, 2) for t in qkv)
        attn = (torch.matmul(q, k.transpose(-1, -2)) * self.scale).softmax(dim=-1)
        return self.to_out(torch.matmul(attn, v).transpose(1, 2).reshape(b, n, -1))


class Transformer(nn.Module):
    def __init__(self, dim, depth, heads, dim_head, mlp_dim):
        super().__init__()
        self.layers = nn.ModuleList([nn.ModuleList([
            Attention(dim, heads, dim_head),
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, mlp_dim), nn.GELU(), nn.Linear(mlp_dim, dim))]) for _ in range(depth)])

    def forward(self, x):
        for attn, ff in self.layers:
            x = attn(x) + x
            x = ff(x) + x
        return x


class DistillableViT(nn.Module):
    def __init__(self, image_size=32, patch_size=8, num_classes=10, dim=32):
        super().__init__()
        self.p = patch_size
        self.patch_embed = nn.Linear(3 * patch_size ** 2, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.pos_embedding = nn.Parameter(torch.randn(1, (image_size // patch_size) ** 2 + 1, dim))
        self.transformer = Transformer(dim, 2, 4, 8, 64)
        self.mlp_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, num_classes))

    def forward(self, img, distill_token):
        b, c, h, w = img.shape
        x = img.reshape(b, c, h // self.p, self.p, w // self.p, self.p).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, self.p * self.p * c)
        x = torch.cat((self.cls_token.expand(b, -1, -1), self.patch_embed(x)), dim=1) + self.pos_embedding
        x = torch.cat((x, distill_token.expand(b, -1, -1)), dim=1)
        x = self.transformer(x)
        x, distill_tokens = x[:, :-1], x[:, -1]
        return self.mlp_head(x[:, 0]), distill_tokens


class Teacher(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32),
                                 nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(32, num_classes))

    def forward(self, x):
        return self.net(x)


class DistillWrapper(nn.Module):
    def __init__(self, teacher, student, dim=32, num_classes=10, temperature=3., alpha=0.5):
        super().__init__()
        self.teacher, self.student = teacher, student
        self.temperature, self.alpha = temperature, alpha
        self.distillation_token = nn.Parameter(torch.randn(1, 1, dim))
        self.distill_mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, num_classes))

    def train(self, mode=True):
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, img, labels):
        alpha, T = self.alpha, self.temperature
        with torch.no_grad():
            teacher_logits = self.teacher(img)
        student_logits, distill_tokens = self.student(img, distill_token=self.distillation_token)
        distill_logits = self.distill_mlp(distill_tokens)
        loss = F.cross_entropy(student_logits, labels)
        distill_loss = F.kl_div(F.log_softmax(distill_logits / T, dim=-1), F.softmax(teacher_logits / T, dim=-1).detach(),
                                reduction='batchmean')
        distill_loss = distill_loss * T ** 2
        return loss * (1 - alpha) + distill_loss * alpha


def build():
    return DistillWrapper(Teacher(), DistillableViT()).train()


def step(model):
    return model(torch.randn(8, 3, 32, 32), torch.randint(0, 10, (8,)))


TRUTH = dict(raises=None, at=None, culprits=[])
