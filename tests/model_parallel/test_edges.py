"""The edges: a world of one and of three, half precision, frozen parts, nothing to do, one token each, one for all."""

import math

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from labkit.model_parallel.schedules import SCHEDULES, check_schedule, gpipe  # noqa: E402
from labkit.ranks import run_ranks, start_group  # noqa: E402
from labkit.transformer import Config, Decoder  # noqa: E402

EXACT = 1e-12
SHAPE = {"vocabulary": 42, "context": 12, "layers": 3, "heads": 3, "width": 12}


def say(function, *given, **named):
    """What a function complains about."""
    try:
        function(*given, **named)
    except ValueError as error:
        return str(error)
    return "nothing"


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def ids_of(rows=6, seed=1):
    ids = torch.randint(0, 42, (rows, 13), generator=torch.Generator().manual_seed(seed))
    return ids[:, :-1], ids[:, 1:]


# vocabulary, dropout, clipping ---------------------------------------------------------------------------------------


def losses():
    """Minus torch's: with words that are ruled out, and in double precision where single is the default."""
    import torch.distributed as dist

    from labkit.model_parallel.vocabulary import vocabulary_cross_entropy

    logits, targets = drawn(7, 12), torch.tensor([1, 2, 3, 5, 9, 11, -100])
    logits[:, [0, 4, 8]] = -math.inf  # the first word of each rank
    whole = logits.clone().requires_grad_()
    wanted = functional.cross_entropy(whole, targets)
    wanted.backward()
    own = logits.chunk(3, dim=1)[dist.get_rank()].clone().requires_grad_()
    found = vocabulary_cross_entropy(own, targets)
    found.backward()
    wrong = own.grad - whole.grad.chunk(3, dim=1)[dist.get_rank()]
    return float((found - wanted).abs()), float(wrong.abs().max())


def chances():
    """Other seeds on each rank where a stream is whole; then the same ones, and a rate of one."""
    import torch.distributed as dist

    from labkit.model_parallel.decoder import ParallelDecoder
    from labkit.model_parallel.sequence import SlicedDropout

    model = ParallelDecoder(Config(**SHAPE, dropout=0.5))
    torch.manual_seed(dist.get_rank())
    other = say(model.loss, *ids_of())
    evaluated = say(model.eval().loss, *ids_of())
    torch.manual_seed(3)
    same = say(model.train().loss, *ids_of())
    return other, evaluated, same, float(SlicedDropout(1.0)(torch.ones(2, 2)).sum())


def norms(sequence):
    """The gradient's norm with frozen parts, minus one process's; and of half precision whose squares overflow."""
    from labkit.model_parallel.decoder import ParallelDecoder
    from labkit.model_parallel.mesh import average_gradients

    config = Config(**SHAPE)
    serial, ours = Decoder(config).double(), ParallelDecoder(config, sequence=sequence).double()
    for model in (serial, ours):
        model.norm.requires_grad_(False)
        model.blocks[1].requires_grad_(False)
        model.loss(*ids_of()).backward()
    ours.finish_gradients()
    average_gradients(ours.parameters(), torch.distributed.new_subgroups(1)[0])
    wanted = torch.nn.utils.clip_grad_norm_([p for p in serial.parameters() if p.grad is not None], 1.0)
    half = ParallelDecoder(config).half()
    for parameter in half.parameters():
        parameter.grad = torch.full_like(parameter, 300.0)
    numbers = sum(p.numel() for p in Decoder(config).parameters())
    return float((ours.gradient_norm() - wanted).abs()), float(half.gradient_norm()) / (300 * numbers**0.5)


# pipelines ----------------------------------------------------------------------------------------------------------


def frozen_pipeline(name, tied):
    """With the first third frozen: gradients and norm minus those of one process, and what got one for nothing."""
    from labkit.model_parallel.stages import pipeline_decoder

    config = Config(**SHAPE, tied=tied)
    serial, pipe = Decoder(config, seed=2).double(), pipeline_decoder(config, SCHEDULES[name](3, 3), seed=2)
    for stage in pipe.stages.values():
        stage.double()
    pipe.dtype = torch.float64
    for name_, parameter in (*serial.named_parameters(), *_named(pipe)):
        if name_.startswith(("blocks.0.", "positions.")) or (not tied and name_.startswith("tokens.")):
            parameter.requires_grad_(False)
    serial.loss(*ids_of()).backward()
    pipe.step(*ids_of())
    wanted = dict(serial.named_parameters())
    pairs = [(p, wanted.get(n, serial.tokens.weight)) for n, p in _named(pipe)]
    wrong = max((float((p.grad - q.grad).abs().max()) for p, q in pairs if q.grad is not None), default=0.0)
    idle = [p.shape for p, q in pairs if (p.grad is None) != (q.grad is None)]
    norm = torch.nn.utils.clip_grad_norm_([p for p in serial.parameters() if p.grad is not None], 1.0)
    return wrong, float((pipe.gradient_norm() - norm).abs()), idle


