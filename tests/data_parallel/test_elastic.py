"""A rank is killed, and the run goes on from its checkpoint: bitwise with as many ranks, nearly with fewer."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from labkit.data_parallel.elastic import die_once, run_elastic, train
from labkit.data_parallel.practice import DigitsNet, digits
from labkit.ranks import RankFailed, rank, torchrun_script
from labkit.training.checkpoints import checkpoint_path, latest

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills processes")


def strikes(folder, deaths):
    """Rank 1 is killed before step 20; then rank 0 before step 27, and leaves half a checkpoint."""
    first, second = die_once(folder, 20, 1), die_once(folder, 27, 0)

    def strike(step):
        first(step)
        if deaths == 2 and step == 27 and rank() == 0 and not (Path(folder) / "died-0-27").exists():
            whole = checkpoint_path(folder, 24).read_bytes()
            checkpoint_path(folder, 24).write_bytes(whole[: len(whole) // 2])
            second(step)

    return strike


def on_digits(folder, deaths=1):
    """Thirty steps on digits with Adam, a checkpoint every eighth."""
    data = digits()

    def build():
        torch.manual_seed(5)
        model = torch.nn.Sequential(DigitsNet(4), torch.nn.Dropout(0.1))
        return model, torch.optim.Adam(model.parameters(), lr=0.01)

    def loss_of(model, indices):
        return torch.nn.functional.cross_entropy(model(data.images[indices]), data.labels[indices])

    strike = strikes(folder, deaths) if deaths else None
    return train(folder, build, loss_of, 1437, batch=30, steps=30, every=8, before_step=strike)


def both(folder):
    """What was killed and came back, and in the same processes what was never disturbed."""
    return on_digits(f"{folder}/killed", deaths=2), on_digits(f"{folder}/quiet", deaths=0)


@pytest.fixture(scope="module")
def replaced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elastic")
    return folder, run_elastic(both, 2, str(folder), replace=True, quiet=True)


def test_after_two_deaths_and_half_a_checkpoint_it_is_bitwise_the_run_that_nothing_disturbed(replaced):
    _, survived = replaced
    assert survived.attempts == [(2, 1, "SIGKILL"), (2, 0, "SIGKILL"), (2, None, "")]
    for killed, quiet in survived.results:
        assert killed.begun == 16 and quiet.begun == 0  # the checkpoint after 24 steps cannot be read
        assert killed.losses == quiet.losses and len(quiet.losses) == 30 and quiet.losses[-1] < quiet.losses[0]
        assert all(torch.equal(x, quiet.weights[name]) for name, x in killed.weights.items())


def test_the_last_checkpoint_is_that_of_the_last_step(replaced):
    assert latest(replaced[0] / "killed").name == "step-00000030.safetensors"


def alone(folder):
    """The same without dropout, whose chance depends on the number of ranks."""
    torch.nn.Dropout.forward = lambda self, x: x
    return on_digits(folder)


def test_with_the_one_that_is_left_it_is_the_same_up_to_rounding(tmp_path):
    survived = run_elastic(alone, 2, str(tmp_path / "killed"), quiet=True)
    assert survived.attempts == [(2, 1, "SIGKILL"), (1, None, "")]
    (left,) = survived.results
    assert left.world == 1 and left.begun == 16
    quiet = undisturbed()
    assert left.losses == pytest.approx(quiet, abs=1e-4)


def undisturbed():
    """The losses of a single process with the big batch, without anything of this module."""
    data, losses = digits(), []
    torch.manual_seed(5)
    model = DigitsNet(4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    from labkit.training.sampling import ResumableSampler

    draws = iter(ResumableSampler(1437, 30, 0))
    for _ in range(30):
        mine = next(draws)
        optimizer.zero_grad()
        loss = model.loss(data.images[mine], data.labels[mine])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def wrong():
    raise ValueError("a mistake of the program")


def deadly():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_mistake_is_no_accident_and_is_raised_at_once():
    with pytest.raises(RankFailed, match="a mistake of the program"):
        run_elastic(wrong, 2, group=False, quiet=True)


@pytest.mark.parametrize("options", [{"restarts": 1}, {"smallest": 2}])
def test_too_many_accidents_are_raised(options):
    with pytest.raises(RankFailed, match="SIGKILL"):
        run_elastic(deadly, 3, group=False, quiet=True, **options)


def losses_of(folder):
    """For torchrun: where it began, and the losses."""
    found = on_digits(folder)
    return found.begun, [round(loss, 6) for loss in found.losses]


def test_torchrun_restarts_it_too(tmp_path, replaced):
    script = torchrun_script(losses_of, tmp_path / "train.py", str(tmp_path / "run"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["--max-restarts=3"]  # one for the death that is planned; a busy machine may add one of its own
    names = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    env = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")} | names
    done = subprocess.run([*command, str(script)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # all of it: what a rank said before it died comes first
    found = re.findall(r"returned \((\d+), (\[.*?\])\)", done.stdout)
    assert len(found) == 2 and {begun for begun, _ in found} == {"16"}
    quiet = [round(loss, 6) for loss in replaced[1].results[0][1].losses]
    assert all(text == str(quiet) for _, text in found)
