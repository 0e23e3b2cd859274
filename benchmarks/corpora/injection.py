"""Slips of users, put into a correct script one at a time, by its syntax tree.

Each function takes a node and gives what else might have been written there. Nothing
here knows what a slip will do to the program: that is found by running it (`truth`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .case import place

#: calls that a user forgets: without them the value before them is passed on
FORGOTTEN = {
    *("flatten", "permute", "transpose", "unsqueeze", "squeeze", "view", "reshape"),
    *("contiguous", "repeat", "expand", "sum", "mean", "t", "max", "cumsum", "chunk"),
    *("softmax", "sigmoid", "gather", "argmax", "norm", "normalize", "stack"),
}
#: arguments that say which dimension
DIMENSIONED = FORGOTTEN | {"cat", "log_softmax", "topk", "std", "split", "triu"}
#: keywords that are left out, or were not known of
KEYWORDS = {
    *("batch_first", "keepdim", "padding", "stride", "bidirectional", "num_layers"),
    *("output_padding", "dilation", "dim", "size", "tgt_mask", "src_key_padding_mask"),
}
LOSSES = {
    *("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss"),
    *("binary_cross_entropy", "binary_cross_entropy_with_logits"),
}
DATA = {"randn", "rand", "randint", "ones", "zeros", "full", "arange"}
RECURRENT = {"LSTM", "GRU", "RNN"}


@dataclass(frozen=True, slots=True)
class Slip:
    """Other text in place of the source between two offsets."""

    kind: str
    start: int
    end: int
    new: str
    #: the name of the call that is changed or forgotten, as a trace has it
    function: str

    def place(self, text: str) -> tuple[int, int]:
        """Line and column of where it stands, as a trace has them."""
        before = text[: self.start]
        return before.count("\n") + 1, self.start - (before.rfind("\n") + 1)


def slips(text: str) -> list[Slip]:
    """All slips that could be made in a script, in the order of its lines."""
    tree = ast.parse(text)
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    sizes = [
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id.isupper() and node.id != "EQUAL"
    ]
    found: list[Slip] = []

    def add(kind: str, old: ast.AST, new: str, function: str = "") -> None:
        start = starts[old.lineno - 1] + old.col_offset  # type: ignore[attr-defined]
        end = starts[old.end_lineno - 1] + old.end_col_offset  # type: ignore
        if text[start:end] != new:
            found.append(Slip(kind, start, end, new, function))

    for top in tree.body:
        if not isinstance(top, ast.Assign):
            for node in ast.walk(top):
                for make in MAKERS:
                    for kind, old, new, function in make(node, sorted(set(sizes))):
                        add(kind, old, new, function)
    return sorted(set(found), key=lambda one: (one.start, one.end, one.kind, one.new))


Made = Iterator[tuple[str, ast.AST, str, str]]


def named(call: ast.AST) -> str:
    """The last name of what is called: `flatten` of `torch.flatten(x, 1)`."""
    function = call.func if isinstance(call, ast.Call) else None
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def functional(node: ast.Call) -> bool:
    """Whether it is a function of `torch` or `F`, and no method of their result."""
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    return isinstance(owner, ast.Name) and owner.id in ("torch", "F")


def layer(node: ast.AST) -> bool:
    """Whether a layer of `torch.nn` is built here."""
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func).startswith("nn.")
        and not named(node).endswith("Loss")
        and named(node) not in ("Sequential", "ModuleList", "ModuleDict", "Parameter")
    )


def other(number: ast.expr, sizes: list[str]) -> str:
    """A number that one might have written instead: the same one for the same text."""
    text = ast.unparse(number)
    salt = f"{text}/{number.lineno}/{number.col_offset}"
    if isinstance(number, ast.Constant):
        n = number.value
        ways = [n + 1, n * 2, n - 1 if n > 2 else n + 2, n + 3]
        return str(ways[int(place(salt) * len(ways))])
    group = f"({text})" if isinstance(number, ast.BinOp) else text
    ways = [f"{group} * 2", f"{group} + 1", f"{group} // 2"]
    ways += [name for name in sizes if name not in text]
    return ways[int(place(salt) * len(ways))]


def is_size(node: ast.expr) -> bool:
    """An integer, a constant of the script, or a sum or product of them."""
    if isinstance(node, ast.Constant):
        return type(node.value) is int
    if isinstance(node, ast.Name):
        return True
    if isinstance(node, ast.BinOp):
        return is_size(node.left) and is_size(node.right)
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)


def wrong_number(node: ast.AST, sizes: list[str]) -> Made:
    """Another width, kernel, stride, number of groups or heads of a layer."""
    if layer(node) and isinstance(node, ast.Call):
        numbers = [*node.args, *(word.value for word in node.keywords)]
        for number in numbers:
            if is_size(number) and not isinstance(number, ast.Attribute):
                widths = [name for name in sizes if name != "BATCH"]
                yield "wrong number in a layer", number, other(number, widths), ""


def wrong_size(node: ast.AST, sizes: list[str]) -> Made:
    """Another size in a view, and in data: the last batch, another length."""
    name = named(node)
    if not isinstance(node, ast.Call):
        return
    if name in ("view", "reshape", "expand", "repeat"):
        for number in node.args:
            if is_size(number) and ast.unparse(number) not in ("1", "0"):
                yield "wrong size in a view", number, other(number, sizes), name
    elif name in DATA and functional(node):
        shape = [arg for arg in node.args if is_size(arg)]
        for arg in node.args:
            if isinstance(arg, ast.Tuple):
                shape = list(arg.elts)
        for at, number in enumerate(shape):
            if "BATCH" in ast.unparse(number):
                yield "last short batch", number, f"{ast.unparse(number)} - 1", name
            elif not (name == "randint" and number in node.args):
                yield "data of another size", number, other(number, sizes), name


def wrong_dim(node: ast.AST, sizes: list[str]) -> Made:
    """The dimension beside the one that is meant."""
    name = named(node)
    if not isinstance(node, ast.Call) or name not in DIMENSIONED:
        return
    for number in [word.value for word in node.keywords if word.arg == "dim"]:
        yield from beside(number, name)
    if name not in ("view", "reshape", "expand", "repeat", "max", "stack"):
        for number in node.args[1 if functional(node) else 0 :]:
            yield from beside(number, name)


def beside(number: ast.expr, name: str) -> Made:
    try:
        value = ast.literal_eval(number)
    except ValueError:
        return
    if type(value) is int:
        new = {0: 1, 1: 0, 2: 1, 3: 2, -1: 1, -2: 1}.get(value)
        if new is not None:
            yield "wrong dim", number, str(new), name


def forgotten_call(node: ast.AST, sizes: list[str]) -> Made:
    name = named(node)
    if not isinstance(node, ast.Call) or name not in FORGOTTEN:
        return
    if functional(node):
        if len(node.args) >= 1 and not isinstance(node.args[0], ast.List):
            yield f"forgotten {name}", node, ast.unparse(node.args[0]), name
    elif isinstance(node.func, ast.Attribute):
        yield f"forgotten {name}", node, ast.unparse(node.func.value), name


def forgotten_index(node: ast.AST, sizes: list[str]) -> Made:
    """`out` for `out[:, -1]`, `masks` for `masks[:, None]`."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        if not isinstance(node.slice, ast.Constant) or type(node.slice.value) is int:
            if not ast.unparse(node.value).endswith("shape"):
                new = ast.unparse(node.value)
                yield "forgotten index", node, new, "getitem"


