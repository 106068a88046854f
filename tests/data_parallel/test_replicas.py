"""Data parallel: the gradient of n ranks is that of the big batch, for whatever model; and torch's DDP agrees."""

import pytest
import torch
from torch import nn

from labkit.data_parallel.buckets import partition
from labkit.ranks import run_ranks

MODES = ("flat", "per_parameter", "buckets")


class Odd(nn.Module):
    """A model with everything that makes trouble: tied, frozen and unused parameters, half precision, a convolution."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.first = nn.Linear(4, 6)
        self.frozen = nn.Linear(6, 6)
        self.sometimes = nn.Linear(6, 6)
        self.never = nn.Linear(2, 2)
        self.head = nn.Linear(4, 7, bias=False)
        self.back = nn.Linear(6, 4)
        self.to(dtype)
        self.head.weight = self.embedding.weight
        self.frozen.requires_grad_(False)

    def forward(self, ids, sometimes=False):
        x = self.frozen(self.first(self.embedding(ids)).tanh())
        x = x + self.sometimes(x) if sometimes else x
        return self.head(self.back(x))

    def loss(self, ids, targets, sometimes=False):
        return nn.functional.cross_entropy(self(ids, sometimes), targets)


def gradients(model):
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def odd_model(seed, dtype=torch.float64):
    torch.manual_seed(seed)
    return Odd(dtype)


def odd_data():
    draw = torch.Generator().manual_seed(1)
    return torch.randint(7, (12,), generator=draw), torch.randint(7, (12,), generator=draw)


def on_two_ranks():
    """All experiments, in one start of two processes."""
    from torch import distributed

    found, rank, world = {}, distributed.get_rank(), distributed.get_world_size()
    for experiment in (gradients_by_mode, accumulations, repetitions, other_models, trainings, refusals, oddities):
        experiment(found, rank, world)
    return found


def my_part(rank, world):
    return tuple(x[rank::world] for x in odd_data())


def wrapped(rank, mode="buckets", dtype=torch.float64, **options):
    from labkit.data_parallel.replicas import DataParallel

    return DataParallel(odd_model(rank, dtype), mode, **options)


def gradients_by_mode(found, rank, world):
    mine = my_part(rank, world)
    for mode in MODES:
        for dtype in (torch.float64, torch.float32):
            model = wrapped(rank, mode, dtype, bucket_mb=1e-4)
            model.loss(*mine).backward()
            found[mode, str(dtype)] = gradients(model.module), model.reductions, len(model.buckets)
        model = wrapped(rank, mode)
        model.loss(*mine, sometimes=rank == 1).backward()  # only one of the ranks uses it
        found[mode, "sometimes"] = gradients(model.module)


def accumulations(found, rank, world):
    from torch import distributed

    from labkit.data_parallel.accumulation import accumulate, share

    (ids, targets), mine = odd_data(), my_part(rank, world)
    model = wrapped(rank)
    with model.no_sync():
        model.loss(*(part[:3] for part in mine), sometimes=rank == 0).backward()
    found["reduced inside no_sync"] = model.reductions
    model.loss(*(part[3:] for part in mine)).backward()
    found["accumulated"] = gradients(model.module)
    model.zero_grad()
    uneven = (ids[:4], targets[:4]) if rank == 0 else (ids[4:], targets[4:])
    (model.loss(*uneven) * share(len(uneven[0]), dtype=torch.float64)).backward()
    found["uneven"] = gradients(model.module)
    model.zero_grad()
    before = model.reductions
    pieces = [(ids[a:b], targets[a:b]) for a, b in ((0, 1), (1, 4))] if rank == 0 else [(ids[4:], targets[4:])]
    loss = accumulate(model, pieces)
    distributed.all_reduce(loss)
    found["accumulate"] = gradients(model.module), loss / world, model.reductions - before, len(model.buckets)
    model.zero_grad()
    accumulate(model, [(ids, targets)] if rank == 0 else [])
    found["no batch on rank 1"] = gradients(model.module)


def repetitions(found, rank, world):
    from labkit.data_parallel.replicas import DataParallel

    mine, model = my_part(rank, world), wrapped(rank, bucket_mb=1e-4)
    model.loss(*mine).backward()
    model.loss(*mine).backward()  # reduced twice, as train(accumulate=2) does
    found["twice"] = gradients(model.module)
    model.zero_grad(set_to_none=False)
    model.loss(*mine).backward()
    found["zeroed in place"] = gradients(model.module)
    model.zero_grad()
    loss = model.loss(*mine)
    model.module.embedding.weight.register_hook(explode)  # its gradient comes last: others are on their way
    try:
        loss.backward()
    except ZeroDivisionError as error:
        found["raised"] = str(error)
    model.module.embedding.weight._backward_hooks.clear()
    model.zero_grad()
    model.loss(*mine).backward()
    found["after an error"] = gradients(model.module)
    again = DataParallel(model.unwrap(), "flat")
    again.zero_grad()
    again.loss(*mine).backward()
    found["wrapped anew"] = gradients(again.module), again.reductions


def explode(grad):
    return 1 / 0


def other_models(found, rank, world):
    from torch import distributed

    from labkit.data_parallel.agreement import drift
    from labkit.data_parallel.replicas import DataParallel
    from labkit.ranks.timeline import Recorder

    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 10)).bfloat16()
    half = DataParallel(net.to(memory_format=torch.channels_last))
    half(torch.randn(4, 1, 8, 8, dtype=torch.bfloat16)).float().square().mean().backward()
    half.broadcast()
    averages = [torch.empty_like(net[1].running_mean) for _ in range(world)]
    distributed.all_gather(averages, net[1].running_mean)
    found["buffers equal"] = torch.equal(*averages)
    torch.manual_seed(rank)
    found["drift before"] = drift(nn.Linear(3, 3))
    recorder = Recorder()
    big = DataParallel(nn.Sequential(*(nn.Linear(64, 64) for _ in range(6))), bucket_mb=0.02, recorder=recorder)
    big(torch.randn(8, 64)).square().mean().backward()
    distributed.barrier()
    found["events"] = [(event.kind, event.name) for event in recorder.events()]
    found["drift"] = drift(big.module), drift(net)


def trainings(found, rank, world):
    from torch.nn.parallel import DistributedDataParallel

    from labkit.data_parallel.practice import DigitsNet, digits
    from labkit.data_parallel.replicas import DataParallel
    from labkit.optimizers import AdamW
    from labkit.training import train

    pictures = digits()
    parts = [slice(step * 32 + rank, (step + 1) * 32, world) for step in range(20)]
    batches = [(pictures.images[part], pictures.labels[part]) for part in parts]
    for name, wrap in (("ours", DataParallel), ("ddp", DistributedDataParallel)):
        net = DigitsNet(8, seed=rank)
        wrapper, optimizer = wrap(net), torch.optim.AdamW(net.parameters(), lr=1e-2)
        for images, labels in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(wrapper(images), labels).backward()
            optimizer.step()
        found["weights", name] = [p.detach().clone() for p in net.parameters()]
    net = DataParallel(DigitsNet(8))
    history = train(net, batches, AdamW(net.parameters(), lr=1e-2), steps=20, max_norm=1.0)
    found["train"] = history.losses, [p.detach().clone() for p in net.parameters()], next(iter(net.state_dict()))


def refusals(found, rank, world):
    """What it says to modules that cannot be shared."""
    from labkit.data_parallel.replicas import DataParallel

    attempts = {
        "shapes": lambda: DataParallel(nn.Linear(3, 2 + rank)),
        "names": lambda: DataParallel(nn.Sequential(*(nn.Linear(2, 2) for _ in range(1 + rank)))),
        "frozen": lambda: DataParallel(nn.Linear(3, 3).requires_grad_(rank == 0)),
        "modes": lambda: DataParallel(nn.Linear(3, 3), MODES[rank]),
        "nothing": lambda: DataParallel(nn.Linear(3, 3).requires_grad_(False)),
        "sparse": lambda: DataParallel(nn.Embedding(3, 3, sparse=True)),
        "thawed": thawed,
        "twice": lambda: DataParallel(DataParallel(nn.Linear(3, 3)).module),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
        except ValueError as error:
            found["said", name] = str(error)


def thawed():
    from labkit.data_parallel.replicas import DataParallel

    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    model = DataParallel(net)
    net[1].requires_grad_(True)
    model(torch.ones(1, 2)).sum().backward()


def layers():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def numbers(rank):
    return torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(rank))


def square(net, x):
    return net(x).square().mean()


def in_checkpoints(net, x):
    """The same with two parts computed again in the backward pass, by passes inside of it."""
    from torch.utils.checkpoint import checkpoint

    x = x.clone().requires_grad_()
    x = net[1](checkpoint(net[0], x, use_reentrant=True))
    return net[4](checkpoint(net[2:4], x, use_reentrant=True)).square().mean()


def used_in_two_checkpoints(net, x):
    from torch.utils.checkpoint import checkpoint

    x = checkpoint(net[2], net[1](net[0](x)), use_reentrant=True)
    return net[4](checkpoint(net[2], x, use_reentrant=True)).square().mean()


class Raises(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(*_):
        raise ZeroDivisionError("in the middle")


def oddities(found, rank, world):
    """Passes inside of passes, gradients with a graph, errors that somebody keeps, targets that do not count."""
    from labkit.data_parallel.accumulation import accumulate
    from labkit.data_parallel.replicas import DataParallel

    for mode in MODES:
        model = DataParallel(layers(), mode, bucket_mb=1e-4)
        in_checkpoints(model.module, numbers(rank)).backward()
        found["checkpoints", mode] = gradients(model.module), model.reductions - len(model.buckets)
    model, kept = DataParallel(layers(), bucket_mb=1e-4), []
    for loss_of in (used_in_two_checkpoints, lambda net, x: net[4](Raises.apply(net[:4](x))).sum()):
        try:
            loss_of(model.module, numbers(rank)).backward()
        except (ValueError, ZeroDivisionError) as error:
            kept.append(error)
        model.zero_grad()
        square(model.module, numbers(rank)).backward()
        found["after", str(kept[-1])[:40]] = gradients(model.module)
        model.zero_grad()
    square(model.module, numbers(rank)).backward(create_graph=True)
    found["create_graph"] = gradients(model.module), any(p.grad.requires_grad for p in model.parameters())
    model.module.float()
    try:
        square(model.module, numbers(rank).float()).backward()
    except ValueError as error:
        found["converted"] = str(error)
    model, (ids, targets) = wrapped(rank), odd_data()
    ignored = torch.full_like(targets, -100)
    batches = [(ids, targets)] if rank == 0 else [(ids, ignored)]
    loss = accumulate(model, batches, [(batches[0][1] >= 0).sum()])  # a count that is a tensor, and zero on rank 1
    found["ignored"] = gradients(model.module), loss.item()
    model = DataParallel(Wave())
    model(torch.ones(2), rank == 0).backward()
    found["complex"] = gradients(model.module)


class Wave(nn.Module):
    """A complex parameter, and one that is not always used."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor([1 + 1j, 2.0]))
        self.b = nn.Parameter(torch.tensor([3 + 0j, 1j]))

    def forward(self, x, both):
        return (self.a * self.b if both else self.a).abs() @ x


