from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pysam
import pytest
from genome_helpers import random_contigs, write_fasta

from chromtransfer_plugin import genome_cache
from chromtransfer_plugin.errors import ChromTransferError
from chromtransfer_plugin.genome import Genome


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return write_fasta(tmp_path / "genome.fa", random_contigs())


def as_nobody(task) -> int:
    """Run ``task`` in a child process for which permissions hold; give its exit status."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            status = task() or 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def open_folder():
    """A folder that every user can enter, unlike tmp_path."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for inside in [folder, *folder.rglob("*")]:
        if inside.is_dir():
            inside.chmod(0o755)
    shutil.rmtree(folder)


def test_chunk_borders_inside_headers_and_lines_do_not_matter(fasta, tmp_path, monkeypatch):
    whole = Genome(fasta, tmp_path / "whole")
    monkeypatch.setattr(genome_cache, "_CHUNK", 64)
    pieces = Genome(fasta, tmp_path / "pieces")
    assert pieces.identity == whole.identity
    np.testing.assert_array_equal(pieces.codes("chr3"), whole.codes("chr3"))


def test_runs_of_n_take_no_room(tmp_path):
    fasta = write_fasta(tmp_path / "n.fa", {"chr1": "A" * 100 + "N" * 20_000_000 + "C" * 100}, width=10**6)
    genome = Genome(fasta, tmp_path / "cache")
    (codes,) = (tmp_path / "cache").glob("*.codes")
    assert codes.stat().st_size > 20_000_000
    if codes.stat().st_blocks * 512 > 10_000_000:
        pytest.skip("this file system keeps no sparse files")
    assert codes.stat().st_blocks * 512 < 300_000
    assert genome.sequence("chr1", 20_000_099, 20_000_102) == "NCC"


def test_second_opening_builds_nothing_and_gives_the_same(fasta, capfd):
    first = Genome(fasta)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert str(fasta) in lines[0]
    second = Genome(fasta)
    assert capfd.readouterr().err == ""
    assert second.identity == first.identity
    np.testing.assert_array_equal(second.codes("chr3"), first.codes("chr3"))


def test_identity_is_of_the_bases_not_of_the_file(fasta, tmp_path):
    contigs = random_contigs()
    reference = Genome(fasta).identity
    pysam.tabix_compress(str(fasta), str(tmp_path / "packed.fa.gz"))
    assert Genome(tmp_path / "packed.fa.gz").identity == reference
    upper = {name: sequence.upper() for name, sequence in contigs.items()}
    assert Genome(write_fasta(tmp_path / "upper.fa", upper, width=71)).identity == reference
    other = dict(contigs, chr2="A" + contigs["chr2"][1:], tiny="ACGTACG")
    assert Genome(write_fasta(tmp_path / "other.fa", other)).identity != reference
    renamed = {name.replace("tiny", "tiny2"): sequence for name, sequence in contigs.items()}
    assert Genome(write_fasta(tmp_path / "renamed.fa", renamed)).identity != reference
    # The same bases cut differently into contigs.
    one, two = Genome(write_fasta(tmp_path / "1.fa", {"a": "AC", "b": "GT"})), {"a": "ACG", "b": "T"}
    assert one.identity != Genome(write_fasta(tmp_path / "2.fa", two)).identity


