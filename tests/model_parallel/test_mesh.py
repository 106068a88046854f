"""On four ranks: products of matrices cut four ways, and a mesh of data × tensor; equal to one process."""

import queue
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from threading import local
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from labkit.model_parallel import matmul  # noqa: E402
from labkit.model_parallel.mesh import check_sizes, coordinates  # noqa: E402
from labkit.ranks import run_ranks  # noqa: E402
from labkit.transformer import Config  # noqa: E402

CONFIG = Config(vocabulary=40, context=16, layers=2, heads=4, width=32)
SIZES = (8, 12, 4)  # rows of A, columns of A, columns of B


def say(function, *given, **named):
    """What a function complains about."""
    try:
        function(*given, **named)
    except ValueError as error:
        return str(error)
    return "nothing"


def products(rank, ranks):
    """For each scheme: the distance to this rank's part of A B, and the bytes that came in."""
    generator = torch.Generator().manual_seed(0)
    m, k, n = SIZES
    a, b = torch.randn(m, k, generator=generator), torch.randn(k, n, generator=generator)
    i, j = divmod(rank, 2)
    own = {
        "rows": (a @ b)[2 * rank : 2 * rank + 2],
        "columns": (a @ b)[:, rank : rank + 1],
        "sums": (a @ b)[2 * rank : 2 * rank + 2],
        "blocks": (a @ b)[4 * i : 4 * i + 4, 2 * j : 2 * j + 2],
    }
    found = {}
    for scheme in matmul.SCHEMES:
        moved = matmul.Moved()
        part = matmul.multiply(scheme, a, b, moved=moved)
        assert part.shape == own[scheme].shape
        found[scheme] = float((part - own[scheme]).abs().max()), moved.bytes, moved.times
    return found


