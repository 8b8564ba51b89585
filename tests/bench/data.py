"""The benchmark's input: generated with a fixed seed into a cache folder, and reused when complete."""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SEED = 20240304
MEGABYTE = 1_000_000
VOCABULARY_SIZE = 200_000
WORDS_PER_LINE_MIN, WORDS_PER_LINE_MAX = 5, 15
RECORD_BYTES = 100
HOST_COUNT = 2_000
PATH_COUNT = 20_000
# Lines are drawn this many at a time: large enough that Python's cost per call does not show.
BATCH_LINES = 20_000
TEXT_PROBE_BYTES = 8_192
COMPLETE_MARK = "complete"


class DataError(Exception):
    """The input cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much to generate; it names the cache folder, so another size is another folder."""

    megabytes: int
    records: int
    text_dir: Path | None = None


def default_data_dir(size: Size) -> Path:
    name = f"pymr-bench-seed{SEED}-{size.megabytes}mb-{size.records}records"
    return Path(tempfile.gettempdir()) / name


def prepare(dataset: str, data_dir: Path, size: Size) -> Path:
    """The folder of a dataset, generated unless an earlier call finished it.

    dataset: a key of GENERATORS. Returns a folder that holds nothing but the input files.
    The mark stands beside that folder and is written last, so an interrupted call is done again.
    Raises DataError.
    """
    generate, fingerprint = GENERATORS[dataset](size)
    folder = data_dir / dataset
    mark = data_dir / f"{dataset}.{COMPLETE_MARK}"
    if not (mark.exists() and mark.read_text() == fingerprint):
        mark.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        # In a process of its own: what it grows to must not count as the size of what is measured later.
        process = multiprocessing.get_context("fork").Process(target=generate, args=(folder,))
        process.start()
        process.join()
        if process.exitcode != 0:
            raise DataError(f"generating {folder} failed with exit status {process.exitcode}")
        mark.write_text(fingerprint)
    return folder


def _text(size: Size) -> tuple[Callable[[Path], None], str]:
    """Lines of 5 to 15 words, their frequencies after Zipf, ASCII."""
    return _writer("text.txt", _text_lines, size.megabytes), f"text {size.megabytes} {SEED}"


def _documents(size: Size) -> tuple[Callable[[Path], None], str]:
    """The same text, each line with a document id before it."""

    def lines(source: random.Random) -> Iterator[list[str]]:
        number = itertools.count()
        for batch in _text_lines(source):
            yield [f"doc-{next(number):08d}\t{line}" for line in batch]

    return _writer("documents.tsv", lines, size.megabytes), f"documents {size.megabytes} {SEED}"


def _json_log(size: Size) -> tuple[Callable[[Path], None], str]:
    """A web log, one JSON object a line, about 200 bytes each; hosts and paths after Zipf."""
    return _writer("web.jsonl", _log_lines, size.megabytes), f"json_log {size.megabytes} {SEED}"


