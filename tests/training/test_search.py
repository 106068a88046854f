"""Search: finds what matters, gives up on what looks bad, and is the same for the same seed."""

import optuna
import pytest
import torch
from torch import nn

from labkit.training import NonFiniteLoss, importance, pruner, search, train


def bowl(trial):
    """Only x counts."""
    x, y = trial.suggest_float("x", -5, 5), trial.suggest_float("y", -5, 5)
    return (x - 2) ** 2 + 0.001 * y


def test_it_comes_close_and_knows_what_mattered():
    study = search(bowl, 40)
    assert abs(study.best_params["x"] - 2) < 0.5
    shares = importance(study)
    assert list(shares) == ["x", "y"] and shares["x"] > 0.9 and sum(shares.values()) == pytest.approx(1)


def test_the_same_seed_tries_the_same():
    first, again, other = (search(bowl, 12, seed=seed).trials_dataframe()["value"].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_it_is_quiet(capfd):
    search(bowl, 3)
    assert capfd.readouterr() == ("", "")


class Line(nn.Module):
    """y = slope · x."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.0))

    def loss(self, x, y):
        return (self.slope * x - y).square().mean()


def test_a_hopeless_trial_is_given_up_early():
    batch = (torch.tensor([1.0]), torch.tensor([3.0]))
    steps = []

    def objective(trial):
        line, lr = Line(), trial.suggest_float("lr", 1e-6, 1e-1, log=True)
        optimizer = torch.optim.SGD(line.parameters(), lr=lr)

        def evaluate(model):
            steps[-1] += 1
            return model.loss(*batch)

        steps.append(0)
        history = train(line, [batch] * 20, optimizer, steps=20, every=2, evaluate=evaluate, stop=pruner(trial))
        return history.evaluations[20]

    study = search(objective, 12, warmup=3)
    pruned = [trial.number for trial in study.trials if trial.state == optuna.trial.TrialState.PRUNED]
    assert pruned and all(steps[number] < 10 for number in pruned)
    assert study.best_params["lr"] > 0.02


def test_a_trial_whose_loss_is_no_number_fails_alone():
    def objective(trial):
        x = trial.suggest_float("x", -5, 5)
        if trial.number == 1:
            raise NonFiniteLoss("step 3: the loss is nan", 3, "", "")
        return x**2

    study = search(objective, 4)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert importance(study) == {"x": 1.0}


def test_trials_that_were_given_up_count_for_importance():
    def objective(trial):
        x = bowl(trial)
        if x > 1:
            trial.report(x, 1)
            raise optuna.TrialPruned
        return x

    study = search(objective, 30)
    assert importance(study)["x"] > 0.9


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at least 1 trial, got 0"):
        search(bowl, 0)
    with pytest.raises(ValueError, match="compares trials that have a loss, and there are 1"):
        importance(search(bowl, 1))


def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ModuleNotFoundError, match=r"the package optuna is needed .*llm-labkit\[training\]"):
        search(bowl, 1)
