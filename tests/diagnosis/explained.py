"""Diagnoses of every kind, built by hand, for the tests of their text."""

from __future__ import annotations

from shapetrace.records import Culprit, Diagnosis, Fix, Operand, Source, Step

FILE = "/home/someone/train.py"
VISION = "/venv/lib/python3.12/site-packages/torchvision/transforms/functional.py"


def at(line, function="", column=None, end=None, last=None, file=FILE, cell=None):
    return Source(file, line, function, last or line, column, end, cell)


LAYER = Diagnosis(
    code="failure",
    severity="error",
    message="`fc2` (Linear) failed: dim 1 of the input is 400, its in_features is 256.",
    where="module:fc2",
    module="fc2",
    source=at(21, "Net.forward", 15, 26),
    excerpt=("        return self.fc2(x).relu()",),
    operands=(
        Operand("input", (8, 400), "float32", 1, "from flatten", at(20)),
        Operand("parameter", (10, 256), "float32", 1, "`fc2.weight`"),
    ),
    lineage=(
        Step("flatten", "function", (8, 400), 1, "400 = 16·5·5", at(20), module=""),
        Step("pool", "MaxPool2d", (8, 16, 5, 5), 2, "computes it", at(19), "pool"),
        Step("conv2", "Conv2d", (8, 16, 10, 10), 2, "computes it", at(19), "conv2"),
        Step("pad", "function", (8, 3, 32, 32), 2, "pads it", at(9, file=VISION)),
        Step("crop", "function", (8, 3, 30, 30), 2, "takes a part", at(7, file=VISION)),
    ),
    culprits=(
        Culprit("module", "fc2", 1, 256, 400, at(12), "has in_features=256", 0.93),
        Culprit(
            "input", "input made by rand at train.py:30", 2, 32, 28, at(30), "", 0.05
        ),
    ),
    fixes=(
        Fix(
            "self.fc2 = nn.Linear(400, 10)",
            "verified",
            "in_features=400 instead of 256",
            at(12),
            old="self.fc2 = nn.Linear(256, 10)",
        ),
        Fix(
            "x = F.interpolate(x, 28)",
            "untried",
            "",
            at(18),
            "the resolution",
            "x = x",
        ),
    ),
)

LOSS = Diagnosis(
    code="failure",
    severity="error",
    message="`cross_entropy` failed: the prediction has shape (4, 7, 10), the target "
    "(4, 7); a (4, 10) target is wanted.",
    where="loss:cross_entropy",
    source=at(5, "step", 11, 30, last=7),
    excerpt=(
        "    loss = F.cross_entropy(",
        "        logits,",
        "        y[:, 1:].contiguous())",
    ),
    operands=(
        Operand("prediction", (4, 7, 10), "float32", 1, "from head", at(3)),
        Operand("target", (4, 7), "int64", 1, "made by randint", at(2)),
    ),
    culprits=(
        Culprit(
            "function", "cross_entropy", 1, 7, 10, at(5), "takes classes at dim 1", 0.48
        ),
        Culprit("module", "head", 2, 10, 7, at(3), "puts the classes last", 0.44),
    ),
    fixes=(
        Fix(
            "loss = F.cross_entropy(\n    logits.transpose(1, 2),\n"
            "    y[:, 1:].contiguous())",
            "verified",
            "puts the classes at dim 1",
            at(5, last=7),
            old="loss = F.cross_entropy(\n    logits,\n    y[:, 1:].contiguous())",
        ),
    ),
    remarks=("PyTorch said: RuntimeError: Expected target size [4, 10], got [4, 7]",),
)

SILENT = Diagnosis(
    code="silent-broadcast",
    severity="warning",
    message="mse_loss broadcasts (32,) against (32, 1) to (32, 32).",
    where="loss:mse_loss",
    source=at(26, "step", 11, 34),
    excerpt=("    return F.mse_loss(model(x), y)",),
    operands=(
        Operand("prediction", (32,), "float32"),
        Operand("target", (32, 1), "float32", 1),
    ),
    culprits=(Culprit("function", "squeeze", None, None, None, at(17), "makes (32,)"),),
    fixes=(
        Fix(
            "return F.mse_loss(model(x), y.squeeze(1))",
            where=at(26),
            old="return F.mse_loss(model(x), y)",
        ),
    ),
    remarks=("Where it is meant: # shapetrace: ignore[silent-broadcast]",),
)

NOTE = Diagnosis(
    code="explanation",
    severity="note",
    message="`mse_loss` took a prediction and a target (2, 33). Nothing failed.",
    where="loss:mse_loss",
    lineage=(
        Step("fc", "Linear", (2, 33), 1, "out_features", at(3), "fc", sure=False),
    ),
    culprits=(Culprit("module", "fc", reason="made it"),),
)

NOTEBOOK = Diagnosis(
    code="failure",
    severity="error",
    message="`cat` failed: dim 2 of the first operand is 8, of the second 9.",
    where="function:cat",
    source=at(4, "<module>", 4, 26, file="/tmp/ipykernel_1/2.py", cell=12),
    excerpt=("y = torch.cat([a, b], dim=1)",),
    culprits=(
        Culprit("input", "input made by ones at In [11]:2", 2, 9, 8, None, "", 0.6),
    ),
    fixes=(Fix("b = b[..., :8]", "moved", "then add fails", None, "1 of 9 columns"),),
)

PLAIN = Diagnosis(
    code="failure",
    severity="error",
    message="KeyError in the forward of `Net`: 'image'",
    where="module:",
    source=at(8, "Net.forward"),
    culprits=(Culprit("module", "", reason="looks up 'image'; it was given 'img'"),),
)

EVERY = {
    "layer": LAYER,
    "loss": LOSS,
    "silent": SILENT,
    "note": NOTE,
    "notebook": NOTEBOOK,
    "plain": PLAIN,
}
