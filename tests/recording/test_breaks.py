"""What people do inside a training step gives the same as inside an empty block."""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import shapetrace
from shapetrace.recording.faults import Faults

X = torch.linspace(-1, 1, 24).reshape(2, 3, 4)

Block = Callable[..., contextlib.AbstractContextManager[Any]]


@contextlib.contextmanager
def empty(*modules: nn.Module, **options: Any) -> Iterator[None]:
    yield


def every(*modules: nn.Module, **options: Any) -> Any:
    return shapetrace.trace(**options)


def alone(*modules: nn.Module, **options: Any) -> Any:
    return shapetrace.trace(*modules, functions=False)


#: the same program in an empty block and under each kind of trace
TRACED: dict[str, Block] = {
    "given": shapetrace.trace,
    "every": every,
    "functions=False": alone,
}


class Recipe(nn.Module):
    """Has the usual recipes for copying and pickling."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.cache = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "cache": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> Recipe:
        made = self.__class__.__new__(self.__class__)
        memo[id(self)] = made
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.rnn = kind(4, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.rnn(x)[0]
        return found


MODELS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(3), nn.ReLU()),
    "lstm": lambda: Recurrent(nn.LSTM),
    "gru": lambda: Recurrent(nn.GRU),
    "weight_norm": lambda: nn.Sequential(
        parametrizations.weight_norm(nn.Linear(4, 4)), nn.Tanh()
    ),
    "recipe": Recipe,
}


def saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "save": saved,
    "average": lambda model: AveragedModel(
        model, multi_avg_fn=get_ema_multi_avg_fn(0.5)
    ),
}


@pytest.mark.parametrize("way", TRACED)
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("copying", COPIES)
def test_copies_made_inside_compute_with_their_own_weights_for_ever(copying, kind, way):
    if (copying, kind) in {("pickle", "weight_norm"), ("save", "weight_norm")}:
        pytest.skip("torch pickles no parametrised module")

    def program(block: Block) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = MODELS[kind]()
        optimizer = torch.optim.SGD(model.parameters(), 0.5)
        found = []
        with block(model):
            before = COPIES[copying](model)
            for _ in range(2):
                loss = model(X).square().mean()
                loss.backward()
                optimizer.step()
                if copying == "average":
                    before.update_parameters(model)  # type: ignore[operator]
            after = COPIES[copying](model)
            found += [before(X), after(X), model(X)]
        again = copy.deepcopy(model)
        for one in (before, after, model, again, COPIES[copying](before)):
            found += [one(X), *one.state_dict().values()]
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, found = program(empty), program(TRACED[way])
    assert len(found) == len(expected)
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("way", TRACED)
def test_hooks_that_the_user_adds_and_removes_inside_work_as_ever(way):
    def program(block: Block) -> tuple[list[Any], list[Any]]:
        torch.manual_seed(0)
        model, log = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), []
        with block(model) as t:
            handle = model[0].register_forward_hook(
                lambda module, args, output: log.append("after") or output * 2
            )
            first = model(X)
            handle.remove()
            with model[1].register_forward_pre_hook(
                lambda module, args: log.append("before") or (args[0] - 1,)
            ):
                second = model(X)
            everywhere = nn.modules.module.register_module_forward_hook(
                lambda module, args, output: log.append(type(module).__name__)
            )
            third = model(X)
            everywhere.remove()
            gradients = model[0].register_full_backward_hook(
                lambda module, given, made: log.append(made[0].sum().item())
            )
            model(X.clone().requires_grad_()).sum().backward()
            gradients.remove()
        if t is not None:
            shapes = {call.outputs[0].shape for call in t.calls}
            assert shapes == {(2, 3, 4)} and all(c.error is None for c in t.calls)
        return log, [first, second, third, model[0].weight.grad]

    (log, expected), (own, found) = program(empty), program(TRACED[way])
    assert log == own
    assert all(map(torch.equal, found, expected))


def test_where_a_hook_changes_an_output_the_row_shows_what_the_caller_got():
    model = nn.Sequential(nn.Linear(4, 4), nn.Flatten(0))
    with model[0].register_forward_hook(lambda module, args, output: output[:1]):
        with shapetrace.trace(model) as t:
            y = model(X)
    assert t.calls[1].outputs[0].shape == (1, 3, 4) == t.calls[2].inputs[0].shape
    assert t.calls[1].outputs[0].id == t.calls[2].inputs[0].id
    assert [step.name for step in t.lineage(y)][:2] == ["1", "getitem"]


def test_a_hook_that_raises_makes_its_call_the_one_that_failed():
    def fail(*_: Any) -> None:
        raise ValueError("the hook's own")

    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with model[0].register_forward_hook(fail), pytest.raises(ValueError):
        with shapetrace.trace(model) as t:
            model(X)
    assert [(call.name, call.error is not None) for call in t.calls] == [
        ("", True),
        ("0", True),
    ]


@pytest.mark.parametrize("way", TRACED)
def test_modules_are_added_replaced_and_deleted_inside(way):
    def program(block: Block) -> tuple[Any, list[torch.Tensor]]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        with block(model) as t:
            found = [model(X)]
            model.append(nn.Tanh())
            found.append(model(X))
            model[0] = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid())
            found.append(model(X))
            del model[1]
            found.append(model(X))
        return t, [*found, model(X)]

    (_, expected), (t, found) = program(empty), program(TRACED[way])
    assert all(map(torch.equal, found, expected))
    prefix = "" if way != "every" else "Sequential"
    names = [call.name.removeprefix(prefix).strip(".") for call in t.calls]
    assert names == [
        *("", "0", "1", "2"),
        *("", "0", "1", "2", "3"),
        *("", "0", "0.0", "0.1", "1", "2", "3"),
        *("", "0", "0.0", "0.1", "2", "3"),
    ]
    assert all(call.outputs for call in t.calls)


def test_a_deleted_module_is_not_kept_alive_and_its_rows_stay():
    import gc
    import weakref

    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 4))
    with shapetrace.trace(model) as t:
        model(X)
        alive = weakref.ref(model[0]), weakref.ref(model[0].weight)
        model[0] = nn.Linear(4, 5)
        gc.collect()
        assert [one() for one in alive] == [None, None]
        model(X)
    assert [(c.name, c.type) for c in t.calls] == [
        *(("", "Sequential"), ("0", "Linear"), ("1", "Linear")),
    ] * 2


class Falsy(nn.Linear):
    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False


class Unhashable(nn.Linear):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")


@pytest.mark.parametrize("kind", [Falsy, Unhashable])
@pytest.mark.parametrize("given", [True, False])
def test_falsy_and_unhashable_modules_have_their_rows(kind, given):
    model = nn.Sequential(kind(4, 4), nn.ReLU())
    expected = model(X)
    with shapetrace.trace(*[model] if given else []) as t:
        assert torch.equal(model(X), expected)
    assert [call.type for call in t.calls] == ["Sequential", kind.__name__, "ReLU"]


def test_recursion_goes_as_deep_as_under_plain_hooks():
    class Down(nn.Module):
        def __init__(self, below: nn.Module | None) -> None:
            super().__init__()
            self.below = below

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if self.below is None else self.below(x + 1)

    model: nn.Module | None = None
    for _ in range(150):
        model = Down(model)
    assert model is not None
    with shapetrace.trace(model) as t:
        model(X)
    assert len(t.calls) == 150 and t.calls[-1].depth == 149
    assert t.recording.notes == ()


def test_nested_and_overlapping_traces_end_in_any_order():
    import itertools

    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    for order in itertools.permutations(range(3)):
        traces = [shapetrace.trace(model), shapetrace.trace(), shapetrace.trace(model)]
        for t in traces:
            t.__enter__()
        model(X)
        for at in order:
            traces[at].__exit__(None, None, None)
            model(X)
        counts = [len(traces[at].calls) for at in order]
        assert counts == [3, 6, 9]


def test_other_tools_inside_a_trace_find_what_they_find_without():
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.flop_counter import FlopCounterMode

    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    target = torch.zeros(6, dtype=torch.int64)

    def program(block: Block) -> tuple[list[str], int]:
        with block(model), profile(activities=[ProfilerActivity.CPU]) as found:
            logits = model(X).flatten(0, 1)
            nn.functional.cross_entropy(logits, target)
        with block(model), FlopCounterMode(display=False) as flops:
            model(X)
        names = sorted(event.name for event in found.events() if "::" in event.name)
        return names, flops.get_total_flops()

    assert program(empty) == program(shapetrace.trace)


def test_torchinfo_inside_a_trace_finds_what_it_finds_without():
    torchinfo = pytest.importorskip("torchinfo")
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    expected = str(torchinfo.summary(model, input_data=X, verbose=0))
    with shapetrace.trace(model):
        assert str(torchinfo.summary(model, input_data=X, verbose=0)) == expected


@pytest.mark.parametrize("given", [True, False])
def test_a_thread_without_a_python_frame_above_a_module_is_recorded(given):
    import _thread

    model, done = nn.Sequential(nn.Linear(4, 4)), threading.Event()
    model.register_forward_hook(lambda *_: done.set())
    with shapetrace.trace(*[model] if given else []) as t:
        _thread.start_new_thread(model, (X,))
        assert done.wait(20)
        model(X)
    assert len(t.calls) == 4 and {c.depth for c in t.calls} == {0, 1}
    assert len({c.thread for c in t.calls}) == 2
    assert t.recording.notes == ()


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("functions", [True, False])
def test_threads_have_their_own_calls_at_the_shortest_switch_interval(given, functions):
    import sys

    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 4)))
    expected, wrong = model(X), []

    def run() -> None:
        try:
            for _ in range(150):
                if not torch.equal(model(X), expected):
                    wrong.append("another result")
        except BaseException as error:
            wrong.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with shapetrace.trace(*[model] if given else [], functions=functions) as t:
            threads = [threading.Thread(target=run) for _ in range(3)]
            for one in threads:
                one.start()
            run()
            for one in threads:
                one.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == [] and t.recording.notes == ()
    assert len(t.calls) == 4 * 150 * 5
    for call in t.calls:
        above = None if call.parent is None else t.calls[call.parent]
        assert call.depth == call.name.removeprefix("Sequential").count(".") + (
            call.name not in ("", "Sequential") and given
        )
        assert above is None or above.thread == call.thread


def test_a_fault_at_the_end_of_the_stack_is_told_in_a_word():
    class Long(RecursionError):
        def __str__(self) -> str:
            raise RecursionError

    faults = Faults()
    faults.add("some calls", Long())
    assert "cost some calls." in faults.warning() and "Long" in faults.warning()
