"""A function on fresh processes: what it takes along, what it knows of its place, what comes back, what is printed."""

import dataclasses
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from labkit import ranks
from labkit.ranks import RankFailed, run_ranks
from labkit.ranks.environment import Port, cores, environment
from labkit.ranks.output import HEAD, TAIL, Listener, Panes, plain, watched
from labkit.ranks.sending import dumps

FACTOR = 3


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5


def scaled(number):
    return FACTOR * number


def alone(fn, *args, n=2, **options):
    """Run without torch."""
    return run_ranks(fn, n, *args, group=False, **options)


def test_every_rank_returns_and_the_results_come_in_their_order(capsys):
    assert alone(lambda a, *, b: (ranks.rank(), ranks.local_rank(), ranks.world(), a + b), 2, b=5, n=3) == [
        (0, 0, 3, 7),
        (1, 1, 3, 7),
        (2, 2, 3, 7),
    ]
    assert capsys.readouterr().out == (
        f"‹3 ranks on {cores()} cores›\n"
        if cores() >= 3
        else f"‹3 ranks on {cores()} cores: they take turns, so what they measure of time says little›\n"
    )


def test_outside_of_any_launcher_this_is_rank_0_of_1():
    assert (ranks.rank(), ranks.world(), ranks.local_rank()) == (0, 1, 0)
    assert ranks.device() == torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def test_a_function_takes_along_what_it_uses():
    inner = Point(4)

    def work():
        found = Point(scaled(inner.x) + ranks.rank())
        return found, type(found).__module__, np.arange(3) * found.x

    for rank, (point, module, array) in enumerate(alone(work)):
        assert isinstance(point, Point) and point == Point(12 + rank) and module == __name__
        np.testing.assert_array_equal(array, [0, 12 + rank, 24 + 2 * rank])


def test_torch_its_ops_and_a_method_are_taken_along():
    class Model(torch.nn.Linear):
        def double(self, x):
            return torch.ops.aten.add(self(x), self(x))

    torch.manual_seed(0)
    model, x = Model(3, 2), torch.ones(1, 3)

    def work(weight):
        shared = weight.detach() * ranks.rank()
        torch.distributed.all_reduce(shared)
        return model.double(x), shared, torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], str(ranks.device())

    for twice, shared, *threads, device in run_ranks(work, 2, model.weight):
        torch.testing.assert_close(twice, 2 * model(x))
        torch.testing.assert_close(shared, model.weight.detach())
        assert threads == [1, "1"] and device.startswith("cuda" if torch.cuda.is_available() else "cpu")


def test_a_rank_knows_what_torchrun_would_tell_it_and_what_the_caller_adds(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "somebody watches")
    names = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "OMP_NUM_THREADS", "MORE"]
    found = alone(lambda: {name: os.environ.get(name) for name in [*names, "JPY_SESSION_NAME"]}, env={"MORE": 4})
    assert [*found[1].values()] == ["1", "2", "1", "2", "127.0.0.1", "1", "4", None]
    assert environment(0, 1, 5, 4, {})["MKL_NUM_THREADS"] == "4"


def test_without_a_group_a_rank_does_not_import_torch():
    assert alone(lambda: "torch" in sys.modules, n=1) == [False]


def test_the_keyboard_belongs_to_nobody():
    def ask():
        try:
            return input()
        except EOFError:
            return "nobody there"

    assert alone(ask) == ["nobody there"] * 2


def test_a_rank_that_leaves_politely_returns_nothing():
    assert alone(lambda: sys.exit() if ranks.rank() else 1) == [1, None]
    assert alone(lambda: sys.exit(0), n=1) == [None]


def test_output_is_shown_rank_by_rank_and_line_by_line(capsys):
    def speak():
        print("one\ntwo", ranks.rank())
        print("50 %\r100 %", end="", file=sys.stderr)
        subprocess.run(["sh", "-c", "echo; echo from a child"], check=True)
        warnings.warn("look\nout", stacklevel=1)

    alone(speak)
    lines = [["one", f"two {rank}", "100 %", "from a child", "UserWarning: look out"] for rank in range(2)]
    assert capsys.readouterr().out.splitlines() == [f"[rank {r}] {line}" for r in range(2) for line in lines[r]]
    alone(speak, quiet=True)
    assert capsys.readouterr().out == ""


def test_a_hundred_megabytes_of_output_neither_block_nor_fill_the_page(capsys):
    def chatter():
        line = "na " * 33 + "\n"
        for _ in range(100):
            sys.stdout.write(line * 10_000)
        print("batman")

    alone(chatter, n=1)
    out = capsys.readouterr().out
    assert HEAD < len(out) < 2 * (HEAD + TAIL) and out.endswith("batman\n") and "characters left out" in out


def test_two_hundred_megabytes_come_back_whole():
    (one,) = alone(lambda: np.arange(25_000_000), n=1)
    assert one.nbytes == 200_000_000 and one[-1] == 24_999_999


class OnGpu(torch.Tensor):
    device = torch.device("cuda", 0)

    def detach(self):
        return self

    def cpu(self):
        return torch.ones(2)