def swapped(node: ast.AST, sizes: list[str]) -> Made:
    """The first two arguments, or the operands of a product, in the other order."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        new = f"{ast.unparse(node.right)} @ {ast.unparse(node.left)}"
        yield "swapped operands", node, new, "matmul"
    if not isinstance(node, ast.Call) or len(node.args) < 2:
        return
    one, two = (ast.unparse(arg) for arg in node.args[:2])
    rest = [ast.unparse(arg) for arg in node.args[2:]]
    rest += [ast.unparse(word) for word in node.keywords]
    new = f"{ast.unparse(node.func)}({', '.join([two, one, *rest])})"
    name = named(node)
    if layer(node) and is_size(node.args[0]) and is_size(node.args[1]):
        yield "swapped sizes of a layer", node, new, ""
    elif name in ("matmul", "bmm", "mm"):
        yield "swapped operands", node, new, name
    elif name in LOSSES:
        yield "swapped arguments of a loss", node, new, name
    elif name in ("view", "reshape", "gather"):
        yield f"swapped arguments of {name}", node, new, name
    elif name in DATA and name != "randint" and is_size(node.args[0]):
        yield "swapped sizes of data", node, new, name


def dropped_keyword(node: ast.AST, sizes: list[str]) -> Made:
    if isinstance(node, ast.Call):
        for word in node.keywords:
            if word.arg in KEYWORDS:
                rest = [ast.unparse(arg) for arg in node.args]
                rest += [ast.unparse(w) for w in node.keywords if w is not word]
                new = f"{ast.unparse(node.func)}({', '.join(rest)})"
                function = "" if layer(node) else named(node)
                yield f"dropped {word.arg}", node, new, function


def constant_for_shape(node: ast.AST, sizes: list[str]) -> Made:
    """`64` for `x.size(0)`, as written when the batch was 64."""
    if not isinstance(node, ast.Call):
        return
    name = named(node)
    for arg in node.args:
        text = ast.unparse(arg)
        if text.endswith((".size(0)", ".size(1)", ".shape[0]", ".shape[1]")):
            yield "a constant for a shape", arg, "64", name


def wrong_loss(node: ast.AST, sizes: list[str]) -> Made:
    name = named(node)
    if name not in LOSSES or not isinstance(node, ast.Call) or len(node.args) < 2:
        return
    one, two = (ast.unparse(arg) for arg in node.args[:2])
    call = ast.unparse(node.func)
    rest = "".join(f", {ast.unparse(word)}" for word in node.keywords)
    if name == "cross_entropy":
        new = f"{call}({one}, F.one_hot({two}))"
        yield "one-hot for an index", node, new, "one_hot"
        yield "wrong loss", node, f"F.mse_loss({one}, {two}.float())", "mse_loss"
        new = f"{call}({one}, {two}.unsqueeze(-1){rest})"
        yield "a column of labels", node, new, "unsqueeze"
        new = f"{call}(F.softmax({one}, dim=1), {two}{rest})"
        yield "softmax before the loss", node, new, "softmax"
    elif name in ("mse_loss", "l1_loss", "smooth_l1_loss"):
        new = f"{call}({one}, {two}.unsqueeze(-1){rest})"
        yield "a column of targets", node, new, "unsqueeze"
    elif name == "binary_cross_entropy_with_logits":
        new = f"{call}(torch.sigmoid({one}), {two}{rest})"
        yield "sigmoid before the loss", node, new, "sigmoid"
        new = f"{call}({one}, {two}.unsqueeze(-1){rest})"
        yield "a column of targets", node, new, "unsqueeze"


def wrong_layer(node: ast.AST, sizes: list[str]) -> Made:
    """`self.conv1` where `self.conv2` is meant."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        text = ast.unparse(node.func)
        if text.startswith("self.") and text[-1] in "12":
            new = text[:-1] + ("2" if text[-1] == "1" else "1")
            yield "another layer called", node.func, new, ""


def squeezed_all(node: ast.AST, sizes: list[str]) -> Made:
    """`squeeze()`, which takes the batch along where it is one."""
    if isinstance(node, ast.Call) and named(node) == "squeeze" and node.args:
        new = f"{ast.unparse(node.func)}()"
        yield "squeeze without a dim", node, new, "squeeze"


MAKERS: tuple[Callable[[ast.AST, list[str]], Made], ...] = (
    wrong_number,
    wrong_size,
    wrong_dim,
    forgotten_call,
    forgotten_index,
    swapped,
    dropped_keyword,
    constant_for_shape,
    wrong_loss,
    wrong_layer,
    squeezed_all,
)
