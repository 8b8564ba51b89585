"""`pymr run` on disks that are full or damaged: a clear error, nothing half-written, nothing left."""

from __future__ import annotations

import shlex
import sys

import pytest
from cluster.running import PREVIOUS, PYMR, Place, finish, set_options

POINTS = {"block.write": "map", "output.write": "reduce", "output.fsync": "reduce"}


@pytest.mark.parametrize("point", POINTS)
def test_disk_that_was_full_for_a_moment_costs_no_attempt(place: Place, point: str) -> None:
    """Inline, where nothing is tried again, it is an error that names the file."""
    place.feed("a b c")
    fault = {"PYMR_FAULTS": f"{point}:enospc@1"}
    place.fail("--inline", env=fault, says=["disk full: ", "No space left"], earlier_output=True)
    finished = place.succeed("--workers", "1", *set_options(max_attempts=1), env=fault)

    assert place.counts() == {"a": 1, "b": 1, "c": 1}
    assert finished.out.count("trying again: disk full: ") == 1
    assert POINTS[point] in finished.out


@pytest.mark.parametrize("earlier_output", [False, True])
def test_disk_error_at_publication_leaves_the_output_as_it_was(place: Place, earlier_output: bool) -> None:
    place.feed("a b c")

    place.fail(
        "--workers",
        "1",
        env={"PYMR_FAULTS": "publish.before_swap:enospc@1"},
        says=["No space left", "publishing"],
        earlier_output=earlier_output,
    )


@pytest.mark.parametrize(
    ("point", "said"),
    [
        *((point, "4 attempts, the same each time") for point in POINTS),
        ("publish.before_swap", "the peer of this run was ended by"),
    ],
)
def test_kill_of_a_worker_or_the_peer_at_any_point_leaves_the_output_as_it_was(
    place: Place, point: str, said: str
) -> None:
    place.feed("a b c")

    place.fail(
        *("--workers", "1"),
        env={"PYMR_FAULTS": f"{point}:kill@1"},
        attempts=4,
        says=["SIGKILL", said],
        earlier_output=True,
    )


def test_kill_at_the_publication_leaves_the_output_as_it_was(place: Place) -> None:
    place.feed("a b c")
    place.earlier_output()
    finished = place.run("--inline", env={"PYMR_FAULTS": "publish.before_swap:kill@1"})

    assert finished.status == -9
    place.assert_output_untouched(True)

    place.succeed()

    assert place.left_files() == []


SMALL_DISK = """
import os, shutil, subprocess, sys

def content(folder):
    return {name: open(folder + "/" + name, "rb").read() for name in os.listdir(folder)}

disk, options, command = sys.argv[1], sys.argv[2], sys.argv[3:]
subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", disk], check=True)
shutil.copytree("earlier", disk + "/output")
ended = subprocess.run(command, timeout=120)
left = [name for name in os.listdir(disk) if name != "output"]
print("left:", left, "untouched:", content("earlier") == content(disk + "/output"))
sys.exit(ended.returncode)
"""


def run_on_small_disk(place: Place, options: str, *arguments: str) -> tuple[int, str, str]:
    """Run with the output on a real, small file system that holds an earlier output."""
    disk, earlier = place.folder / "disk", place.folder / "earlier"
    disk.mkdir()
    earlier.mkdir()
    for name, content in PREVIOUS.items():
        (earlier / name).write_bytes(content)
    inner = [sys.executable, "-c", SMALL_DISK, str(disk), options, str(PYMR), "run", "job.toml"]
    inner += ["--output", f"{disk}/output", "--set", "max_attempts=1", *arguments]
    finished = finish(place.start_command(["unshare", "-rm", "sh", "-c", shlex.join(inner)]))
    return finished.status, finished.out, finished.err


FILLINGS: dict[str, tuple[str, str, str]] = {
    "map": (
        "def words(line, auxiliary_data):\n    return [((line, n), 'x' * 100) for n in range(40_000)]\n",
        "def total(group, auxiliary_data):\n    return [(group.key, 1)]\n",
        "map",
    ),
    "reduce": (
        "def words(line, auxiliary_data):\n    return [(line, 1)]\n",
        "def total(group, auxiliary_data):\n"
        "    return (((group.key, n), 'x' * 100) for n in range(100_000))\n",
        "part-",
    ),
}


