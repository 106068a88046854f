"""Licence texts: families of copies in the list of SPDX, and what installed packages brought."""

import importlib.metadata
from pathlib import Path

import pytest

from labkit import corpora
from labkit.corpora import CorpusUnavailable, licences


def test_ids_that_differ_by_what_a_user_declares_have_one_text():
    listed = corpora.load("licences", quiet=True, fallback=False)
    texts = dict(zip(listed.titles, listed.documents, strict=True))
    assert len(texts) == 708
    assert texts["GPL-2.0-only"] == texts["GPL-2.0-or-later"] and texts["MIT"].startswith("MIT License")
    assert texts["MIT"] != texts["MIT-0"]


def test_installed_packages_bring_their_licences_under_their_names():
    titled = licences.read_installed_licences()
    names = [name for name, _ in titled]
    assert names == sorted(names) and {"numpy", "matplotlib"} <= set(names)
    assert all(len(text) >= 200 for _, text in titled)


def test_a_listed_file_that_is_gone_or_no_text_is_left_out(monkeypatch, tmp_path):
    class Package:
        metadata = {"Name": "odd"}  # noqa: RUF012
        files = [importlib.metadata.PackagePath(name) for name in ("LICENSE", "COPYING", "notice.txt", "LICENSE.py")]  # noqa: RUF012

    for file in Package.files:
        file.dist = None
        monkeypatch.setattr(type(file), "locate", lambda self: tmp_path / str(self))
    (tmp_path / "COPYING").write_bytes(b"\xff" * 300)
    (tmp_path / "LICENSE.py").write_text("x" * 300)
    monkeypatch.setattr(licences.metadata, "distributions", lambda: [Package])
    with pytest.raises(CorpusUnavailable, match="no installed package"):
        licences.read_installed_licences()
    Path(tmp_path / "notice.txt").write_text("n" * 300)
    assert licences.read_installed_licences() == [("odd", "n" * 300)]
