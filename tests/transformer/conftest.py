"""The pretrained models, ours and those of transformers, loaded once; where they cannot be had, tests say why."""

import pytest

from labkit.corpora import CorpusUnavailable
from labkit.transformer import load_minilm, load_smollm2, transformers_minilm, transformers_smollm2


def or_skip(load):
    try:
        return load()
    except CorpusUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def minilm():
    return or_skip(load_minilm)


@pytest.fixture(scope="session")
def smollm2():
    return or_skip(load_smollm2)


@pytest.fixture(scope="session")
def bert():
    return or_skip(transformers_minilm)


@pytest.fixture(scope="session")
def llama():
    return or_skip(transformers_smollm2)
