import torch
import torch.nn as nn

SOURCE = 'https://github.com/fungtion/DRCN/issues/3'
CATEGORY = 'loss'
DESCRIPTION = 'Reconstruction as help for another domain: the flat copy of the pictures gets a name of its own, the loss is given the pictures.'

image_size = 32
m_lambda = 0.7


class DRCN(nn.Module):
    def __init__(self, n_class):
        super(DRCN, self).__init__()
        self.enc_feat = nn.Sequential()
        self.enc_feat.add_module('conv1', nn.Conv2d(in_channels=1, out_channels=10, kernel_size=5, padding=2))
        self.enc_feat.add_module('relu1', nn.ReLU())
        self.enc_feat.add_module('pool1', nn.MaxPool2d(kernel_size=2, stride=2))
        self.enc_feat.add_module('conv2', nn.Conv2d(in_channels=10, out_channels=15, kernel_size=5, padding=2))
        self.enc_feat.add_module('relu2', nn.ReLU())
        self.enc_feat.add_module('pool2', nn.MaxPool2d(kernel_size=2, stride=2))

        self.enc_dense = nn.Sequential()
        self.enc_dense.add_module('fc4', nn.Linear(in_features=15 * 8 * 8, out_features=64))
        self.enc_dense.add_module('relu4', nn.ReLU())

        self.pred = nn.Sequential()
        self.pred.add_module('dropout6', nn.Dropout())
        self.pred.add_module('predict6', nn.Linear(in_features=64, out_features=n_class))

        self.rec_dense = nn.Sequential()
        self.rec_dense.add_module('fc4_', nn.Linear(in_features=64, out_features=15 * 8 * 8))
        self.rec_dense.add_module('relu4_', nn.ReLU())

        self.rec_feat = nn.Sequential()
        self.rec_feat.add_module('conv2_', nn.Conv2d(in_channels=15, out_channels=10, kernel_size=5, padding=2))
        self.rec_feat.add_module('relu2_', nn.ReLU())
        self.rec_feat.add_module('pool2_', nn.Upsample(scale_factor=2))
        self.rec_feat.add_module('conv1_', nn.Conv2d(in_channels=10, out_channels=10, kernel_size=5, padding=2))
        self.rec_feat.add_module('relu1_', nn.ReLU())
        self.rec_feat.add_module('pool1_', nn.Upsample(scale_factor=2))
        self.rec_feat.add_module('conv0_', nn.Conv2d(in_channels=10, out_channels=1, kernel_size=5, padding=2))

    def forward(self, input_data):
        feat = self.enc_feat(input_data)
        feat = feat.view(-1, 15 * 8 * 8)
        feat_code = self.enc_dense(feat)

        pred_label = self.pred(feat_code)

        feat_encode = self.rec_dense(feat_code)
        feat_encode = feat_encode.view(-1, 15, 8, 8)
        img_rec = self.rec_feat(feat_encode)

        return pred_label, img_rec


def build():
    torch.manual_seed(0)
    return DRCN(n_class=10)


def target_domain(n=32):
    return torch.rand(n, 1, image_size, image_size), torch.randint(0, 10, (n,))


def source_domain(n=32):
    return torch.rand(n, 1, image_size, image_size), torch.randint(0, 10, (n, 1))


def step(my_net):
    loss_class = nn.CrossEntropyLoss()
    loss_rec = nn.MSELoss()

    # training label classifier
    s_img, s_label = source_domain()
    s_label = s_label.long().squeeze()
    pred_label, _ = my_net(input_data=s_img)
    err_class = m_lambda * loss_class(pred_label, s_label)

    # train reconstruction
    inputv_img, _ = target_domain()
    _, rec_img = my_net(input_data=inputv_img)
    rec_img = rec_img.view(-1, 1 * image_size * image_size)
    inputv_img_img = inputv_img.contiguous().view(-1, 1 * image_size * image_size)
    err_rec = (1 - m_lambda) * loss_rec(rec_img, inputv_img)

    return err_class + err_rec


# real fix: the flat pictures are the target
TRUTH = dict(raises='RuntimeError', at='loss:mse_loss', culprits=['target', 'function:view'], dim=None, got=None, wanted=None,
             hint_any=['1024', 'flat', '32', 'view'])
MENDED = [('loss_rec(rec_img, inputv_img)', 'loss_rec(rec_img, inputv_img_img)')]
