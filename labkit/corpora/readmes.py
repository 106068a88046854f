"""README files, as people write them: the descriptions that the packages installed here bring along."""

from importlib import metadata

from labkit.corpora.cache import CorpusUnavailable
from labkit.corpora.english import Titled

_LEAST = 500  # characters: a shorter description is a sentence or two


def read_readmes() -> Titled:
    """Return the READMEs of the installed packages, in Markdown or reStructuredText, in the order of their names.

    Raises: CorpusUnavailable when no package brought one.
    """
    described = {each.metadata["Name"] or "": each.metadata.get_payload() or "" for each in metadata.distributions()}
    found = [(name, str(text).strip()) for name, text in sorted(described.items())]
    titled = [(name, text) for name, text in found if len(text) >= _LEAST]
    if not titled:
        raise CorpusUnavailable("no installed package brought a README.")
    return titled
