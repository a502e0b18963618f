"""The files that Yarally et al. (2023) published: fetched from their repository, and verified.

Two studies lie in six files. `RQ1_*.csv` hold the tuning trials, each row the mean of eight repetitions. `RQ2_*.jasp`
hold the layer study, one row a training, together with the tables that the authors computed from it in JASP 0.16. The
files carry no licence: they are read and cited, never redistributed, and a copy is kept in the data home alone. A file
is read only after its checksum was found right, so that its layout is known.

Source: T. Yarally, L. Cruz, D. Feitosa, J. Sallou, A. van Deursen, "Uncovering Energy-Efficient Practices in Deep
Learning Training", CAIN 2023, arXiv 2303.13972; github.com/yarally/preliminary-green-ai.
"""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import pooch

from greenai_utils import paths
from greenai_utils.errors import Gap, InputError

COMMIT = "92ce0cb8ebed5a109722b7dde44ecd58db11a9ea"
SOURCE = f"https://github.com/yarally/preliminary-green-ai/raw/{COMMIT}/src/"

SHA256: Mapping[str, str] = {
    "RQ1_FM_3.csv": "abf4da04e70c9dae1836c89b6f0e5ebf2c83a94d2bad474029375b30841c4ec9",
    "RQ1_FM_5.csv": "b6ef3d02e77280367f3d2c95973a6422d16f16ad976740043fa2ab44b5076f35",
    "RQ1_C10_3.csv": "6f860ee2e4907724daacad56bac081e43f424ba4fdd58ccff41f7227dabff26f",
    "RQ1_C10_5.csv": "db259d4db7e030beaf6eff4afc97d013cf7a8217feee545d1dc04f7fee59f3e4",
    "RQ2_FM.jasp": "ba685c0305c555a0a95380b7395f2639ccd3d9d1c190dabb380ab0543f71c165",
    "RQ2_C10.jasp": "685cfed92e9b5c2d2fcb5106b3f91eb33ec99ee951293a380de4917d0a27d1c2",
}
DATASETS: Mapping[str, str] = {"fashion_mnist": "FM", "cifar10": "C10"}
"""Our name of a data set, and the authors'."""

CONNECT_S, READ_S = 3.05, 30.0
"""A machine without a network is to say so within seconds; a slow one may take its time once it is connected."""


class Unavailable(Gap):
    """The published data are neither here nor can be fetched: what rests on them is a gap to state, not a failure."""


def fetch(name: str) -> Path:
    """The path of a published file whose checksum holds: the copy in the data home, or one fetched into it.

    Raises:
        Unavailable: There is neither a copy nor a network.
        InputError: The checksum does not match, or a copy cannot be kept.
    """
    folder = _folder()
    file = folder / name
    if file.exists():
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        if found != SHA256[name]:
            raise InputError(
                f"{file} has the SHA-256 {SHA256[name]}", found, f"delete {file}, and it is fetched again from {SOURCE}"
            )
        return file
    # Within the repository git ignores data/raw alone: nothing of the authors' is written anywhere else.
    inside = folder.resolve()
    if inside.is_relative_to(paths.ROOT) and not inside.is_relative_to(paths.ROOT / "data" / "raw"):
        raise InputError(
            "the published files are kept in data/raw or outside the repository, for they carry no licence",
            str(folder),
            "set GREENAI_DATA to data/raw or to a folder outside the repository",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the published files can be kept in {folder}", str(error), "set GREENAI_DATA to a folder of yours"
        ) from error
    pooch.get_logger().setLevel(logging.WARNING)  # what it says of a download names folders of this machine
    try:
        pooch.retrieve(
            SOURCE + name,
            known_hash=f"sha256:{SHA256[name]}",
            fname=name,
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=(CONNECT_S, READ_S)),
        )
    except ValueError as error:
        raise InputError(
            f"{SOURCE + name} has the SHA-256 {SHA256[name]}",
            f"another file ({error})",
            f"put the file of commit {COMMIT} at {file}",
        ) from error
    except OSError as error:
        raise Unavailable(
            f"{name} lies in {folder} or can be fetched from {SOURCE}",
            f"neither ({type(error).__name__})",
            f"connect to the network, or put the file of commit {COMMIT} at {file}, and the others beside it",
        ) from error
    return file


def fetch_all() -> None:
    """See that all published files are here, whole and as published; raises what `fetch` raises."""
    for name in SHA256:
        fetch(name)


def local_files() -> list[Path]:
    """Where the published files lie, or would."""
    return [_folder() / name for name in SHA256]


def _folder() -> Path:
    return paths.data_home() / "published"
