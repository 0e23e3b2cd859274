"""Recordings built by hand: what the views read, without a model that ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from shapetrace.records import (
    CallError,
    Culprit,
    Diagnosis,
    Fix,
    FunctionCall,
    ModuleCall,
    ModuleInfo,
    Opaque,
    Origin,
    Recording,
    Source,
    Step,
    TensorRef,
)

CPU = torch.device("cpu")
Shape = tuple[int, ...]


@dataclass
class Builder:
    """Writes down calls as they would be entered and left; one clock, ids counted."""

    modules: dict[str, ModuleInfo] = field(default_factory=dict)
    calls: list[ModuleCall] = field(default_factory=list)
    functions: list[FunctionCall] = field(default_factory=list)
    open: list[int] = field(default_factory=list)
    clock: int = 0
    events: int = 0
    ids: int = 0

    def tensor(
        self,
        path: str,
        shape: Shape,
        dtype: torch.dtype = torch.float32,
        device: torch.device = CPU,
    ) -> TensorRef:
        self.ids += 1
        return TensorRef(path, self.ids, shape, dtype, device)

    def module(self, name: str, type: str, *parameters: Shape) -> None:
        own = tuple(
            self.tensor("weight" if at == 0 else "bias", shape)
            for at, shape in enumerate(parameters)
        )
        self.modules[name] = ModuleInfo(name, type, f"torch.nn.{type}", own)

    def refs(self, path: str, shapes: Sequence[Shape]) -> tuple[TensorRef, ...]:
        return tuple(self.tensor(f"{path}[{i}]", s) for i, s in enumerate(shapes))

    def enter(self, name: str, *inputs: Shape, line: int = 20) -> int:
        index = len(self.calls)
        parent = self.open[-1] if self.open else None
        self.events += 1
        type = self.modules[name].type if name in self.modules else "Module"
        self.calls.append(
            ModuleCall(
                index=index,
                parent=parent,
                depth=len(self.open),
                name=name,
                type=type,
                inputs=self.refs("args", inputs),
                outputs=None,
                start_ns=self.clock,
                source=Source("model.py", line, "forward"),
                order=self.events,
            )
        )
        self.open.append(index)
        return index

    def leave(self, *outputs: Shape, own_ns: int = 100_000) -> None:
        self._leave(self.refs("output", outputs), None, own_ns)

    def fail(self, error: CallError) -> None:
        """The exception leaves every call that is open."""
        while self.open:
            self._leave(None, error, 10_000)

    def _leave(
        self,
        outputs: tuple[TensorRef, ...] | None,
        error: CallError | None,
        own_ns: int,
    ) -> None:
        index = self.open.pop()
        self.clock += own_ns
        self.events += 1
        call = self.calls[index]
        total = self.clock - call.start_ns
        self.calls[index] = replace(
            call,
            outputs=outputs,
            error=error,
            duration_ns=total,
            self_ns=call.self_ns + total,
            end_order=self.events,
        )
        if call.parent is not None:
            above = self.calls[call.parent]
            self.calls[call.parent] = replace(above, self_ns=above.self_ns - total)

    def call(self, name: str, given: Shape, made: Shape, own_ns: int = 100_000) -> int:
        index = self.enter(name, given)
        self.leave(made, own_ns=own_ns)
        return index

    def function(
        self,
        name: str,
        inputs: Sequence[Shape],
        outputs: Sequence[Shape] | None,
        error: CallError | None = None,
        line: int = 31,
        direct: bool = True,
    ) -> int:
        self.events += 1
        index = len(self.functions)
        refs = self.refs("args", inputs)
        self.functions.append(
            FunctionCall(
                index=index,
                parent=self.open[-1] if self.open else None,
                name=name,
                qualname=f"torch.nn.functional.{name}",
                inputs=refs,
                outputs=None if outputs is None else self.refs("output", outputs),
                start_ns=self.clock,
                duration_ns=50_000,
                source=Source("train.py", line, "main"),
                error=error,
                args=refs,
                direct=direct,
                order=self.events,
            )
        )
        self.clock += 50_000
        return index

    def recording(self, **changes: object) -> Recording:
        first = self.calls[0].inputs[0].id if self.calls and self.calls[0].inputs else 0
        made = Recording(
            calls=tuple(self.calls),
            functions=tuple(self.functions),
            modules=self.modules,
            origins={first: Origin("outside")} if first else {},
            duration_ns=self.clock,
            torch_version="2.15.0",
        )
        return replace(made, **changes)  # type: ignore[arg-type]


def empty() -> Recording:
    return Builder().recording()


def _cnn_layers(b: Builder) -> None:
    b.module("", "Net")
    b.module("features", "Sequential")
    b.module("features.conv1", "Conv2d", (16, 3, 3, 3), (16,))
    b.module("features.relu", "ReLU")
    b.module("features.pool", "MaxPool2d")
    b.module("fc", "Linear", (73, 4096), (73,))


def small_cnn() -> Recording:
    b = Builder()
    _cnn_layers(b)
    b.enter("", (2, 3, 32, 32), line=40)
    b.enter("features", (2, 3, 32, 32))
    b.call("features.conv1", (2, 3, 32, 32), (2, 16, 32, 32), 900_000)
    b.call("features.relu", (2, 16, 32, 32), (2, 16, 32, 32))
    b.call("features.pool", (2, 16, 32, 32), (2, 16, 16, 16), 200_000)
    b.leave((2, 16, 16, 16))
    b.function("flatten", [(2, 16, 16, 16)], [(2, 4096)])
    b.call("fc", (2, 4096), (2, 73), 400_000)
    b.leave((2, 73))
    return b.recording()


def blocks(count: int = 12, odd: int | None = None) -> Recording:
    """A transformer of alike blocks; the block number `odd` has another width."""
    b = Builder()
    b.module("", "GPT")
    b.module("embed", "Embedding", (1000, 64))
    tokens = b.tensor("args[0]", (1, 10), torch.int64)
    b.enter("")
    b.calls[0] = replace(b.calls[0], inputs=(tokens,))
    b.enter("embed")
    b.calls[1] = replace(b.calls[1], inputs=(tokens,))
    b.leave((1, 10, 64))
    for at in range(count):
        name = f"layers.{at}"
        wide = 128 if at == odd else 256
        b.module(name, "Block")
        b.module(f"{name}.attn", "Attention", (192, 64), (192,))
        b.module(f"{name}.mlp.up", "Linear", (wide, 64), (wide,))
        b.module(f"{name}.mlp.down", "Linear", (64, wide), (64,))
        b.enter(name, (1, 10, 64))
        b.enter(f"{name}.attn", (1, 10, 64))
        b.leave((1, 10, 64), (1, 4, 10, 10), own_ns=700_000)
        b.call(f"{name}.mlp.up", (1, 10, 64), (1, 10, wide), 500_000)
        b.call(f"{name}.mlp.down", (1, 10, wide), (1, 10, 64), 400_000)
        b.leave((1, 10, 64))
    b.module("head", "Linear", (1000, 64))
    b.call("head", (1, 10, 64), (1, 10, 1000), 1_500_000)
    b.leave((1, 10, 1000))
    return b.recording()


def failed_loss() -> tuple[Recording, Diagnosis]:
    """A3: an MLP gives 73 numbers, the target has 33."""
    b = Builder()
    b.module("", "MLP")
    b.module("fc1", "Linear", (50, 100), (50,))
    b.module("relu", "ReLU")
    b.module("fc2", "Linear", (73, 50), (73,))
    b.enter("", (2, 100))
    b.call("fc1", (2, 100), (2, 50))
    b.call("relu", (2, 50), (2, 50))
    culprit = b.call("fc2", (2, 50), (2, 73))
    b.leave((2, 73))
    error = CallError(
        "RuntimeError",
        "The size of tensor a (73) must match the size of tensor b (33) at"
        " non-singleton dimension 1",
        7,
    )
    loss = b.function("mse_loss", [(2, 73), (2, 33)], None, error)
    b.function("broadcast_tensors", [(2, 73), (2, 33)], None, error)
    where = Source("train.py", 31, "main", 31, 8, 40)
    step = Step("fc2", "Linear", (2, 73), 1, "out_features", module="fc2", call=culprit)
    diagnosis = Diagnosis(
        code="failure",
        severity="error",
        message="mse_loss got predictions of shape (2, 73) and targets of (2, 33).",
        where="loss:mse_loss",
        source=where,
        culprits=(Culprit("module", "fc2", 1, 73, 33, where, "its out_features", 0.9),),
        lineage=(step,),
        fixes=(
            Fix("self.fc2 = nn.Linear(50, 33)", "verified", "", where, "its weights"),
        ),
        text="mse_loss got (2, 73) and (2, 33).\n\n  fc2  Linear  (2, <73>)\n",
        function=loss,
    )
    return b.recording(error=error), diagnosis


def failed_layer() -> tuple[Recording, Diagnosis]:
    """C3 with 28x28 images: the layer's own function fails, four calls deep."""
    b = Builder()
    b.module("", "CNN")
    b.module("features", "Sequential")
    b.module("features.0", "Conv2d", (32, 3, 3, 3), (32,))
    b.module("features.1", "MaxPool2d")
    b.module("classifier", "Sequential")
    b.module("classifier.0", "Flatten")
    b.module("classifier.1", "Linear", (10, 2048), (10,))
    b.enter("", (1, 3, 28, 28))
    b.enter("features", (1, 3, 28, 28))
    b.call("features.0", (1, 3, 28, 28), (1, 32, 28, 28))
    b.call("features.1", (1, 32, 28, 28), (1, 32, 7, 7))
    b.leave((1, 32, 7, 7))
    b.enter("classifier", (1, 32, 7, 7))
    b.call("classifier.0", (1, 32, 7, 7), (1, 1568))
    failing = b.enter("classifier.1", (1, 1568))
    error = CallError(
        "RuntimeError",
        "mat1 and mat2 shapes cannot be multiplied (1x1568 and 2048x10)",
        3,
    )
    function = b.function("linear", [(1, 1568), (10, 2048)], None, error, direct=False)
    b.fail(error)
    diagnosis = Diagnosis(
        code="failure",
        severity="error",
        message="classifier.1 expects in_features=2048 and gets 1568 = 32·7·7.",
        where="module:classifier.1",
        module="classifier.1",
        source=Source("model.py", 20),
        culprits=(Culprit("module", "classifier.1", 1, 2048, 1568),),
        fixes=(Fix("nn.Linear(1568, 10)", "verified"),),
        text="classifier.1 expects 2048.\nIt gets 1568 = 32·7·7 <& more>",
        function=function,
        call=failing,
    )
    return b.recording(error=error), diagnosis