@pytest.fixture(scope="module")
def found():
    return run_ranks(on_two_ranks, 2, quiet=True)


def serial(model, *batches):
    """The gradients of one process; every batch is (its part of the loss, arguments)."""
    model.zero_grad()
    for part, arguments in batches:
        (part * model.loss(*arguments)).backward()
    return gradients(model)


def agree(got, wanted, tolerance=1e-12):
    assert got.keys() == wanted.keys()
    for name, want in wanted.items():
        if want is None:
            assert got[name] is None, name
        else:
            torch.testing.assert_close(got[name], want, rtol=0, atol=tolerance)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_the_gradient_of_the_ranks_is_that_of_the_big_batch(found, mode, dtype, tolerance):
    wanted = serial(odd_model(0, dtype), (1, odd_data()))
    for of_rank in found:
        got, reductions, buckets = of_rank[mode, str(dtype)]
        agree(got, wanted, tolerance)
        assert reductions == buckets
    assert wanted["never.weight"] is None and wanted["frozen.weight"] is None


@pytest.mark.parametrize("mode", MODES)
def test_a_parameter_that_one_rank_uses_is_reduced_on_all(found, mode):
    ids, targets = odd_data()
    parts = [(0.5, (ids[r::2], targets[r::2], r == 1)) for r in range(2)]
    wanted = serial(odd_model(0), *parts)
    assert wanted["sometimes.weight"] is not None
    for of_rank in found:
        agree(of_rank[mode, "sometimes"], wanted)