def _named(pipe):
    return [pair for stage in pipe.stages.values() for pair in stage.named_parameters()]


class Bare(torch.nn.Module):
    """A stage without any weights."""

    def forward(self, x, targets=None):
        return x if targets is None else (x - targets).square().mean()


def odd_pipelines():
    from torch.distributed import get_rank

    from labkit.model_parallel.pipeline import Pipeline
    from labkit.model_parallel.stages import pipeline_decoder

    rank, x = get_rank(), torch.ones(2, 3)
    bare = Pipeline({rank: Bare()}, gpipe(3, 2), (3,)).step(x, 0 * x)
    idle = [[(kind, rank, i) for kind in "FB" for i in range(2)] for rank in range(2)] + [[]]
    few = pipeline_decoder(Config(**SHAPE), SCHEDULES["zero bubble"](3, 1)).step(*ids_of())
    serial = Decoder(Config(**SHAPE)).loss(*ids_of())
    return float(bare), say(Pipeline, {rank: Bare()}, idle, (3,)), float((few - serial).abs())


# long sequences and experts ------------------------------------------------------------------------------------------


def rings():
    """Minus torch's: one token on each rank; and how much worse than torch's own half precision ours is."""
    from labkit.model_parallel.context import all_tokens, own_tokens, ring_attention

    found, x = {}, drawn(1, 3, 4)
    for order in ("contiguous", "striped"):
        for causal in (False, True):
            own = own_tokens(x, order=order)
            y = all_tokens(ring_attention(own, own, own, causal=causal, order=order), order=order)
            wanted = functional.scaled_dot_product_attention(x, x, x, is_causal=causal)
            found[order, causal] = float((y - wanted).abs().max())
    found["one each in zigzag"] = say(own_tokens, x)
    for kind in (torch.bfloat16, torch.float16):
        found[kind] = _half(kind, own_tokens, all_tokens, ring_attention)
    return found


def _half(kind, own_tokens, all_tokens, ring_attention):
    inputs = [
        part * scale + shift
        for part, scale, shift in zip(drawn(3, 1, 1, 1536, 16), (0.1, 0.1, 1), (0, 0, 1), strict=True)
    ]
    exact = [part.clone().requires_grad_() for part in inputs]
    ours = [own_tokens(part).to(kind).requires_grad_() for part in inputs]
    theirs = [part.to(kind).requires_grad_() for part in inputs]
    wanted, near = (functional.scaled_dot_product_attention(*each) for each in (exact, theirs))
    mine = ring_attention(*ours)
    for result, upstream in ((wanted, torch.ones_like(wanted)), (near, torch.ones_like(near))):
        result.backward(upstream)
    mine.backward(torch.ones_like(mine))
    triples = [(mine, near, wanted), *((a.grad, b.grad, c.grad) for a, b, c in zip(ours, theirs, exact, strict=True))]
    assert all(a.dtype == kind for a, *_ in triples)
    return [[float((x.double() - c).abs().max()) for x in (all_tokens(a), b)] for a, b, c in triples]


def crowds():
    """All tokens to one expert, and room for none: minus one process; a batch without tokens; a frozen router."""
    from torch.distributed import get_rank

    from labkit.model_parallel.experts import Experts, ParallelExperts, one_step

    found, rank, (x, target) = {}, get_rank(), drawn(2, 12, 6).abs()
    for factor in (0, 3.0):
        serial, ours = (
            kind(6, 8, 3, factor=factor, **more).double()
            for kind, more in ((Experts, {"groups": 3}), (ParallelExperts, {}))
        )
        for layer in (serial, ours):
            with torch.no_grad():
                layer.router[:] = torch.tensor([[-1.0], [1.0], [-1.0]])  # everybody wants the second
        mine, whole = one_step(ours, x.chunk(3)[rank], target.chunk(3)[rank]), one_step(serial, x, target)
        wanted = whole[0].chunk(3)[rank], whole[1], whole[2].chunk(3)[rank]
        found[factor] = max(float((a - b).abs().max()) for a, b in zip(mine, wanted, strict=True))
    found["none"] = say(ours, x[:0])
    ours.zero_grad()
    found["early"] = say(ours.finish_gradients)
    ours.router.requires_grad_(False)
    ours(x)[0].sum().backward()
    found["frozen"] = say(ours.finish_gradients)
    return found