def in_a_group(mesh, rank):
    """A product by the ranks of one column of the mesh only."""
    a, b = torch.eye(4) * (rank % 2 + 1), torch.arange(16.0).view(4, 4)
    part = matmul.multiply("rows", a, b, group=mesh.get_group("data"))
    return float((part - (a @ b)[2 * (rank // 2) : 2 * (rank // 2) + 2]).abs().max())


def trained(mesh, sequence):
    """Distance to one process after four steps: data halves by two, the model by two."""
    from labkit.model_parallel.decoder import ParallelDecoder
    from labkit.model_parallel.mesh import average_gradients, own_rows
    from labkit.transformer import Decoder

    serial = Decoder(CONFIG, seed=1)
    part = ParallelDecoder(CONFIG, mesh.get_group("tensor"), sequence=sequence, seed=1)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-2) for model in (serial, part)]
    rows = mesh.get_group("data")
    for step in range(4):
        ids = torch.randint(0, 40, (4, 17), generator=torch.Generator().manual_seed(step))
        x, y = ids[:, :-1], ids[:, 1:]
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss, whole = part.loss(own_rows(x, rows), own_rows(y, rows)), serial.loss(x, y)
        loss.backward()
        whole.backward()
        part.finish_gradients()
        average_gradients(part.parameters(), rows)
        for optimizer in optimizers:
            optimizer.step()
    state, expected = part.serial_state(), serial.state_dict()
    return max(float((state[name] - expected[name]).abs().max()) for name in expected), float(loss - whole)


def beside_devicemesh(mesh, rank):
    """Where this rank stands according to torch, and the members of its groups."""
    import torch.distributed as dist

    groups = {name: dist.get_process_group_ranks(mesh.get_group(name)) for name in mesh.mesh_dim_names}
    return dict(zip(mesh.mesh_dim_names, mesh.get_coordinate(), strict=True)), groups


def everything():
    import torch.distributed as dist

    from labkit.model_parallel.mesh import average_gradients, new_mesh

    torch.set_default_dtype(torch.float64)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    mesh = new_mesh(data=2, tensor=2)
    return {
        "products": products(rank, ranks),
        "in a group": in_a_group(mesh, rank),
        "trained": {sequence: trained(mesh, sequence) for sequence in (False, True)},
        "place": beside_devicemesh(mesh, rank),
        "too many": say(new_mesh, data=2, tensor=4),
        "no gradient": say(average_gradients, [torch.nn.Parameter(torch.ones(1))]),
    }


@pytest.fixture(scope="module")
def on_ranks():
    return run_ranks(everything, 4, quiet=True, timeout=300)


@pytest.mark.parametrize("scheme", matmul.SCHEMES)
def test_each_scheme_gives_the_product_and_moves_the_bytes_of_its_formula(on_ranks, scheme):
    for results in on_ranks:
        distance, moved, times = results["products"][scheme]
        assert distance < 1e-12
        assert moved == matmul.bytes_received(scheme, *SIZES, ranks=4, size=8)
        assert times == (2 if scheme == "blocks" else 3)


@pytest.mark.parametrize(
    ("scheme", "ranks"), [(s, n) for s in matmul.SCHEMES for n in (1, 3, 9) if (s, n) != ("blocks", 3)]
)
def test_each_scheme_works_on_more_ranks_played_by_threads(monkeypatch, scheme, ranks):
    # On a grid of 2 × 2 left and right are one; here they are not.
    own, letters = local(), defaultdict(queue.Queue)

    def pass_on(x, to, source, group=None, moved=None):
        letters[own.rank, to].put(x)
        return letters[source, own.rank].get(timeout=30)

    def play(rank):
        own.rank = rank
        return matmul.multiply(scheme, a, b)

    here = SimpleNamespace(get_rank=lambda group: own.rank, get_world_size=lambda group: ranks)
    monkeypatch.setattr(matmul, "dist", here)
    monkeypatch.setattr(matmul, "pass_on", pass_on)
    a, b = torch.arange(9.0 * 18).view(9, 18), torch.arange(18.0 * 9).view(18, 9) % 7
    with ThreadPoolExecutor(ranks) as threads:
        parts = list(threads.map(play, range(ranks)))
    side = matmul.grid_side(ranks) if scheme == "blocks" else {"columns": ranks}.get(scheme, 1)
    rows = [torch.cat(parts[first : first + side], dim=1) for first in range(0, ranks, side)]
    assert torch.equal(torch.cat(rows), a @ b)


def test_a_product_can_be_shared_by_some_of_the_ranks(on_ranks):
    assert max(results["in a group"] for results in on_ranks) == 0


@pytest.mark.parametrize("sequence", [False, True], ids=["tensor", "tensor and sequence"])
def test_a_mesh_of_data_and_tensor_learns_what_one_process_learns(on_ranks, sequence):
    distances, losses = zip(*(results["trained"][sequence] for results in on_ranks), strict=True)
    assert max(distances) < 1e-8
    assert losses[0] == losses[1] and losses[2] == losses[3] and losses[0] != losses[2]  # halves of the batch
    assert sum(losses) == pytest.approx(0, abs=1e-10)


def test_ranks_stand_where_torch_says(on_ranks):
    places = coordinates(data=2, tensor=2)
    for rank, results in enumerate(on_ranks):
        place, groups = results["place"]
        assert place == places[rank]
        assert groups == {
            name: [other for other in range(4) if all(places[other][n] == place[n] for n in place if n != name)]
            for name in place
        }


def test_a_mesh_that_does_not_fit_and_missing_gradients_are_refused_on_every_rank(on_ranks):
    for results in on_ranks:
        assert results["too many"] == "data=2 × tensor=4 is a mesh of 8 ranks, but there are 4"
        assert "call backward before" in results["no gradient"]


@pytest.mark.parametrize("sizes", [{}, {"data": 0}, {"data": 2.0}, {"data": -2, "tensor": -2}])
def test_sizes_that_are_none_are_refused(sizes):
    with pytest.raises(ValueError, match="whole numbers from 1 on"):
        check_sizes(sizes, 4)


def test_a_product_on_a_grid_by_hand():
    # Row by row (1 2 / 3 4): the grid's second row gets its blocks of A one to the left, its second column those of B
    # one up, so that the inner indices agree at once.
    a, b = torch.tensor([[1, 2], [3, 4]]), torch.tensor([[5, 6], [7, 8]])
    assert [int(matmul.deal(a, rank, 4, "blocks_left")) for rank in range(4)] == [1, 2, 4, 3]
    assert [int(matmul.deal(b, rank, 4, "blocks_right")) for rank in range(4)] == [5, 8, 7, 6]


@pytest.mark.parametrize(("by", "axis"), [("rows", 0), ("columns", 1)])
def test_what_was_dealt_makes_the_whole_again(by, axis):
    matrix = torch.arange(24).view(4, 6)
    assert torch.equal(torch.cat([matmul.deal(matrix, rank, 2, by) for rank in range(2)], dim=axis), matrix)


def test_two_dimensions_move_less_with_every_rank_more():
    square = [matmul.bytes_received(s, 1000, 1000, 1000, ranks=100) for s in ("rows", "columns", "sums", "blocks")]
    assert square == [3_960_000, 3_960_000, 3_960_000, 720_000]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: matmul.deal(torch.ones(5, 4), 0, 2, "rows"), "5 rows: 2 ranks do not divide"),
        (lambda: matmul.deal(torch.ones(4, 4), 0, 2, "diagonals"), "by must be one of rows, columns"),
        (lambda: matmul.deal(torch.ones(4, 4), 0, 2, "blocks_left"), "a square of ranks, such as 4 or 9, got 2"),
        (lambda: matmul.bytes_received("blocks", 4, 4, 4, ranks=8), "a square of ranks"),
        (lambda: matmul.bytes_received("rings", 4, 4, 4, ranks=4), "scheme must be one of rows"),
    ],
)
def test_matrices_and_schemes_that_do_not_fit_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