def test_a_tensor_on_a_gpu_comes_back_on_the_cpu():
    found = pickle.loads(dumps({"weight": OnGpu()}))["weight"]
    assert type(found) is torch.Tensor and found.device.type == "cpu" and found.tolist() == [1, 1]


def test_what_is_kept_of_an_output_is_its_beginning_and_its_end():
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader:
        listener = Listener(reader)
        os.write(write, "é".encode()[:1])
        with os.fdopen(write, "wb") as stream:
            stream.write("é".encode()[1:] + b"a" * (HEAD - 1) + b"b" * 7 + b"c" * TAIL)
        listener.join()
    assert listener.text == "é" + "a" * (HEAD - 1) + "\n… 7 characters left out …\n" + "c" * TAIL
    assert plain(["a\n\nb\n", "", "c"]) == "[rank 0] a\n[rank 0] b\n[rank 2] c"


def test_who_watches_sees_panes(monkeypatch):
    drawn = []

    class Handle:
        def update(self, page):
            drawn.append(page.data)

    import IPython.display

    monkeypatch.setattr(IPython.display, "display", lambda page, display_id: Handle())
    monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    monkeypatch.delenv("NBVAL", raising=False)
    assert watched()
    alone(lambda: print("<b>", ranks.rank()))
    assert drawn[0].count("runs") == 2 and drawn[-1].count("has returned") == 2
    assert drawn[-1].index("&lt;b&gt; 0") < drawn[-1].index("rank 1") < drawn[-1].index("&lt;b&gt; 1")
    alone(lambda: time.sleep(0.1))
    assert "runs" in drawn[-2] and drawn[-1] == ""  # whoever has said nothing leaves nothing
    monkeypatch.setenv("NBVAL", "1")
    assert not watched()


def test_panes_without_a_place_to_be_are_no_error(monkeypatch):
    import IPython.display

    monkeypatch.setattr(IPython.display, "display", lambda page, display_id: None)
    Panes().show(["a"], ["runs"], last=True)


def meet():
    """Rank 0 waits at the port that all were told, the others come by."""
    place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    if ranks.rank() == 0:
        with socket.create_server(place) as server:
            other, _ = server.accept()
            with other:
                return place[1], other.recv(10)
    import time

    for _ in range(2000):
        try:
            with socket.create_connection(place) as link:
                link.send(b"hello")
            return place[1], None
        except ConnectionRefusedError:
            time.sleep(0.01)
    raise TimeoutError("rank 0 never listened")


def test_ports_never_clash_even_when_twenty_worlds_start_at_once():
    with ThreadPoolExecutor(20) as threads:
        found = [one.result() for one in [threads.submit(alone, meet, timeout=120) for _ in range(20)]]
    assert all(one == [(one[0][0], b"hello"), (one[0][0], None)] for one in found)


def test_a_port_is_given_to_one_at_a_time():
    held = [Port() for _ in range(200)]
    assert len({port.number for port in held}) == 200
    for port in held:
        port.close()


def test_a_run_in_a_kernel_with_threads_of_torch_and_in_a_thread_is_a_run_like_any_other():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.ones(300, 300) @ torch.ones(300, 300)
        found = []
        thread = threading.Thread(target=lambda: found.extend(alone(ranks.rank)))
        thread.start()
        thread.join()
        assert found == [0, 1]
    finally:
        torch.set_num_threads(before)


def test_ranks_do_not_start_ranks():
    with pytest.raises(RankFailed, match="rank 0 of 1 raised RuntimeError: run_ranks was called on a rank"):
        alone(lambda: run_ranks(print, 2, group=False), n=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "the number of ranks is 0; it must be a whole number from 1"),
        ({"n": 2.0}, r"the number of ranks is 2\.0"),
        ({"n": True}, "the number of ranks is True"),
        ({"n": 2, "timeout": 0}, "timeout is 0; it must be a number of seconds above 0"),
        ({"n": 2, "timeout": float("nan")}, "timeout is nan"),
        ({"n": 2, "threads": 0}, "threads is 0; every rank needs at least 1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        run_ranks(print, group=False, **options)


def test_what_is_no_function_is_refused():
    with pytest.raises(ValueError, match=r"'tokens' is no function; give one that every rank calls, as in run_ranks"):
        run_ranks("tokens", 2)


def test_a_group_without_torch_is_refused_before_anything_starts(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="a process group needs torch: install it, or say group=False"):
        run_ranks(print, 2)


def test_what_cannot_be_sent_is_named():
    lock, rows = threading.Lock(), [1, {"handle": threading.Lock()}]

    def uses():
        return [lock for _ in range(2)]

    def calls():
        return uses()

    with pytest.raises(ValueError, match=r"uses cannot be sent .* its variable 'lock' is a _thread.lock .*inside of"):
        alone(uses)
    with pytest.raises(ValueError, match=r"calls cannot be sent .* its variable 'lock' is a _thread.lock"):
        alone(calls)
    with pytest.raises(ValueError, match=r"print cannot be sent .* its argument 2 is a list"):
        alone(print, 1, rows)
    with pytest.raises(ValueError, match=r"<lambda> cannot be sent .* its argument 'who' is a _thread.lock"):
        alone(lambda who: who, who=lock)
