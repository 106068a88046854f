"""What labkit has for the exercises on optimizers, training and cleaning (see counterparts.py)."""

from typing import Any

import numpy as np

from labkit.workbench.later import Later

torch = Later("torch")


def _logistic_gradient(classifier, w, x, y):
    zero = torch.zeros((), dtype=x.dtype)
    slope, _ = _quality_gradient(classifier, x.numpy(), y.numpy(), w.numpy(), float(zero), 0.0)
    return torch.from_numpy(slope) / len(y)


def _momentum_step(f, w, g, velocity, lr, momentum, dampening):
    parameter = torch.nn.Parameter(w.clone())
    parameter.grad = g.clone()
    optimizer = f([parameter], lr=lr, momentum=momentum, dampening=dampening)
    if velocity is not None:
        optimizer.state[parameter]["momentum_buffer"] = velocity.clone()
    optimizer.step()
    return parameter.detach(), optimizer.state[parameter].get("momentum_buffer", g)


def _adam_step(f, w, g, m, v, step, lr, beta1, beta2, eps):
    new, state = f(w, g, {"m": m, "v": v}, step, lr=lr, betas=(beta1, beta2), eps=eps)
    return new, state["m"], state["v"]


def _amsgrad_step(f, g, v, largest, step, beta2, eps):
    state = {"m": torch.ones_like(g), "v": v, "largest": largest}
    moved, new = f(torch.zeros_like(g), g, state, step, lr=1.0, betas=(0.5, beta2), eps=eps)
    return -(new["m"] / (1 - 0.5**step)) / moved, new["v"], new["largest"]


def _lion_step(f, w, g, m, lr, beta1, beta2, weight_decay):
    new, state = f(w, g, {"m": m}, 2, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)
    return new, state["m"]


def _rare_gradient(f, lr, beta1, beta2, step):
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    return abs(float(f(zero, one, {"m": zero, "v": zero}, step, lr=lr, betas=(beta1, beta2), eps=0.0)[0]))


def _newton_schulz(f, x, a, b, c):
    """The package divides by the norm first; with coefficients that undo it the step is the bare one."""
    norm = float(x.norm().clamp(min=1e-7))
    return f(x, 1, (a * norm, b * norm**3, c * norm**5))


def _batch_norm(f, x, running_mean, running_variance, momentum, eps):
    layer = f(x.shape[1], eps, momentum).to(x.dtype)
    layer.running_mean, layer.running_var = running_mean.clone(), running_variance.clone()
    return layer.train()(x).detach(), layer.running_mean, layer.running_var


def _early_stopping(f, losses, patience):
    watch = f(patience)
    last = next((epoch for epoch, loss in enumerate(losses) if watch.should_stop(loss)), len(losses) - 1)
    return last, watch.best_look


