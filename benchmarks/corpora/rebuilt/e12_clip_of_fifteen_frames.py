import torch
import torch.nn as nn
import torch.nn.functional as F

SOURCE = 'https://github.com/MichiganCOG/ViP/issues/47 (also DavideA/c3d-pytorch#10)'
CATEGORY = 'layer'
DESCRIPTION = 'C3D halves the time four times and so needs 16 frames; with clips of 15 the last pooling has one frame left.'

cfg = dict(model='C3D', dataset='HMDB51', labels=51, clip_length=15, clip_offset=0, clip_stride=1, crop_shape=(56, 56), batch_size=2)


class C3D(nn.Module):
    def __init__(self, labels, width=8):
        super().__init__()
        w = width
        self.conv1 = nn.Conv3d(3, w, kernel_size=(3, 3, 3), padding=(1, 1, 1))
        self.pool1 = nn.MaxPool3d(kernel_size=(1, 2, 2), stride=(1, 2, 2))
        self.conv2 = nn.Conv3d(w, 2 * w, kernel_size=(3, 3, 3), padding=(1, 1, 1))
        self.pool2 = nn.MaxPool3d(kernel_size=(2, 2, 2), stride=(2, 2, 2))
        self.conv3a = nn.Conv3d(2 * w, 4 * w, kernel_size=(3, 3, 3), padding=(1, 1, 1))
        self.conv3b = nn.Conv3d(4 * w, 4 * w, kernel_size=(3, 3, 3), padding=(1, 1, 1))
        self.pool3 = nn.MaxPool3d(kernel_size=(2, 2, 2), stride=(2, 2, 2))
        self.conv4a = nn.Conv3d(4 * w, 8 * w, kernel_size=(3, 3, 3), padding=(1, 1, 1))
        self.conv4b = nn.Conv3d(8 * w, 8 * w, kernel_size=(3, 3, 3), padding=(1, 1, 1))
        self.pool4 = nn.MaxPool3d(kernel_size=(2, 2, 2), stride=(2, 2, 2))
        self.conv5a = nn.Conv3d(8 * w, 8 * w, kernel_size=(3, 3, 3), padding=(1, 1, 1))
        self.conv5b = nn.Conv3d(8 * w, 8 * w, kernel_size=(3, 3, 3), padding=(1, 1, 1))
        self.pool5 = nn.MaxPool3d(kernel_size=(2, 2, 2), stride=(2, 2, 2), padding=(0, 1, 1))
        self.fc6 = nn.Linear(8 * w * 4, 64)
        self.fc7 = nn.Linear(64, 64)
        self.fc8 = nn.Linear(64, labels)
        self.dropout = nn.Dropout(p=0.5)
        self.relu = nn.ReLU()

    def forward(self, x):
        h = self.pool1(self.relu(self.conv1(x)))
        h = self.pool2(self.relu(self.conv2(h)))
        h = self.relu(self.conv3a(h))
        h = self.pool3(self.relu(self.conv3b(h)))
        h = self.relu(self.conv4a(h))
        h = self.pool4(self.relu(self.conv4b(h)))
        h = self.relu(self.conv5a(h))
        h = self.pool5(self.relu(self.conv5b(h)))
        h = h.view(h.size(0), -1)
        h = self.dropout(self.relu(self.fc6(h)))
        h = self.dropout(self.relu(self.fc7(h)))
        return self.fc8(h)


class PreprocessTrainC3D:
    """Cuts a clip out of the video, crops every frame, gives (C, T, H, W)."""

    def __init__(self, clip_length, clip_offset, clip_stride, crop_shape, **_):
        self.length, self.offset, self.stride, self.crop = clip_length, clip_offset, clip_stride, crop_shape

    def __call__(self, video):
        idx = self.offset + self.stride * torch.arange(self.length)
        clip = video[idx % len(video)].float() / 255
        h, w = self.crop
        top, left = (clip.shape[1] - h) // 2, (clip.shape[2] - w) // 2
        clip = clip[:, top:top + h, left:left + w]
        clip = (clip - clip.mean()) / (clip.std() + 1e-5)
        return clip.permute(3, 0, 1, 2)


def build():
    return C3D(cfg['labels'])


def step(model):
    transform = PreprocessTrainC3D(**cfg)
    videos = [torch.randint(0, 256, (n, 64, 86, 3), dtype=torch.uint8) for n in (40, 33)]
    data = torch.stack([transform(v) for v in videos])
    annotation = torch.randint(0, cfg['labels'], (cfg['batch_size'],))
    outputs = model(data)
    return F.cross_entropy(outputs, annotation)


# real fix: clip_length of at least 16 (the loader loops shorter clips)
# offending tensor: input of pool5 (2, 64, 1, 3, 3), two frames needed
TRUTH = dict(raises='RuntimeError', at='module:pool5', culprits=['input', 'pool4', 'pool2', 'pool3', 'pool5'], dim=2, got=1, wanted=2,
             hint_any=['frames', 'too small', 'clip', 'depth', 'longer', '16'])
MENDED = [('clip_length=15', 'clip_length=16')]
