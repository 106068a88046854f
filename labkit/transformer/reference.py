"""The same pretrained models in `transformers`, the library that everybody trusts, loaded without a printed word."""

import functools
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch

from labkit.corpora.extras import quiet_import
from labkit.transformer.pretrained import minilm_folder, package, smollm2_file

GROUPING = "_apply_over_grouped_rows"  # how gguf goes through a tensor: 16 rows at a time, 10,000 calls for SmolLM2
ROWS = 256

# Beginnings for SmolLM2, of six tokens each: as one batch they need no padding.
PROMPTS = (
    "The capital city of France is",
    "The Great Wall of China is",
    "A triangle has three sides and",
    "She opened the door and saw",
    "The quick brown fox jumps over",
    "Water boils at a temperature of",
    "Once upon a time, there",
    "The chemical symbol of gold is",
    "The currency of Japan is the",
    "Photosynthesis is the process by",
)


@contextmanager
def quiet_transformers() -> Iterator[Any]:
    """The module `transformers`, which prints no progress, remarks or warnings while this lasts.

    Its own switches do not reach every progress bar, and in a notebook a bar is a widget and not a line on stderr:
    so all of tqdm's bars are off.
    Raises:
        CorpusUnavailable: when transformers cannot be imported.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if importlib.util.find_spec("torchao"):  # transformers takes it along, and it tells which kernels it lacks
            quiet_import("torchao")
        transformers, bars = package("transformers"), package("tqdm.auto").tqdm
        own, disabled = transformers.utils.logging, logging.root.manager.disable
        before = own.get_verbosity()
        own.set_verbosity_error()
        logging.disable(max(disabled, logging.WARNING))  # what it imports when a name is first used talks, too
        try:
            with mock.patch.object(bars, "__init__", functools.partialmethod(bars.__init__, disable=True)):
                yield transformers
        finally:
            own.set_verbosity(before)
            logging.disable(disabled)


def transformers_minilm() -> Any:
    """MiniLM as transformers loads it from its folder: a BertModel, ready to be called with ids and a mask.

    Raises:
        CorpusUnavailable: when the files or transformers are not to be had.
    """
    with quiet_transformers() as transformers:
        model = transformers.AutoModel.from_pretrained(minilm_folder(), local_files_only=True, dtype=torch.float32)
    return model.eval()


def transformers_smollm2() -> Any:
    """SmolLM2 as transformers reads it from the GGUF file: a LlamaForCausalLM in float32. This takes some seconds.

    Raises:
        CorpusUnavailable: when the file, transformers, or the packages gguf and accelerate are not to be had.
    """
    package("accelerate")
    file, gguf = smollm2_file(), package("gguf")
    with ExitStack() as stack:
        transformers = stack.enter_context(quiet_transformers())
        quicker = {"GGUFReader": _plain(gguf.GGUFReader), "get_tensor_name_map": gguf.get_tensor_name_map}
        for name, usual in quicker.items():  # the same table is built 397 times and the file read twice
            stack.enter_context(mock.patch.object(gguf, name, functools.cache(usual)))
        if hasattr(gguf.quants, GROUPING):
            stack.enter_context(mock.patch.object(gguf.quants, GROUPING, _by_many_rows))
        model = transformers.AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, local_files_only=True, dtype=torch.float32
        )
    return model.eval()


def _plain(reader: type) -> type:
    """The same reader on an ordinary array: a million slices of a `memmap` are what takes most of its time."""

    class Plain(reader):
        data = property(lambda self: self._plain, lambda self, file: setattr(self, "_plain", np.asarray(file)))

    return Plain


def _by_many_rows(
    func: Callable[[np.ndarray], np.ndarray], arr: np.ndarray, otype: Any, oshape: Sequence[int]
) -> np.ndarray:
    """What gguf's own function returns, `func` of every row: more rows at a time need fewer calls."""
    rows, result = arr.reshape(-1, arr.shape[-1]), np.empty(oshape, otype)
    flat = result.reshape(len(rows), -1)
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS]
        flat[start : start + ROWS] = func(some).reshape(len(some), -1)
    return result