def test_passes_without_reduction_add_up_and_the_last_one_shares_them(found):
    ids, targets = odd_data()
    cut = [
        (ids[r::2][a], targets[r::2][a], r == 0 and a.start is None) for r in range(2) for a in (slice(3), slice(3, 6))
    ]
    wanted = serial(odd_model(0), *((0.5, part) for part in cut))
    for of_rank in found:
        assert of_rank["reduced inside no_sync"] == 0
        agree(of_rank["accumulated"], wanted)


def test_uneven_parts_and_small_batches_weigh_by_their_targets(found):
    ids, targets = odd_data()
    wanted = serial(odd_model(0), (1, (ids, targets)))
    for of_rank in found:
        agree(of_rank["uneven"], wanted)
        got, loss, reductions, buckets = of_rank["accumulate"]
        agree(got, wanted)
        assert loss.item() == pytest.approx(odd_model(0).loss(ids, targets).item(), rel=1e-6)
        assert reductions == buckets  # of two batches only the last reduced
        agree(of_rank["no batch on rank 1"], wanted)


def test_a_second_pass_a_pass_after_zeroing_in_place_and_one_after_an_error(found):
    wanted = serial(odd_model(0), (1, odd_data()))
    double = {name: None if grad is None else 2 * grad for name, grad in wanted.items()}
    for of_rank in found:
        agree(of_rank["twice"], double)
        agree(of_rank["zeroed in place"], wanted)
        assert of_rank["raised"] == "division by zero"
        agree(of_rank["after an error"], wanted)
        got, reductions = of_rank["wrapped anew"]
        agree(got, wanted)
        assert reductions == 1


