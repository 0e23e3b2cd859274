import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/aimerykong/predictive-filter-flow/issues/12'
CATEGORY = 'silent'
DESCRIPTION = 'Deblurring: features of several stages of a residual network are joined to pixel embeddings, a filter for every pixel makes the sharp picture.'


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, dilation=1):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.downsample = None
        if stride != 1 or cin != cout:
            self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


def dim_red(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 1, bias=False), nn.ReLU(True), nn.BatchNorm2d(cout))


def feats(c):
    return nn.Sequential(
        nn.Conv2d(c, c, 3, padding=1, bias=False), nn.ReLU(True), nn.BatchNorm2d(c),
        nn.Conv2d(c, c, 3, padding=1, bias=False), nn.ReLU(True), nn.BatchNorm2d(c))


class PixelEmbedModel(nn.Module):
    def __init__(self, emb_dimension=32):
        super().__init__()
        self.emb_dimension = emb_dimension
        half = emb_dimension // 2
        self.layer0 = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.layer1 = BasicBlock(8, 16)
        self.layer2 = BasicBlock(16, 24, stride=2)
        self.layer3 = BasicBlock(24, 32, dilation=2)
        self.layer4 = BasicBlock(32, 40, dilation=4)
        self.streamTwo_feats = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.ReLU(True), nn.BatchNorm2d(16),
            nn.Conv2d(16, 16, 3, padding=2, dilation=2, bias=False), nn.ReLU(True), nn.BatchNorm2d(16))
        self.block5_dimRed = dim_red(40, emb_dimension)
        self.block5_feats = feats(emb_dimension)
        self.layer1_dimRed = dim_red(16, half)
        self.layer1_feats = feats(half)
        self.layer2_dimRed = dim_red(24, half)
        self.layer2_feats = feats(half)
        self.layer3_dimRed = dim_red(32, half)
        self.layer3_feats = feats(half)
        self.emb = nn.Sequential(
            nn.Conv2d(emb_dimension + 3 * half + 16, emb_dimension, 3, padding=1, bias=False), nn.ReLU(True), nn.BatchNorm2d(emb_dimension),
            nn.Conv2d(emb_dimension, emb_dimension, 3, padding=1), nn.ReLU(True), nn.BatchNorm2d(emb_dimension))
        self.interp_x4 = nn.Upsample(scale_factor=4, mode='bilinear', align_corners=True)
        self.interp_x8 = nn.Upsample(scale_factor=8, mode='bilinear', align_corners=True)

    def forward(self, inputs):
        out = self.layer0(inputs)
        out_stream2 = self.streamTwo_feats(inputs)

        out = self.layer1(out)
        out_layer1 = self.layer1_dimRed(out)
        out_layer1 = self.interp_x4(out_layer1)
        out_layer1 = self.layer2_feats(out_layer1)

        out = self.layer2(out)
        out_layer2 = self.layer2_dimRed(out)
        out_layer2 = self.interp_x8(out_layer2)
        out_layer2 = self.layer2_feats(out_layer2)

        out = self.layer3(out)
        out_layer3 = self.layer3_dimRed(out)
        out_layer3 = self.interp_x8(out_layer3)
        out_layer3 = self.layer3_feats(out_layer3)

        out = self.layer4(out)
        out = self.block5_dimRed(out)
        out = self.interp_x8(out)
        out = self.block5_feats(out)

        out = torch.cat([out_stream2, out_layer1, out_layer2, out_layer3, out], 1)
        return self.emb(out)


class FilterFlow(nn.Module):
    def __init__(self, kernel_size=5, emb_dimension=32):
        super().__init__()
        self.kernel_size = kernel_size
        self.embedding = PixelEmbedModel(emb_dimension)
        self.filters = nn.Conv2d(emb_dimension, kernel_size ** 2, 1)

    def forward(self, blurry):
        b, c, h, w = blurry.shape
        k = F.softmax(self.filters(self.embedding(blurry)), dim=1)
        patches = F.unfold(blurry, self.kernel_size, padding=self.kernel_size // 2).view(b, c, -1, h, w)
        return (patches * k.unsqueeze(1)).sum(2)


def build():
    return FilterFlow()


def step(model):
    sharp = torch.rand(4, 3, 32, 32)
    blurry = F.avg_pool2d(sharp, 3, 1, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    model.train()
    for _ in range(2):
        loss = F.l1_loss(model(blurry), sharp)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.detach()


# the maps of stage one go through layer2_feats (a copied line); layer1_feats is never called and layer2_feats serves both
TRUTH = dict(raises=None, at=None, culprits=['embedding.layer1_feats', 'embedding.layer2_feats', 'embedding'], dim=None, got=None, wanted=None,
             hint_any=['layer1_feats', 'never called', 'not used', 'unused', 'twice', 'no gradient'])
MENDED = [('out_layer1 = self.layer2_feats(out_layer1)', 'out_layer1 = self.layer1_feats(out_layer1)')]