def on_three():
    frozen = {(name, tied): frozen_pipeline(name, tied) for name in ("1F1B", "zero bubble") for tied in (False, True)}
    found = {"losses": losses(), "chances": chances(), "norms": [norms(each) for each in (False, True)]}
    return {**found, "frozen": frozen, "odd": odd_pipelines(), "rings": rings(), "crowds": crowds()}


@pytest.fixture(scope="module")
def three():
    return run_ranks(on_three, 3, timeout=120.0)


def test_words_that_are_ruled_out_and_double_precision_cost_the_loss_nothing(three):
    assert max(max(mine["losses"]) for mine in three) < EXACT


def test_ranks_that_would_drop_out_other_numbers_of_one_stream_are_told(three):
    for mine in three:
        other, evaluated, same, nothing_left = mine["chances"]
        assert "ranks [1, 2] of this group would draw other dropout masks" in other
        assert (evaluated, same, nothing_left) == ("nothing", "nothing", 0.0)


def test_the_norm_to_clip_by_leaves_out_what_is_frozen_and_holds_half_precision(three):
    for mine in three:
        for wrong, half in mine["norms"]:
            assert wrong < EXACT and half == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", ["1F1B", "zero bubble"])
def test_a_pipeline_trains_what_is_not_frozen_and_knows_the_norm_of_the_whole(three, name, tied):
    for mine in three:
        gradients, norm, idle = mine["frozen"][name, tied]
        assert gradients < EXACT and norm < EXACT and not idle


def test_stages_without_weights_run_and_ranks_without_stages_are_refused(three):
    for mine in three:
        loss, idle, few = mine["odd"]
        assert loss == 1.0 and "rank 2 has nothing to do" in idle and few < 1e-6


def test_one_token_for_each_rank_and_half_precision_go_round_the_ring(three):
    for mine in three:
        found = mine["rings"]
        assert max(found[order, causal] for order in ("contiguous", "striped") for causal in (False, True)) < EXACT
        assert "3 tokens do not divide into 6 equal parts" in found["one each in zigzag"]
        for kind in (torch.bfloat16, torch.float16):
            for ours, theirs in found[kind]:
                assert ours <= 1.5 * theirs + torch.finfo(kind).eps / 2  # a rounding for each rank that adds


def test_all_tokens_may_want_one_expert_and_an_expert_may_have_no_place(three):
    for mine in three:
        found = mine["crowds"]
        assert found[0] < EXACT and found[3.0] < EXACT
        assert "no tokens" in found["none"] and "call backward" in found["early"] and found["frozen"] == "nothing"


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ([[("F", 0)]], r"\('F', 0\) of rank 0 is no operation"),
        (["ab"], "'a' of rank 0 is no operation"),
        ([[("F", 0, 0.0), ("B", 0, 0.0)]], r"\('F', 0, 0.0\) of rank 0 is no operation"),
        ([[("F", 0, -1), ("B", 0, -1)]], "F0.-1 is no operation"),
        ([[("F", 0, 0), ("B", 0, 0)], []], "rank 1 has nothing to do"),
        ([], "stages are numbered"),
    ],
)
def test_what_is_no_schedule_is_refused_by_name(schedule, message):
    with pytest.raises(ValueError, match=message):
        check_schedule(schedule)


def test_a_world_of_one_is_the_serial_model():
    from labkit.attention import attention
    from labkit.model_parallel.context import ring_attention
    from labkit.model_parallel.decoder import ParallelDecoder
    from labkit.model_parallel.experts import Experts, ParallelExperts
    from labkit.model_parallel.matmul import SCHEMES, multiply
    from labkit.model_parallel.stages import pipeline_decoder

    config, x = Config(**SHAPE), drawn(6, 6)
    serial = Decoder(config)
    wanted = serial.loss(*ids_of())
    wanted.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in serial.parameters()])
    with start_group():
        for sequence in (False, True):
            model = ParallelDecoder(config, sequence=sequence)
            loss = model.loss(*ids_of())
            loss.backward()
            model.finish_gradients()
            assert torch.allclose(loss, wanted) and torch.allclose(model.gradient_norm(), norm)
        for name, make in SCHEDULES.items():
            pipe = pipeline_decoder(config, make(1, 3))
            assert torch.allclose(pipe.step(*ids_of()), wanted), name
            assert torch.allclose(pipe.gradient_norm(), norm), name
        assert all(torch.allclose(multiply(scheme, x, x), x @ x) for scheme in SCHEMES)
        ring = ring_attention(x[None], x[None], x[None], causal=True)
        assert torch.allclose(ring, attention(x[None], x[None], x[None], causal=True))
        layers = Experts(6, 8, 3).double(), ParallelExperts(6, 8, 3).double()
        assert torch.equal(*(layer(x)[0] for layer in layers))