def test_all_ranks_begin_and_stay_equal(found):
    assert found[0]["drift before"] > 0
    assert [of_rank["drift"] for of_rank in found] == [(0, 0)] * 2
    assert all(of_rank["buffers equal"] for of_rank in found)


def test_buckets_are_sent_while_the_backward_pass_goes_on(found):
    events = found[0]["events"]
    assert [name for _, name in events] == ["backward", *(f"bucket {i}" for i in range(6))]
    assert {kind for kind, _ in events[1:]} == {"communication"}


def test_training_ends_with_the_weights_of_ddp(found):
    for of_rank in found:
        for ours, ddp in zip(of_rank["weights", "ours"], of_rank["weights", "ddp"], strict=True):
            torch.testing.assert_close(ours, ddp, rtol=0, atol=1e-6)
    for one, other in zip(found[0]["weights", "ours"], found[1]["weights", "ours"], strict=True):
        assert torch.equal(one, other)


def test_the_training_loop_of_notebook_09_runs_on_it(found):
    (losses, weights, name), (_, other, _) = found[0]["train"], found[1]["train"]
    assert len(losses) == 20 and losses[-1] < losses[0] and name.startswith("module.layers")
    assert all(torch.equal(a, b) for a, b in zip(weights, other, strict=True))


def test_modules_that_differ_or_cannot_be_shared_are_named_on_every_rank(found):
    for of_rank in found:
        said = {name[1]: text for name, text in of_rank.items() if name[0] == "said"}
        assert said["shapes"].startswith("rank 1 has another model than rank 0: weight: (3, 3) float32 trained against")
        assert "4 parameters and buffers against 2, beginning with 1.weight: (2, 2)" in said["names"]
        assert "frozen against weight: (3, 3) float32 trained" in said["frozen"]
        assert "mode = per_parameter, bucket_mb = 25.0 against mode = flat" in said["modes"]
        assert "no parameter of the module requires a gradient" in said["nothing"]
        assert "sparse=False" in said["sparse"]
        assert "1.weight was frozen or absent" in said["thawed"]
        assert "call unwrap() on that one first" in said["twice"]


def mean_over_ranks(loss_of=square):
    net = layers()
    (sum(loss_of(net, numbers(rank)) for rank in range(2)) / 2).backward()
    return gradients(net)