def warned() -> tuple[Recording, Diagnosis]:
    """B2: a loss that broadcasts and goes on."""
    b = Builder()
    b.module("", "Linear", (1, 20), (1,))
    culprit = b.call("", (64, 20), (64, 1))
    loss = b.function("mse_loss", [(64, 1), (64, 2)], [()], line=12)
    finding = Diagnosis(
        code="silent-broadcast",
        severity="warning",
        message="mse_loss stretched the prediction (64, 1) to (64, 2).",
        where="loss:mse_loss",
        source=Source("train.py", 12),
        culprits=(Culprit("module", "", 1, 1, 2),),
        lineage=(Step("", "Linear", (64, 1), 1, call=culprit),),
        text="mse_loss stretched the prediction.",
        function=loss,
    )
    return b.recording(), finding


def nested_outputs() -> Recording:
    """An LSTM: a tuple in a tuple; and a module that has no tensor to show."""
    b = Builder()
    b.module("", "Tagger")
    b.module("lstm", "LSTM", (40, 10), (40, 10), (40,), (40,))
    b.module("config", "Config")
    b.enter("", (3, 5, 10))
    b.enter("lstm", (3, 5, 10), (1, 3, 10), (1, 3, 10))
    b.leave((3, 5, 10), (1, 3, 10), (1, 3, 10), (), (0, 4))
    b.enter("config")
    b.leave()
    b.leave((3, 5, 10))
    b.calls[1] = replace(b.calls[1], output_type="tuple(Tensor, tuple)")
    return b.recording()


