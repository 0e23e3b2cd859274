"""What a recorded call costs by part, beside the least that a recorder must do.

    python benchmarks/hotpath.py          60 turns of each
    python benchmarks/hotpath.py 200      so many

The smallest recorder notes what the report needs of the calls of this one net: which
module and function, the line, the times, inputs told by their identity, and the form of
each output. It is no tracer: it has no other thread, no other kind of argument, no
exception, no hook of the user's, and it trusts that every tensor is known. Each part is
left out of it in turn. All take turns in one process: see `turns.py`.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter_ns
from types import FunctionType
from typing import Any

import torch
from nets import NETS, TITLES
from subjects import (
    Watch,
    empty_hooks,
    empty_hooks_and_mode,
    installed,
    shapetrace,
    shapetrace_hooks_alone,
)
from tabulate import tabulate
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from turns import Times, fastest, take_turns, watched

PARTS = {
    "stamps": "two time stamps a call",
    "places": "the caller's frame, for the line",
    "inputs": "inputs and outputs looked up: `id`, dict, weak reference",
    "forms": "shape, dtype and device of an output",
    "references": "a weak reference to an output",
    "events": "what is noted, put on the list",
}
_FRAME = sys._getframe
_CPU = torch.device("cpu")


@contextmanager
def smallest(
    model: nn.Module, functions: bool = True, without: Collection[str] = ()
) -> Iterator[None]:
    """A recorder of what is usual, and of nothing else."""
    stamps, places, inputs, forms, references, noting = (
        part not in without for part in PARTS
    )
    events: list[Any] = []
    now = perf_counter_ns if stamps else int
    ref = weakref.ref
    seen: dict[int, Any] = {id(one): ref(one) for one in model.parameters()}
    sites = {id(module): name for name, module in model.named_modules()}
    known, find = seen.get, sites.get
    stack: list[Any] = []
    push, pop = stack.append, stack.pop

    def described(output: Tensor) -> Any:
        one = None
        if references:
            seen[id(output)] = one = ref(output)
        if not forms:
            return one, (), None, None
        device = _CPU if output.is_cpu else output.device
        return one, output.shape, output.dtype, device

    def before(module: nn.Module, args: Any) -> None:
        nonlocal events
        site = find(id(module))
        push(site)
        code, lasti = None, 0
        if places:
            frame = _FRAME(4)
            code, lasti = frame.f_code, frame.f_lasti
        event = (site, now(), code, lasti)
        if noting:
            events += event

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        nonlocal events
        stamp = now()
        given = made = None
        if inputs:
            given = known(id(args[0]))
            if given is None or given() is not args[0]:
                given = None
        if not functions:
            made = described(output)
        elif inputs:
            made = known(id(output))
        event = (pop(), stamp, given, made)
        if noting:
            events += event

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal events
            code, lasti = None, 0
            if places:
                frame = _FRAME(3 if type(func) is FunctionType else 1)
                code, lasti = frame.f_code, frame.f_lasti
            first = second = third = None
            n = len(args)
            if inputs and n == 1:
                a = args[0]
                first = known(id(a))
                if first is None or first() is not a:
                    first = None
            elif inputs and n == 2:
                a, b = args
                first, second = known(id(a)), known(id(b))
                if first is None or first() is not a:
                    first = None
                if second is None or second() is not b:
                    second = None
            elif inputs:
                a, b, c = args
                first, second, third = known(id(a)), known(id(b)), known(id(c))
                if first is None or first() is not a:
                    first = None
                if second is None or second() is not b:
                    second = None
                if third is None or third() is not c:
                    third = None
            start = now()
            output = func(*args, **kwargs) if kwargs else func(*args)
            end = now()
            one, shape, dtype, device = None, (), None, None
            if references:
                seen[id(output)] = one = ref(output)
            if forms:
                shape, dtype = output.shape, output.dtype
                device = _CPU if output.is_cpu else output.device
            if noting:
                events += [
                    *(func, code, lasti, kwargs, n, first, second, third, start, end),
                    *(one, dtype, device, len(shape), *shape),
                ]
            return output

    with installed(before, after, Mode() if functions else None):
        yield


def subjects() -> dict[str, Watch]:
    found: dict[str, Watch] = {
        "floor": empty_hooks_and_mode,
        "empty hooks": empty_hooks,
        "smallest": smallest,
        "smallest, hooks alone": partial(smallest, functions=False),
        "shapetrace": shapetrace,
        "shapetrace, hooks alone": shapetrace_hooks_alone,
    }
    for part in PARTS:
        found[part] = partial(smallest, without={part})
    return found


def over_the_floor(times: dict[str, Times], name: str) -> float:
    """Microseconds of one module call and one function call beyond the floor."""
    floor = fastest(times["floor"].forward)
    return (fastest(times[name].forward) - floor) / 900 * 1e6


def main(turns: int = 60) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, x = NETS["dispatch"]()
    each = {name: watched(model, x, watch) for name, watch in subjects().items()}
    times = take_turns(model.eval(), x, each, turns, 600)
    print(f"torch {torch.__version__}; {TITLES['dispatch']}; {turns} turns\n")
    rows: list[tuple[str, float, float]] = []
    for name in ("smallest", "shapetrace"):
        ratio = fastest(times[name].forward) / fastest(times["floor"].forward)
        rows.append((name, ratio, over_the_floor(times, name)))
    headers = ["recorder", "forward / floor", "us a pair of calls beyond it"]
    print(tabulate(rows, headers, tablefmt="github", floatfmt=".2f"), "\n")
    alone = []
    for name in ("smallest, hooks alone", "shapetrace, hooks alone"):
        ratio = fastest(times[name].forward) / fastest(times["empty hooks"].forward)
        alone.append((name, ratio))
    headers = ["recorder", "forward / empty hooks"]
    print(tabulate(alone, headers, tablefmt="github", floatfmt=".2f"), "\n")
    whole = over_the_floor(times, "smallest")
    parts = [
        (said, whole - over_the_floor(times, part)) for part, said in PARTS.items()
    ]
    headers = ["left out of the smallest recorder", "us a pair of calls less"]
    print(tabulate(parts, headers, tablefmt="github", floatfmt=".2f"))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
