import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/lucidrains/vit-pytorch/issues/232'
CATEGORY = 'loss'
DESCRIPTION = 'Distilling a two-class teacher into a student built with the num_classes=1000 of the README.'


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, dim * 3, bias=False)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = (t.view(b, n, self.heads, d // self.heads).transpose(1, 2) for t in self.to_qkv(self.norm(x)).chunk(3, dim=-1))
        attn = (q @ k.transpose(-1, -2) * (d // self.heads) ** -0.5).softmax(dim=-1)
        return self.to_out((attn @ v).transpose(1, 2).reshape(b, n, d))


class DistillableViT(nn.Module):
    def __init__(self, *, image_size, patch_size, num_classes, dim, depth, heads, mlp_dim):
        super().__init__()
        self.dim, self.num_classes, self.p = dim, num_classes, patch_size
        n = (image_size // patch_size) ** 2
        self.to_patch_embedding = nn.Linear(3 * patch_size ** 2, dim)
        self.pos_embedding = nn.Parameter(torch.randn(1, n + 1, dim))
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.layers = nn.ModuleList([nn.ModuleList([
            Attention(dim, heads),
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, mlp_dim), nn.GELU(), nn.Linear(mlp_dim, dim)),
        ]) for _ in range(depth)])
        self.mlp_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, num_classes))

    def forward(self, img, distill_token):
        b, p = img.shape[0], self.p
        x = img.unfold(2, p, p).unfold(3, p, p).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        x = self.to_patch_embedding(x)
        x = torch.cat((self.cls_token.expand(b, -1, -1), x), dim=1) + self.pos_embedding
        x = torch.cat((x, distill_token.expand(b, -1, -1)), dim=1)
        for attn, ff in self.layers:
            x = attn(x) + x
            x = ff(x) + x
        return self.mlp_head(x[:, 0]), x[:, -1]


class SmallResNet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1))
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.stem(x)
        return self.fc(F.relu(x + self.block(x)).mean(dim=(2, 3)))


class DistillWrapper(nn.Module):
    def __init__(self, *, teacher, student, temperature=1., alpha=0.5):
        super().__init__()
        self.teacher = teacher
        self.student = student
        self.temperature, self.alpha = temperature, alpha
        self.distillation_token = nn.Parameter(torch.randn(1, 1, student.dim))
        self.distill_mlp = nn.Sequential(nn.LayerNorm(student.dim), nn.Linear(student.dim, student.num_classes))

    def forward(self, img, labels):
        T = self.temperature
        with torch.no_grad():
            teacher_logits = self.teacher(img)
        student_logits, distill_tokens = self.student(img, self.distillation_token)
        distill_logits = self.distill_mlp(distill_tokens)
        loss = F.cross_entropy(student_logits, labels)
        distill_loss = F.kl_div(F.log_softmax(distill_logits / T, dim=-1),
                                F.softmax(teacher_logits / T, dim=-1).detach(), reduction='batchmean')
        distill_loss *= T ** 2
        return loss * (1 - self.alpha) + distill_loss * self.alpha


def build():
    torch.manual_seed(0)
    teacher = SmallResNet(num_classes=2)
    v = DistillableViT(image_size=32, patch_size=8, num_classes=1000, dim=32, depth=2, heads=4, mlp_dim=64)
    return DistillWrapper(student=v, teacher=teacher, temperature=3)


def step(model):
    data = torch.randn(4, 3, 32, 32)
    target = torch.randint(0, 2, (4,))
    return model(data, target)


# real fix: build the student with num_classes=2, which also sizes distill_mlp
TRUTH = dict(raises='RuntimeError', at='loss:kl_div', culprits=['student.mlp_head.1', 'distill_mlp.1'], dim=1, got=1000, wanted=2,
             hint_any=['num_classes', 'out_features', 'classes', 'teacher', '1000'])
MENDED = [('num_classes=1000', 'num_classes=2')]