def plain_data() -> Recording:
    """Functions with every kind of argument that a recording may hold."""
    b = Builder()
    b.function("view", [(2, 3)], [(6,)])
    given = b.tensor("args[0]", (2, 3), torch.bfloat16, torch.device("cuda:1"))
    args = (
        given,
        (1, (2, 3)),
        [1, [2.5, None]],
        {1: "one", "two": given, (3, 4): {"$": True}, None: 2},
        slice(None, 3, None),
        Ellipsis,
        torch.Size([2, 3]),
        torch.float16,
        torch.device("cuda:0"),
        torch.channels_last,
        torch.strided,
        Opaque("Generator"),
        float("inf"),
        float("-inf"),
        1 + 2j,
        10**30,
        {1, 2},
        b"\x00\xff",
        range(2, 9, 3),
        "ünïcode\n\ud800",
    )
    b.functions[0] = replace(b.functions[0], args=args, kwargs={"dim": -1, "$": ()})
    return b.recording(value_ranges={3: (0, 9)}, notes=("a note",))


def many_calls(count: int = 100_000, alike: bool = True) -> Recording:
    """A loop over one cell and its activation; unlike when every step is longer."""
    b = Builder()
    b.module("", "Loop")
    b.module("cell", "Linear", (8, 8), (8,))
    b.module("act", "ReLU")
    b.enter("", (4, 8))
    for at in range((count - 1) // 2):
        shape = (4, 8) if alike else (4, at + 1, 8)
        b.call("cell", shape, shape, 20_000)
        b.call("act", shape, shape, 10_000)
    b.leave((4, 8))
    return b.recording()


def deep(levels: int = 3000) -> Recording:
    """Modules in modules in modules."""
    b = Builder()
    name = ""
    for at in range(levels):
        b.module(name, "Wrap")
        b.enter(name, (2, 2))
        name = f"{name}.inner" if at else "inner"
    for _ in range(levels):
        b.leave((2, 2), own_ns=1000)
    return b.recording()