@pytest.mark.parametrize(
    ("filling", "compress"), [("map", "false"), ("reduce", "false"), ("reduce", "gzip"), ("reduce", "zstd")]
)
@pytest.mark.parametrize("mode", [("--workers", "2"), ("--inline",)], ids=["workers", "inline"])
def test_really_full_disk_is_a_clear_error(
    place: Place, mode: tuple[str, ...], filling: str, compress: str
) -> None:
    map_source, reduce_source, said = FILLINGS[filling]
    place.functions(map_source, reduce_source)
    place.feed(*"abcd")
    options = "size=100k" if compress != "false" else "size=2m"
    status, out, err = run_on_small_disk(place, options, *mode, *set_options(compress=compress))

    assert status == 1, (out, err)
    assert err.startswith("pymr: job: failed: ")
    assert "No space left on device" in err
    assert said in err
    assert "Traceback" not in err + out, err + out
    assert "left: [] untouched: True" in out


@pytest.mark.parametrize("files", [8, 9, 10, 12])
def test_disk_without_free_inodes_is_a_clear_error(place: Place, files: int) -> None:
    place.feed(*"abcd")
    status, out, err = run_on_small_disk(
        place, f"size=1m,nr_inodes={files}", "--workers", "2", *set_options(engine__split_bytes=1)
    )

    assert status == 1, (out, err)
    assert err.startswith("pymr: job: failed: ")
    assert "No space left on device" in err
    assert "Traceback" not in err + out
    assert "left: [] untouched: True" in out


def test_output_on_a_file_system_of_its_own_is_written_or_refused_clearly(place: Place) -> None:
    """The output folder itself is where a disk is mounted."""
    place.feed("a")
    disk = place.folder / "disk"
    disk.mkdir()
    inner = f"mount -t tmpfs none {disk} && {PYMR} run job.toml --output {disk} && cat {disk}/part-*"
    finished = finish(place.start_command(["unshare", "-rm", "sh", "-c", inner]))

    if finished.status == 0:
        assert '["a",1]\n' in finished.out
    else:
        assert "mount" in finished.err
        finished.says("pymr: job: failed: ", str(disk))


MAP_OUTPUTS = {"workers": "runs/*/map-00000-*/runs", "inline": "attempt-*/map-00000/runs"}
"""Where the first map task's output lies below the scratch folder."""


def flipping(place: Place, where: str) -> None:
    """The second map task damages what the first has written."""
    place.feed("a b c", name="1.txt")
    place.feed("flip", name="2.txt")
    place.functions(f"""
        import glob
        import os

        def words(line, auxiliary_data):
            if line == "flip":
                for path in glob.glob({str(place.output.parent)!r} + "/.pymr-run-*/{where}"):
                    with open(path, "r+b") as file:
                        file.seek(-2, os.SEEK_END)
                        byte = file.read(1)[0]
                        file.seek(-2, os.SEEK_END)
                        file.write(bytes([byte ^ 4]))
            return [(word, 1) for word in line.split()]
    """)


def test_flipped_bit_in_a_block_is_an_error_that_names_file_and_byte(place: Place) -> None:
    flipping(place, MAP_OUTPUTS["inline"])
    place.fail(
        "--inline",
        *set_options(engine__split_bytes=5, partitions=1),
        says=["the block at byte", "map-00000", "checksum"],
        earlier_output=True,
    )


def test_flipped_bit_in_a_block_is_mended_by_mapping_again(place: Place) -> None:
    flipping(place, MAP_OUTPUTS["workers"])
    finished = place.succeed("--workers", "1", *set_options(engine__split_bytes=5, partitions=1))

    assert place.counts() == {"a": 1, "b": 1, "c": 1, "flip": 1}
    assert "the output of map-00000 is lost: doing it again" in finished.out


def cutting(place: Place, cut: int, where: str) -> None:
    """The second map task cuts short what the first has written."""
    place.feed("a b c d e f g h i j k", name="1.txt")
    place.feed("cut", name="2.txt")
    place.functions(f"""
        import glob
        import os

        def words(line, auxiliary_data):
            if line == "cut":
                for path in glob.glob({str(place.output.parent)!r} + "/.pymr-run-*/{where}"):
                    os.truncate(path, {cut} and os.path.getsize(path) - {cut})
            return [(word, 1) for word in line.split()]
    """)


@pytest.mark.parametrize("cut", [0, 10, 40])
def test_block_that_is_cut_short_is_an_error_that_names_file_and_byte(place: Place, cut: int) -> None:
    cutting(place, cut, MAP_OUTPUTS["inline"])
    place.fail(
        "--inline",
        *set_options(engine__split_bytes=23, partitions=1),
        says=["the block at byte", "map-00000"],
    )


@pytest.mark.parametrize("cut", [0, 10, 40])
def test_block_that_is_cut_short_is_mended_by_mapping_again(place: Place, cut: int) -> None:
    cutting(place, cut, MAP_OUTPUTS["workers"])
    finished = place.succeed("--workers", "1", *set_options(engine__split_bytes=23, partitions=1))

    assert place.counts() == dict.fromkeys([*"abcdefghijk", "cut"], 1)
    assert "the output of map-00000 is lost: doing it again" in finished.out