@pytest.mark.parametrize("mode", MODES)
def test_passes_inside_of_a_pass_are_a_part_of_it(found, mode):
    for of_rank in found:
        got, more = of_rank["checkpoints", mode]
        agree(got, mean_over_ranks())
        assert more == 0  # reduced once, as without checkpoints


def test_what_gets_two_gradients_in_a_pass_is_refused_and_errors_that_somebody_keeps_leave_nothing_behind(found):
    for of_rank in found:
        said = {name[1]: got for name, got in of_rank.items() if name[0] == "after"}
        assert [*said] == ["a parameter got two gradients in one bac", "in the middle"]
        for got in said.values():
            agree(got, mean_over_ranks())


def test_gradients_with_a_graph_are_reduced_without_it_and_a_module_that_was_converted_is_refused(found):
    for of_rank in found:
        got, graph = of_rank["create_graph"]
        agree(got, mean_over_ranks())
        assert not graph
        assert of_rank["converted"].startswith("0.weight was torch.float64 when DataParallel was made and is torch.fl")


def test_a_batch_without_targets_counts_nothing(found):
    wanted = serial(odd_model(0), (1, odd_data()))
    for of_rank, loss in zip(found, (2 * odd_model(0).loss(*odd_data()).item(), 0.0), strict=True):
        agree(of_rank["ignored"][0], wanted)
        assert of_rank["ignored"][1] == pytest.approx(loss, rel=1e-6)


def test_complex_parameters_are_shared_too(found):
    net = Wave()
    (sum(net(torch.ones(2), both) for both in (True, False)) / 2).backward()
    for of_rank in found:
        agree(of_rank["complex"], gradients(net), 1e-6)


def test_without_a_group_it_says_where_to_run_it():
    from labkit.data_parallel.replicas import DataParallel

    with pytest.raises(ValueError, match="inside run_ranks"):
        DataParallel(nn.Linear(2, 2))


def test_buckets_hold_what_fits_last_parameters_first():
    sizes = [100, 300, 200, 500, 50]
    parameters = [nn.Parameter(torch.zeros(size)) for size in sizes]

    def cut(*arguments):
        return [[p.numel() for p in bucket] for bucket in partition(parameters, *arguments)]

    assert cut("flat") == [[50, 500, 200, 300, 100]]
    assert cut("per_parameter") == [[50], [500], [200], [300], [100]]
    assert cut("buckets", 600 * 4 / 2**20) == [[50, 500], [200, 300, 100]]
    assert cut("buckets", 1e-5) == cut("per_parameter")


def test_the_bucket_that_leaves_last_is_small_for_nothing_is_computed_behind_it():
    quarter = 2**16  # numbers in 0.25 MB

    def cut(*quarters, mb=25):
        parameters = [nn.Parameter(torch.zeros(quarter * size, dtype=torch.float32)) for size in quarters]
        return [[p.numel() // quarter for p in bucket] for bucket in partition(parameters, "buckets", mb)]

    assert cut(1, 2, 1, 3, 4) == [[4, 3], [1, 2, 1]]  # exactly 1 MB
    assert cut(1, 2, 2, 3) == [[3, 2], [2, 1]]  # 1.25 MB would be too much
    assert cut(1, 1) == [[1, 1]] and cut(9) == [[9]]
    assert cut(9, 1, 1) == [[1, 1], [9]]  # one that is larger is alone
    assert cut(1, 1, 2, 2, 2, mb=1) == [[2, 2], [2, 1, 1]]  # buckets that are small already stay as they are
    assert cut(1, 1, 3, 1, 4, mb=2) == [[4, 1, 3], [1, 1]]
    assert cut() == []


def test_a_bucket_has_one_dtype():
    parameters = [nn.Parameter(torch.zeros(2, dtype=dtype)) for dtype in (torch.float32, torch.bfloat16, torch.float32)]
    assert [len(bucket) for bucket in partition(parameters, "flat")] == [2, 1]


def test_impossible_buckets_are_refused():
    with pytest.raises(ValueError, match="mode must be one of flat, per_parameter, buckets, got 'ring'"):
        partition([], "ring")
    with pytest.raises(ValueError, match="bucket_mb must be positive"):
        partition([], "buckets", 0)