def _clip(f, gradients, max_norm):
    parameters = [torch.nn.Parameter(gradient.clone()) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    f(parameters, max_norm)
    return [parameter.grad for parameter in parameters]


def _update_scale(f, scale, clean, gradient, interval):
    parameter = torch.nn.Parameter(torch.zeros_like(gradient))
    parameter.grad = gradient.clone()
    probe = torch.nn.Parameter(torch.zeros(1))  # it moves when a step is taken
    probe.grad = torch.ones(1)
    scaler, optimizer = f(init_scale=scale, growth_interval=interval), torch.optim.SGD([parameter, probe], lr=1.0)
    scaler.load_state_dict(scaler.state_dict() | {"_growth_tracker": clean})
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    state = scaler.state_dict()
    return state["scale"], state["_growth_tracker"], bool(probe.detach() != 0)


def _remaining_batches(f, order_of, n, batch, step):
    """The package has orders of its own: what is chosen is told by its place in them, which another sampler shows."""
    sampler, places = f(n, batch), {}
    batches, shows = iter(sampler), f(n, batch)
    for found in shows:
        seen = [one for epoch, one in places if epoch == shows.epoch]
        if shows.epoch > step * batch // n + 2:
            break
        places |= {(shows.epoch, one): len(seen) + k for k, one in enumerate(found.tolist())}
    for _ in range(step):
        next(batches)
    epoch, left = None, []
    for found in batches:
        epoch = sampler.epoch if epoch is None else epoch
        if sampler.epoch != epoch:
            return left
        left.append([order_of(epoch, n)[places[epoch, one]] for one in found.tolist()])
    return left


def _language_posterior(f, table, prior, seen):
    model = f()
    model.table = np.concatenate([table, np.log(prior)[:, None]], axis=1)
    model.languages = tuple(map(str, range(len(prior))))
    model.log_scores = lambda text: model.table[:, [*seen, table.shape[1]]].sum(axis=1)
    return model.probabilities("")


def _quality_gradient(classifier, features, good, weights, constant, penalty):
    rows, columns = np.nonzero(np.ones_like(features))
    bags = classifier.Bags(rows, columns, features[rows, columns], features.shape)
    _, slope = classifier.loss_and_gradient(np.append(weights, constant), bags, np.asarray(good, float), penalty)
    return slope[:-1], float(slope[-1])


def _signature_of(f, shingles, multipliers):
    own = f(len(multipliers))
    own.multipliers = np.array(multipliers, dtype=np.uint32)
    return own.signature(np.array(shingles, dtype=np.uint64) << np.uint64(32)).tolist()


def _band_candidates(banding, signatures, rows):
    if not signatures:
        return []
    bands = banding.Bands(len(signatures[0]) // rows, rows)
    keys = banding.keys(np.array(signatures, dtype=np.uint32), bands)
    return [tuple(pair) for pair in banding.candidates(keys).tolist()]


def _survivors(f, n, pairs):
    return [item for item, group in enumerate(f(n, pairs).tolist()) if item == group]


def _shingle_similarity(shingles, first, second, size):
    how = shingles.Shingling(size=size)
    return shingles.jaccard(*(shingles.shingles(" ".join(words), how) for words in (first, second)))


TRAINING: dict[str, tuple[str, Any]] = {
    "optimizers.exponential_average": (
        "optimizers.averages",
        lambda averages, values, beta: torch.stack(
            [
                average / averages.bias_correction(beta, step)
                for step, average in enumerate(averages.exponential_average(values, beta), 1)
            ]
        ),
    ),
    "optimizers.largest_stable_lr": (
        "optimizers.descent.largest_stable_lr",
        lambda f, hessian: f(float(torch.linalg.eigvalsh(hessian)[-1])),
    ),
    "cleaning.language_posterior": ("cleaning.language.NaiveBayes", _language_posterior),
    "cleaning.quality_gradient": ("cleaning.classifier", _quality_gradient),
    "cleaning.duplicate_share": (
        "cleaning.repetition.duplicate_ngrams",
        lambda f, words, n: f("".join(words), n, words=words),
    ),
    "optimizers.logistic_gradient": ("cleaning.classifier", _logistic_gradient),
    "optimizers.momentum_step": ("optimizers.sgd.SGD", _momentum_step),
    "optimizers.map_mean": (
        "optimizers.priors.shrink",
        lambda f, x, noise, prior: f(x.mean(), noise**2 / (len(x) * prior**2)),
    ),
    "optimizers.batch_variance": (
        "optimizers.noise.variance_of_batch_mean",
        lambda f, gradients, batch: f(float(gradients.var(correction=0)), batch, len(gradients)),
    ),
    "optimizers.adam_first_step": (
        "optimizers.textbook.adam_step",
        lambda f, g, lr, eps: f(torch.zeros_like(g), g, {}, 1, lr=lr, eps=eps)[0],
    ),
    "optimizers.adam_step": ("optimizers.textbook.adam_step", _adam_step),
    "optimizers.rare_gradient": ("optimizers.textbook.adam_step", _rare_gradient),
    "optimizers.amsgrad_step": ("optimizers.textbook.amsgrad_step", _amsgrad_step),
    "optimizers.lion_step": ("optimizers.textbook.lion_step", _lion_step),
    "optimizers.newton_schulz": ("optimizers.orthogonal.newton_schulz", _newton_schulz),
    "training.warmup_cosine": (
        "training.schedules.cosine",
        lambda f, step, steps, warmup, peak, floor: f(
            step + 1, peak=peak, steps=steps, warmup=warmup, floor=floor, origin=0
        ),
    ),
    "training.inverse_sqrt": (
        "training.schedules.inverse_sqrt",
        lambda f, step, warmup, peak: f(step, peak=peak, warmup=warmup),
    ),
    "training.clip_gradients": ("training.clipping.clip_global_norm", _clip),
    "training.batch_norm": ("training.regularisation.BatchNorm", _batch_norm),
    "training.early_stopping": ("training.regularisation.EarlyStopping", _early_stopping),
    "training.format_limits": (
        "training.precision.Format",
        lambda f, exponent, fraction: (
            (made := f("", exponent, fraction)).largest,
            made.smallest_normal,
        ),
    ),
    "training.update_scale": ("training.precision.LossScaler", _update_scale),
    "training.remaining_batches": ("training.sampling.ResumableSampler", _remaining_batches),
    "cleaning.shingle_similarity": ("cleaning.shingles", _shingle_similarity),
    "cleaning.signature_of": ("cleaning.minhash.MinHash", _signature_of),
    "cleaning.band_candidates": ("cleaning.banding", _band_candidates),
    "cleaning.survivors": ("cleaning.clusters.components", _survivors),
}