@pytest.mark.parametrize("restore_mtime", [False, True])
@pytest.mark.parametrize("noted", [False, True])
def test_a_changed_base_is_never_served_from_the_old_cache(tmp_path, monkeypatch, restore_mtime, noted):
    fasta = write_fasta(tmp_path / "g.fa", {"chr1": "ACGT" * 50_000})
    if noted:  # as if the file were old enough for a note of its content to be trusted
        monkeypatch.setattr(genome_cache, "_CLOCK_GRAIN_NS", 1)
    assert Genome(fasta).sequence("chr1", 99_996, 100_000) == "ACGT"
    notes = list(tmp_path.rglob("*.stamp.json"))
    assert len(notes) == noted
    time.sleep(0.05)  # more than the clock's real grain
    before = fasta.stat()
    text = fasta.read_bytes()
    place = len(text) // 2 + 3
    changed = bytearray(text)
    changed[place] = ord("T") if text[place : place + 1] != b"T" else ord("A")
    fasta.write_bytes(changed)
    if restore_mtime:
        os.utime(fasta, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert fasta.stat().st_mtime_ns == before.st_mtime_ns
    assert fasta.stat().st_size == before.st_size
    oracle = "".join(bytes(changed).decode().splitlines()[1:])
    assert Genome(fasta).sequence("chr1", 0, 200_000) == oracle


def test_the_stamp_saves_reading_the_fasta_again(fasta, monkeypatch):
    monkeypatch.setattr(genome_cache, "_CLOCK_GRAIN_NS", 1)
    expected = Genome(fasta).identity
    monkeypatch.setattr(genome_cache.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert Genome(fasta).identity == expected


def test_a_moved_fasta_finds_its_cache_by_content(fasta, tmp_path, capfd):
    Genome(fasta, tmp_path / "cache")
    capfd.readouterr()
    moved = tmp_path / "elsewhere.fa"
    shutil.move(fasta, moved)
    Genome(moved, tmp_path / "cache")
    assert capfd.readouterr().err == ""


def damage_cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_base(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(70_000)  # inside the run of N: no block of it is sampled
        stream.write(b"\4")


def damage_sampled_base_and_restore_mtime(path: Path) -> None:
    times = path.stat()
    with path.open("r+b") as stream:
        byte = stream.read(1)
        stream.seek(0)
        stream.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def damage_middle_lost_and_restore_mtime(path: Path) -> None:
    times, data = path.stat(), path.read_bytes()
    path.write_bytes(data[:70_000] + data[70_600:])  # only N is lost
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def damage_header(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"chr1"', b'"chrX"'))


@pytest.mark.parametrize(
    "damage",
    [
        damage_cut,
        damage_empty,
        damage_base,
        damage_sampled_base_and_restore_mtime,
        damage_middle_lost_and_restore_mtime,
        damage_header,
    ],
)
def test_a_damaged_cache_is_rebuilt(fasta, tmp_path, damage, capfd):
    expected = Genome(fasta, tmp_path / "cache").codes("chr3")
    (cache,) = (tmp_path / "cache").glob("*.codes")
    damage(cache)
    capfd.readouterr()
    genome = Genome(fasta, tmp_path / "cache")
    assert "Building" in capfd.readouterr().err
    np.testing.assert_array_equal(genome.codes("chr3"), expected)
    assert genome.sequence("chr1", 0, 20) == "".join(
        base if base in "ACGT" else "N" for base in random_contigs()["chr1"][:20].upper()
    )


def test_a_copied_cache_is_checked_once_and_kept(fasta, tmp_path, capfd):
    expected = Genome(fasta, tmp_path / "cache").codes("chr3")
    shutil.copytree(tmp_path / "cache", tmp_path / "copy", copy_function=shutil.copyfile)
    capfd.readouterr()
    np.testing.assert_array_equal(Genome(fasta, tmp_path / "copy").codes("chr3"), expected)
    assert capfd.readouterr().err == ""
    (codes,) = (tmp_path / "copy").glob("*.codes")
    header = genome_cache.read_header(codes)
    assert header is not None
    assert codes.stat().st_mtime_ns == header.mtime_ns


def test_where_the_cache_goes(fasta, tmp_path, monkeypatch):
    Genome(fasta)
    assert len(list((tmp_path / "genome.fa.genome-cache").glob("*.codes"))) == 1
    monkeypatch.setenv("CHROMTRANSFER_CACHE", str(tmp_path / "by-variable"))
    Genome(fasta)
    assert len(list((tmp_path / "by-variable").glob("*.codes"))) == 1
    Genome(fasta, tmp_path / "by-argument")
    assert len(list((tmp_path / "by-argument").glob("*.codes"))) == 1


def test_a_cache_folder_that_is_a_file_falls_back(fasta, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "occupied").write_text("")
    assert Genome(fasta, tmp_path / "occupied").contigs["tiny"] == 7
    assert len(list((tmp_path / "home/.cache/chromtransfer").glob("*.codes"))) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork to give up root's rights")
def test_a_read_only_folder_falls_back_and_an_existing_cache_in_it_is_used(open_folder, monkeypatch):
    fasta = write_fasta(open_folder / "g.fa", {"chr1": "ACGT" * 100})
    home = open_folder / "home"
    home.mkdir()
    home.chmod(0o777)
    monkeypatch.setenv("HOME", str(home))
    open_folder.chmod(0o555)

    assert as_nobody(lambda: Genome(fasta).sequence("chr1", 0, 4) != "ACGT") == 0
    assert len(list((home / ".cache/chromtransfer").glob("*.codes"))) == 1
    assert not (open_folder / "g.fa.genome-cache").exists()

    open_folder.chmod(0o755)
    shutil.rmtree(home)
    Genome(fasta)
    (open_folder / "g.fa.genome-cache").chmod(0o555)
    open_folder.chmod(0o555)
    assert as_nobody(lambda: Genome(fasta).sequence("chr1", 0, 4) != "ACGT") == 0
    assert not home.exists()


def test_no_writable_folder_at_all_is_an_error_that_names_the_variable(fasta, monkeypatch):
    monkeypatch.setattr(genome_cache, "_writable", lambda folder: False)
    with pytest.raises(ChromTransferError, match="CHROMTRANSFER_CACHE"):
        Genome(fasta)


def open_and_hash(fasta: str, cache: str, queue) -> None:
    genome = Genome(fasta, cache)
    queue.put((genome.identity, int(genome.codes("chr3").sum())))


def test_two_processes_may_build_at_once(fasta, tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    cache = str(tmp_path / "cache")
    workers = [context.Process(target=open_and_hash, args=(str(fasta), cache, queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    answers = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    genome = Genome(fasta, cache)
    assert set(answers) == {(genome.identity, int(genome.codes("chr3").sum()))}
    assert len(list(Path(cache).glob("*.codes"))) == 1
    assert not [path for path in Path(cache).iterdir() if path.name.startswith(".tmp")]


def test_pickling_carries_no_bases_and_the_copy_reads(fasta):
    genome = Genome(fasta)
    data = pickle.dumps(genome)
    assert len(data) < 10_000
    copy = pickle.loads(data)
    np.testing.assert_array_equal(copy.codes("chr3"), genome.codes("chr3"))
    assert copy.identity == genome.identity


def test_a_pickled_genome_rebuilds_a_cache_that_is_gone_and_refuses_another_genome(fasta):
    genome = Genome(fasta)
    data = pickle.dumps(genome)
    shutil.rmtree(f"{fasta}.genome-cache")
    assert pickle.loads(data).sequence("tiny", 0, 7) == genome.sequence("tiny", 0, 7)
    shutil.rmtree(f"{fasta}.genome-cache")
    write_fasta(fasta, random_contigs(seed=5))
    with pytest.raises(ChromTransferError, match="changed since"):
        pickle.loads(data).sequence("tiny", 0, 7)


@pytest.mark.slow
def test_a_spawned_process_reads_too(fasta):
    genome = Genome(fasta)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(genome.sequence, ("chr1", 0, 50)) == genome.sequence("chr1", 0, 50)


def test_a_failed_conversion_leaves_no_file(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text(">a\nACGT\n>b\nAC\n>a\nGG\n")
    with pytest.raises(ChromTransferError, match="twice"):
        Genome(path, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_fasta_that_grows_while_it_is_read_is_refused(fasta, tmp_path, monkeypatch):
    convert = genome_cache._convert

    def convert_and_append(source, target):
        convert(source, target)
        with source.open("a") as out:
            out.write("ACGT\n")

    monkeypatch.setattr(genome_cache, "_convert", convert_and_append)
    with pytest.raises(ChromTransferError, match="changed while it was read"):
        Genome(fasta, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.codes"))
