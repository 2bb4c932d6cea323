"""What no removal reaches, said plainly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from recprune.artifact import CONFIG
from recprune.erasure.names import Names
from recprune.erasure.stores import stores_of
from recprune.erasure.streams import streams_in
from recprune.folders import is_ours

__all__ = ["what_remains"]


def what_remains(paths: Sequence[Path], names: Names) -> Iterator[str]:
    """Yield what of a user may remain after they were forgotten, each with what to do about it.

    Args:
        paths: that they were removed from.
        names: of the user.
    """
    models = [folder for path in paths for folder in _models(path)]
    if models:
        yield (
            "What models learnt from the user's rows in weights that all share, until they are trained "
            "again without them:"
        )
        for folder in models:
            verb = "run" if (folder / "report.json").exists() else "train"
            settings = f" --config {folder / 'run.toml'}" if (folder / "run.toml").exists() else ""
            yield f"  recprune {verb} TABLE{settings} -o {folder}"
        yield (
            "The hashes of these models' first vocabularies and layouts, by which whoever guesses the id "
            "can see that it was there, until they are trained again."
        )
        yield (
            "Rows are split anew once some are gone: train these models again before they are judged "
            "on that table, or rows that they learnt from would test them."
        )
    if streams := [str(state) for path in paths for state in streams_in(path)]:
        yield (
            f"What streams learnt from the user's events in weights that all share ({', '.join(streams)}); "
            "hashes of their events' ids, and of their values in counts that fade. Begin them anew to be "
            "rid of it."
        )
    if stores := [str(store) for path in paths for store in stores_of(path)]:
        yield (
            f"Checkpoints and trials, which name nobody: {', '.join(stores)}. Delete them if they may be "
            "of data that had the user."
        )
    if not names.ids:
        yield (
            "Tables of plain ids: the id is not known here, so that only its pseudonym is listed. Rows "
            "come back from such tables unless they are read with --pseudonymise-users and that key. "
            "Forget the id, too, where it is known."
        )
    exports = [str(file) for path in paths if path.is_dir() for file in path.rglob("*.onnx")]
    if exports:
        yield f"Tables' rows in exported models: {', '.join(sorted(exports))}. Export them again."
    yield "Counts, averages and metrics of which the user was a part, in data, models and reports."
    yield "A running service's memory, until it loads its folders again."
    yield "Backups, copies, snapshots, and freed blocks of the disk that were not written over yet."
    files = [str(path) for path in paths if path.is_file()]
    named = f" ({', '.join(files)})" if files else ""
    yield (
        f"The source tables{named}, which are not changed: erase there, too. Whatever is read from them "
        "with this list of erased users leaves the user out."
    )


def _models(path: Path) -> Iterator[Path]:
    """Yield the folders that can be trained again: of one in another, the outer one."""
    if not path.is_dir() or path.is_symlink():
        return
    if is_ours(path) and (path / CONFIG).is_file():
        yield path
        return
    for entry in sorted(path.iterdir()):
        yield from _models(entry)
