"""Who waited for whom, of recordings made by hand."""

from __future__ import annotations

import dataclasses
import functools

import pytest
import torch
import torch.distributed as dist

from shapetrace.comparison.rank_waits import waits
from shapetrace.distributed import Rank, Ranks
from shapetrace.recording.collectives import collective_of, stops
from shapetrace.records import (
    Blocked,
    FunctionCall,
    InFlight,
    ModuleCall,
    ModuleInfo,
    Opaque,
    Recording,
    Source,
    TensorRef,
)

DDP = "torch.nn.parallel.distributed.DistributedDataParallel"
MS = 1_000_000
LINE, WAIT = Source("train.py", 7), Source("train.py", 9)


def ref(*shape):
    return TensorRef("self", 1, shape, torch.float32, torch.device("cpu"))


def rank(around, layer, backward, outside, kind=DDP, steps=1):
    """Milliseconds in DDP's own code, the layer, outside of modules and the backward,
    in this order, in each step."""
    calls, functions, now = [], [], 0
    for step in range(steps):
        top, order = 2 * step, 10 * step
        begun = now + around
        calls += [
            ModuleCall(top, None, 0, "", "Top", (), (), start_ns=now * MS, order=order,
                       duration_ns=(around + layer) * MS, end_order=order + 3),
            ModuleCall(top + 1, top, 1, "module", "Linear", (), (), order=order + 1,
                       start_ns=begun * MS, duration_ns=layer * MS,
                       end_order=order + 2),
        ]  # fmt: skip
        now = begun + layer + outside
        functions.append(
            FunctionCall(step, None, "backward", "torch.Tensor.backward", (ref(),), (),
                         start_ns=now * MS, duration_ns=backward * MS, source=LINE,
                         order=order + 4)
        )  # fmt: skip
        now += backward
    infos = {
        "": ModuleInfo("", "Top", kind),
        "module": ModuleInfo("module", "Linear", "torch.nn.modules.linear.Linear"),
    }
    return Recording(tuple(calls), tuple(functions), infos, {}, duration_ns=now * MS)


def collectives(*times, name="all_reduce", **fields):
    """Milliseconds outside and in a collective, one after the other."""
    functions, now = [], 0
    for number, (outside, inside) in enumerate(times):
        now += outside
        functions.append(
            FunctionCall(number, None, name, f"torch.distributed.c10d.{name}", (ref(),),
                         (), start_ns=now * MS, duration_ns=inside * MS, source=LINE,
                         order=number, **fields)
        )  # fmt: skip
        now += inside
    return Recording((), tuple(functions), {}, {}, duration_ns=now * MS)


def test_who_is_least_in_the_exchange_is_who_the_others_waited_for():
    early, late = rank(100, 20, 300, 10), rank(1, 20, 30, 380)
    (found,) = waits({0: early, 1: late, 2: early})
    assert (found.ranks, found.behind) == ((0, 2), 1)
    assert found.wait_ns == (400 - 31) * MS
    assert (found.place, found.more_ns) == ("", 370 * MS)
    assert (found.call, found.source) == ("backward", LINE)
    assert str(found) == (
        "ranks 0 and 2 waited for rank 1, up to 369.00 ms, in backward at train.py:7;"
        " rank 1 spent 370.00 ms more outside of modules"
    )
    many = dataclasses.replace(found, ranks=(0, 2, 3))
    assert str(many).startswith("ranks 0, 2 and 3 waited for rank 1, ")
    shown = str(Ranks((Rank(0, early), Rank(1, late), Rank(2, early))))
    assert "ranks 0 and 2 waited for rank 1" in shown


def test_the_module_that_was_slow_is_named():
    (found,) = waits({0: rank(1, 20, 300, 10), 1: rank(1, 300, 20, 10)})
    assert (found.ranks, found.behind) == ((0,), 1)
    assert (found.place, found.more_ns) == ("module", 280 * MS)
    assert "rank 1 spent 280.00 ms more in `module`" in str(found)


def test_waits_of_many_steps_at_one_line_are_one_and_small_ones_add_up():
    early, late = rank(0, 20, 26, 0, steps=8), rank(0, 26, 20, 0, steps=8)
    (found,) = waits({0: early, 1: late})
    # 6 ms are no wait; after two steps 12 of 92 are
    assert found.wait_ns == found.more_ns == 8 * 6 * MS