def _records(size: Size) -> tuple[Callable[[Path], None], str]:
    """Records of 100 bytes, line end included, of random printable ASCII."""

    def generate(folder: Path) -> None:
        source = random.Random(SEED)
        printable = bytes(33 + byte * 94 // 256 for byte in range(256))
        with (folder / "records.txt").open("wb") as file:
            for count in _batches(size.records, 10 * BATCH_LINES):
                records = bytearray(source.randbytes(count * RECORD_BYTES).translate(printable))
                records[RECORD_BYTES - 1 :: RECORD_BYTES] = b"\n" * count
                file.write(records)

    return generate, f"records {size.records} {SEED}"


def _real_text(size: Size) -> tuple[Callable[[Path], None], str]:
    """The text files of a folder, over and over until there are enough megabytes of them."""
    if size.text_dir is None:
        raise DataError("the real_text dataset needs a folder: --text DIR")
    text_dir = size.text_dir
    paths = sorted(path for path in text_dir.rglob("*") if path.is_file() and _is_text(path))
    if not paths:
        raise DataError(f"{text_dir} holds no text files")
    listing = "".join(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}\n" for path in paths)
    fingerprint = f"real_text {size.megabytes} {hashlib.sha256(listing.encode()).hexdigest()}"

    def generate(folder: Path) -> None:
        contents = [path.read_bytes() for path in paths]
        wanted_bytes = size.megabytes * MEGABYTE
        with (folder / "text.txt").open("wb") as file:
            for content in itertools.cycle(contents):
                # Byte order marks and what is not UTF-8 go here, once, so that no way has to deal with them.
                file.write(content.decode("utf-8-sig", "replace").encode().rstrip(b"\n") + b"\n")
                if file.tell() >= wanted_bytes:
                    break

    return generate, fingerprint


def _empty(size: Size) -> tuple[Callable[[Path], None], str]:
    """A folder without files."""
    return lambda folder: None, "empty"


GENERATORS: dict[str, Callable[[Size], tuple[Callable[[Path], None], str]]] = {
    "text": _text,
    "documents": _documents,
    "records": _records,
    "json_log": _json_log,
    "real_text": _real_text,
    "empty": _empty,
}


def _is_text(path: Path) -> bool:
    """A file that is not empty and has no zero byte in front: compressed files and images have one."""
    with path.open("rb") as file:
        beginning = file.read(TEXT_PROBE_BYTES)
    return beginning != b"" and b"\0" not in beginning


def _writer(
    file_name: str, batches: Callable[[random.Random], Iterator[list[str]]], megabytes: int
) -> Callable[[Path], None]:
    def generate(folder: Path) -> None:
        with (folder / file_name).open("wb") as file:
            for batch in batches(random.Random(SEED)):
                file.write("\n".join(batch).encode() + b"\n")
                if file.tell() >= megabytes * MEGABYTE:
                    return

    return generate


def _text_lines(source: random.Random) -> Iterator[list[str]]:
    words = _vocabulary(source)
    weights = _zipf_weights(len(words))
    lengths = range(WORDS_PER_LINE_MIN, WORDS_PER_LINE_MAX + 1)
    while True:
        word_counts = source.choices(lengths, k=BATCH_LINES)
        drawn = iter(source.choices(words, cum_weights=weights, k=sum(word_counts)))
        yield [" ".join(itertools.islice(drawn, count)) for count in word_counts]


def _log_lines(source: random.Random) -> Iterator[list[str]]:
    words = _vocabulary(source)
    hosts = [f"{word}.example" for word in words[:HOST_COUNT]]
    paths = [f"/{words[number % 97]}/{words[number]}" for number in range(PATH_COUNT)]
    host_weights, path_weights = _zipf_weights(HOST_COUNT), _zipf_weights(PATH_COUNT)
    second = 0
    while True:
        drawn = zip(
            source.choices(hosts, cum_weights=host_weights, k=BATCH_LINES),
            source.choices(paths, cum_weights=path_weights, k=BATCH_LINES),
            source.choices((200, 304, 404, 500), (90, 6, 3, 1), k=BATCH_LINES),
            source.choices(range(200, 60_000), k=BATCH_LINES),
            source.choices(range(1, 900), k=BATCH_LINES),
            strict=True,
        )
        yield [
            f'{{"time": "2024-03-04T{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z", '
            f'"host": "{host}", "method": "GET", "path": "{path}", "status": {status}, '
            f'"bytes": {size}, "milliseconds": {milliseconds}, "agent": "Browser/1.0 (made up)"}}'
            for host, path, status, size, milliseconds in drawn
        ]
        second += 1


def _vocabulary(source: random.Random) -> list[str]:
    """200,000 distinct made-up words, the frequent ones shorter, as in a language."""
    consonants, vowels = "bcdfghklmnprstvz", "aeiou"
    syllables = [consonant + vowel for consonant in consonants for vowel in vowels]
    words: dict[str, None] = {}
    while len(words) < VOCABULARY_SIZE:
        # 80 + 80^2 + 80^3 words are possible with up to three syllables; a fourth comes in for the last ones.
        syllable_count = 1 + (len(words) >= 60) + (len(words) >= 4_000) + (len(words) >= 120_000)
        words["".join(source.choices(syllables, k=syllable_count))] = None
    return list(words)


def _zipf_weights(count: int) -> list[float]:
    """Cumulative weights 1/1 + 1/2 + ... for `random.choices`."""
    return list(itertools.accumulate(1 / rank for rank in range(1, count + 1)))


def _batches(total: int, batch: int) -> Iterator[int]:
    while total > 0:
        yield min(total, batch)
        total -= batch
