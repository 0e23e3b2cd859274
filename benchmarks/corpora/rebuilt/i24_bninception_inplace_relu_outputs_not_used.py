import torch
import torch.nn as nn

SOURCE = 'https://github.com/Cadene/pretrained-models.pytorch/issues/79'
CATEGORY = 'correct'
DESCRIPTION = 'BN-Inception ported from Caffe: the outputs of the ReLUs are never used, the batch norm outputs are concatenated; the ReLUs work in place, so these are rectified all the same.'


class BNInception(nn.Module):
    def __init__(self, num_classes=8):
        super().__init__()
        inplace = True
        self.conv1_7x7_s2 = nn.Conv2d(3, 12, kernel_size=7, stride=2, padding=3)
        self.conv1_7x7_s2_bn = nn.BatchNorm2d(12)
        self.conv1_relu_7x7 = nn.ReLU(inplace)
        self.pool1_3x3_s2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception_3a_1x1 = nn.Conv2d(12, 8, kernel_size=1)
        self.inception_3a_1x1_bn = nn.BatchNorm2d(8)
        self.inception_3a_relu_1x1 = nn.ReLU(inplace)
        self.inception_3a_3x3_reduce = nn.Conv2d(12, 8, kernel_size=1)
        self.inception_3a_3x3_reduce_bn = nn.BatchNorm2d(8)
        self.inception_3a_relu_3x3_reduce = nn.ReLU(inplace)
        self.inception_3a_3x3 = nn.Conv2d(8, 8, kernel_size=3, padding=1)
        self.inception_3a_3x3_bn = nn.BatchNorm2d(8)
        self.inception_3a_relu_3x3 = nn.ReLU(inplace)
        self.inception_3a_double_3x3_reduce = nn.Conv2d(12, 8, kernel_size=1)
        self.inception_3a_double_3x3_reduce_bn = nn.BatchNorm2d(8)
        self.inception_3a_relu_double_3x3_reduce = nn.ReLU(inplace)
        self.inception_3a_double_3x3_1 = nn.Conv2d(8, 12, kernel_size=3, padding=1)
        self.inception_3a_double_3x3_1_bn = nn.BatchNorm2d(12)
        self.inception_3a_relu_double_3x3_1 = nn.ReLU(inplace)
        self.inception_3a_double_3x3_2 = nn.Conv2d(12, 12, kernel_size=3, padding=1)
        self.inception_3a_double_3x3_2_bn = nn.BatchNorm2d(12)
        self.inception_3a_relu_double_3x3_2 = nn.ReLU(inplace)
        self.inception_3a_pool = nn.AvgPool2d(3, stride=1, padding=1, ceil_mode=True, count_include_pad=True)
        self.inception_3a_pool_proj = nn.Conv2d(12, 4, kernel_size=1)
        self.inception_3a_pool_proj_bn = nn.BatchNorm2d(4)
        self.inception_3a_relu_pool_proj = nn.ReLU(inplace)
        self.last_linear = nn.Linear(32, num_classes)

    def features(self, input):
        conv1_out = self.conv1_7x7_s2(input)
        conv1_bn_out = self.conv1_7x7_s2_bn(conv1_out)
        conv1_relu_out = self.conv1_relu_7x7(conv1_bn_out)
        pool1_out = self.pool1_3x3_s2(conv1_bn_out)
        inception_3a_1x1_out = self.inception_3a_1x1(pool1_out)
        inception_3a_1x1_bn_out = self.inception_3a_1x1_bn(inception_3a_1x1_out)
        inception_3a_relu_1x1_out = self.inception_3a_relu_1x1(inception_3a_1x1_bn_out)
        inception_3a_3x3_reduce_out = self.inception_3a_3x3_reduce(pool1_out)
        inception_3a_3x3_reduce_bn_out = self.inception_3a_3x3_reduce_bn(inception_3a_3x3_reduce_out)
        inception_3a_relu_3x3_reduce_out = self.inception_3a_relu_3x3_reduce(inception_3a_3x3_reduce_bn_out)
        inception_3a_3x3_out = self.inception_3a_3x3(inception_3a_3x3_reduce_bn_out)
        inception_3a_3x3_bn_out = self.inception_3a_3x3_bn(inception_3a_3x3_out)
        inception_3a_relu_3x3_out = self.inception_3a_relu_3x3(inception_3a_3x3_bn_out)
        inception_3a_double_3x3_reduce_out = self.inception_3a_double_3x3_reduce(pool1_out)
        inception_3a_double_3x3_reduce_bn_out = self.inception_3a_double_3x3_reduce_bn(inception_3a_double_3x3_reduce_out)
        inception_3a_relu_double_3x3_reduce_out = self.inception_3a_relu_double_3x3_reduce(inception_3a_double_3x3_reduce_bn_out)
        inception_3a_double_3x3_1_out = self.inception_3a_double_3x3_1(inception_3a_double_3x3_reduce_bn_out)
        inception_3a_double_3x3_1_bn_out = self.inception_3a_double_3x3_1_bn(inception_3a_double_3x3_1_out)
        inception_3a_relu_double_3x3_1_out = self.inception_3a_relu_double_3x3_1(inception_3a_double_3x3_1_bn_out)
        inception_3a_double_3x3_2_out = self.inception_3a_double_3x3_2(inception_3a_double_3x3_1_bn_out)
        inception_3a_double_3x3_2_bn_out = self.inception_3a_double_3x3_2_bn(inception_3a_double_3x3_2_out)
        inception_3a_relu_double_3x3_2_out = self.inception_3a_relu_double_3x3_2(inception_3a_double_3x3_2_bn_out)
        inception_3a_pool_out = self.inception_3a_pool(pool1_out)
        inception_3a_pool_proj_out = self.inception_3a_pool_proj(inception_3a_pool_out)
        inception_3a_pool_proj_bn_out = self.inception_3a_pool_proj_bn(inception_3a_pool_proj_out)
        inception_3a_relu_pool_proj_out = self.inception_3a_relu_pool_proj(inception_3a_pool_proj_bn_out)
        return torch.cat([inception_3a_1x1_bn_out, inception_3a_3x3_bn_out, inception_3a_double_3x3_2_bn_out,
                          inception_3a_pool_proj_bn_out], 1)

    def logits(self, features):
        return self.last_linear(features.mean((2, 3)))

    def forward(self, input):
        return self.logits(self.features(input))


def build():
    return BNInception()


def step(model):
    images, labels = torch.randn(8, 3, 48, 48), torch.randint(0, 8, (8,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss = nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


TRUTH = dict(raises=None, at=None, culprits=[], dim=None, got=None, wanted=None, hint_any=[])