def test_a_collective_of_the_program_s_own_is_told_by_its_line():
    """Each waits for the other once: over the whole both are equally long in it."""
    found = waits(
        {0: collectives((5, 300), (200, 1)), 1: collectives((304, 1), (1, 200))}
    )
    assert [(w.ranks, w.behind, w.wait_ns // MS) for w in found] == [
        ((0,), 1, 299),
        ((1,), 0, 199),
    ]
    assert str(found[0]) == (
        "rank 0 waited for rank 1, up to 299.00 ms, in all_reduce at train.py:7;"
        " rank 1 spent 299.00 ms more outside of modules"
    )


def test_who_was_late_before_the_block_is_told_so():
    (found,) = waits({0: collectives((1, 300)), 1: collectives((1, 1))})
    assert (found.ranks, found.behind, found.place) == ((0,), 1, None)
    assert str(found).endswith("rank 1 was late before its first call")


def barrier(outside, inside, after, path):
    """`dist.barrier()` is no torch function; it makes a device first, which is one."""
    place = Source(str(path), 1, column=0, end_column=14)
    device = FunctionCall(0, None, "device", "torch.device", (), (), source=place,
                          start_ns=outside * MS, order=0)  # fmt: skip
    add = FunctionCall(1, None, "add", "torch.add", (ref(),), (ref(),), order=1,
                       start_ns=(outside + inside + after) * MS)  # fmt: skip
    return Recording((), (device, add), {}, {}, duration_ns=add.start_ns)


def test_a_barrier_is_told_where_another_rank_came_late(tmp_path):
    path = tmp_path / "barrier.py"
    path.write_text("dist.barrier()\n")
    (found,) = waits({0: barrier(1, 200, 0, path), 1: barrier(201, 0, 0, path)})
    assert (found.ranks, found.behind, found.call) == ((0,), 1, "barrier")
    # what one does behind it alone is no wait
    assert waits({0: barrier(1, 0, 200, path), 1: barrier(1, 0, 0, path)}) == ()
    path = tmp_path / "device.py"
    path.write_text("torch.device()\n")
    assert waits({0: barrier(1, 200, 0, path), 1: barrier(201, 0, 0, path)}) == ()


@pytest.mark.parametrize(
    "ranks",
    [
        [rank(5, 20, 30, 10), rank(1, 20, 30, 10)],  # 4 ms are noise
        # without anything that exchanges data a long backward is its own
        [rank(1, 20, 300, 10, "Net"), rank(1, 300, 20, 10, "Net")],
        # the first is longer in its backward, and the other nowhere: so it is its own
        [rank(1, 20, 300, 10), rank(1, 20, 30, 10)],
        [rank(1, 20, 300, 10)],
        # of two ranks alone, and of a group of which nothing is known
        [collectives((1, 300), name="send"), collectives((300, 1), name="send")],
        [
            collectives((1, 300), kwargs={"group": Opaque("ProcessGroup")}),
            collectives((300, 1), kwargs={"group": Opaque("ProcessGroup")}),
        ],
        # from where they do not do the same on
        [collectives((1, 300)), collectives((300, 1), name="all_gather")],
    ],
)
def test_nobody_is_said_to_wait_where_that_is_not_known(ranks):
    assert waits(dict(enumerate(ranks))) == ()


def test_a_group_is_known_where_the_sizes_tell_that_all_take_part():
    group = {"group": Opaque("ProcessGroup")}
    given = [collectives(one, kwargs=group) for one in ((1, 300), (300, 1))]
    for rec in given:
        rec.functions[0].inputs = (ref(8), ref(4))
    assert waits(dict(enumerate(given)))[0].ranks == (0,)
    for rec in given:
        rec.functions[0].inputs = (ref(16), ref(4))
    assert waits(dict(enumerate(given))) == ()


@pytest.mark.parametrize("name", ["all_reduce", "recv"])
def test_who_waits_in_a_group_of_some_ranks_is_not_late_for_the_others(name):
    """Rank 1 is late: rank 0 waits for it, of them alone, the others for both."""

    def ran(own, between, of_all):
        both = collectives((own, between), (0, of_all))
        first = both.functions[0]
        first.name, first.kwargs = name, {"group": Opaque("ProcessGroup")}
        return both

    early, late, other = ran(1, 150, 1), ran(150, 1, 1), collectives((1, 151))
    (found,) = waits({0: early, 1: late, 2: other, 3: other})
    assert (found.ranks, found.behind) == ((0, 2, 3), 1)
    assert (found.wait_ns, found.more_ns) == (149 * MS, 149 * MS)


def test_the_wait_for_an_asynchronous_collective_is_no_time_of_its_own():
    """Rank 0 waits 150 ms for rank 1, where nobody sees it; the third waits for both in
    the next one: it is not rank 0 that was late."""
    begun = {"async_op": True}
    given = [collectives((1, 0), (own, 1)) for own in (150, 150)]
    for rec in given:
        rec.functions[0].kwargs = begun | {"group": Opaque("ProcessGroup")}
    other = collectives((1, 151))
    assert waits(dict(enumerate([*given, other]))) == ()


def test_a_barrier_of_a_group_is_none_of_all(tmp_path):
    path = tmp_path / "barrier.py"
    path.write_text("dist.barrier(g)\n")
    late = barrier(201, 0, 0, path)
    assert (
        waits({0: barrier(1, 200, 0, path), 1: late, 2: barrier(1, 1, 0, path)}) == ()
    )


def handles(outside, meanwhile, waited, over=None):
    """Milliseconds before an asynchronous collective, until its handle is waited for
    and there; it is `over` at the end of that, if nothing else is said."""
    begun = FunctionCall(0, None, "all_reduce", "torch.distributed.all_reduce",
                         (ref(),), (), kwargs={"async_op": True}, source=LINE,
                         start_ns=outside * MS, order=1)  # fmt: skip
    waits = (outside + meanwhile) * MS
    end = waits + waited * MS
    flight = InFlight(0, end if over is None else over * MS)
    blocked = (Blocked(WAIT, waits, end),) if waited else ()
    return Recording((), (begun,), {}, {}, in_flight=(flight,), blocked=blocked,
                     duration_ns=end)  # fmt: skip


def test_the_wait_for_a_handle_is_told_by_its_line():
    """Who comes last need not wait."""
    early, late = handles(1, 5, 300), handles(301, 5, 0, over=301)
    (found,) = waits({0: early, 1: late})
    assert (found.ranks, found.behind, found.place) == ((0,), 1, "")
    assert (found.wait_ns, found.more_ns) == (300 * MS, 300 * MS)
    assert (found.call, found.source) == ("wait", WAIT)


def test_who_does_more_before_the_wait_for_a_handle_is_not_late():
    """All began it at once; the exchange itself took its time, behind what one did."""
    assert waits({0: handles(1, 5, 300), 1: handles(1, 305, 0)}) == ()


def test_nobody_is_late_for_what_is_not_known_to_be_on_its_way():
    early, late = handles(1, 5, 300), handles(301, 5, 0)
    late = dataclasses.replace(late, in_flight=())
    assert waits({0: early, 1: late}) == ()


class Work(dist.Work):
    """A handle whose wait ends with an exception, as that of torch in its own code."""

    wait = staticmethod(functools.partial(int, "no number"))


class Other:
    wait = staticmethod(functools.partial(int, "no number"))


@pytest.mark.parametrize("kind", [Work, Other])
def test_an_exception_out_of_the_wait_for_a_handle_is_told(kind):
    work = kind()
    with pytest.raises(ValueError) as raised:
        work.wait()
    told = collective_of(stops(raised.value.__traceback__))
    line = raised.traceback[-1].lineno + 1
    at = f"wait at test_rank_waits.py:{line}"
    assert told == (at if kind is Work else "")


def test_so_it_is_of_handles_that_are_kept_anywhere():
    kept = {"a": [Work()]}
    for wait in (
        lambda: kept["a"][0].wait(),
        lambda: [work.wait() for work in kept["a"]],
    ):
        with pytest.raises(ValueError) as raised:
            wait()
        told = collective_of(stops(raised.value.__traceback__))
        assert told.startswith("wait at test_rank_waits.py:")
