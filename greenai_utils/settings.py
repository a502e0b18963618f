"""A profile: the size of the studies and how they are measured, read from YAML and validated."""

import hashlib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from greenai_utils import paths
from greenai_utils.errors import InputError
from greenai_utils.networks import KINDS, Kind
from greenai_utils.trials import canonical, protocol


@dataclass(frozen=True)
class MeterSettings:
    """How energy is counted."""

    name: str = "auto"
    """Everything that Zeus can count here; without a counter, an estimate."""
    watts_per_core: float = 12.0
    """Scales every estimate alike and changes no comparison: the value that Green Algorithms uses for a core of a
    processor it does not know (Lannelongue, Grealey and Inouye 2021, doi:10.1002/advs.202100707)."""
    idle_s: float = 10.0
    """A quiet window of a hundred updates of NVML's counter; an estimate needs none, since idling takes no CPU time."""
    warmup_s: float = 60.0
    """At most this long to reach steady power; a GPU's temperature settles within a minute."""

    def __post_init__(self) -> None:
        _require(self, "watts_per_core", lambda value: 0 < value < float("inf"), "a positive number of watts")
        _require(self, "idle_s", lambda value: 0 < value < float("inf"), "a positive number of seconds")
        _require(self, "warmup_s", lambda value: 0 <= value < float("inf"), "a number of seconds, zero or more")


@dataclass(frozen=True)
class CarbonSettings:
    """What a kilowatt-hour weighs in greenhouse gases."""

    grams_per_kwh: float = 473.0
    """The world's electricity in 2024."""
    source: str = "world average of 2024, Ember, Global Electricity Review 2025"

    def __post_init__(self) -> None:
        _require(self, "grams_per_kwh", lambda value: 0 <= value < float("inf"), "a number of grams, zero or more")


@dataclass(frozen=True)
class TaskSettings:
    """The data, network and length of the trainings of a study."""

    dataset: str
    network: Kind = "dense_poly"
    side: int | None = None
    """Images are upsampled to this many pixels a side; four pools need 16 or more."""
    epochs: int = 25
    """As published."""
    batch_size: int = 512
    """As published."""
    protocol: str = "corrected"

    def __post_init__(self) -> None:
        _require(self, "epochs", lambda value: value >= 1, "at least 1")
        _require(self, "batch_size", lambda value: value >= 1, "at least 1")
        _require(self, "side", lambda value: value is None or value >= 1, "empty or at least 1")
        _require(self, "network", lambda value: value in KINDS, f"one of {', '.join(KINDS)}")
        protocol(self.protocol)


@dataclass(frozen=True)
class MeterStudySettings:
    """One training repeated, to see what the meter and the trainings scatter by."""

    task: TaskSettings
    repetitions: int = 20
    """Estimates a standard deviation to about 16 % (1 / sqrt(2 (n - 1)))."""

    def __post_init__(self) -> None:
        _require(self, "repetitions", lambda value: value >= 3, "at least 3")


@dataclass(frozen=True)
class MeterComparisonSettings:
    """The meter tested against itself: the same windows by a counter, by polled power and by the authors' way."""

    window_s: float = 10.0
    """A hundred samples of the authors' way, so that its mean is as good as it was for them."""
    repetitions: int = 3
    """Of every load."""

    def __post_init__(self) -> None:
        _require(self, "window_s", lambda value: 0 < value < float("inf"), "a positive number of seconds")
        _require(self, "repetitions", lambda value: value >= 1, "at least 1")


@dataclass(frozen=True)
class TuningSettings:
    """Searches by several strategies, each from several seeds."""

    task: TaskSettings
    strategies: tuple[str, ...] = ("grid", "random", "tpe")
    space: str = "corrected3"
    other_spaces: tuple[str, ...] = ()
    """Spaces that random search explores too, to see what the space alone changes."""
    population: int = 1
    """How many trials of different searches are trained in one step; 1 trains and reads each alone."""
    trials: int = 64
    """As published."""
    seeds: int = 20
    """Searches of each strategy; the published study ran one."""
    startup_trials: int = 20
    """Random trials before a model-based strategy trusts its model; hyperopt's default."""
    targets: tuple[float, ...] = (0.90, 0.95, 0.99)
    """Shares of the best accuracy that any search reached."""

    def __post_init__(self) -> None:
        _require(self, "trials", lambda value: value >= 1, "at least 1")
        _require(self, "seeds", lambda value: value >= 1, "at least 1")
        _require(self, "population", lambda value: value >= 1, "at least 1")
        _require(self, "startup_trials", lambda value: value >= 1, "at least 1")
        _require(self, "strategies", lambda value: len(set(value)) == len(value) > 0, "one or more different names")
        _require(self, "targets", lambda value: all(0 < share <= 1 for share in value), "shares in (0, 1]")


@dataclass(frozen=True)
class ProtocolSettings:
    """One set of configurations trained under every protocol, at equal optimiser steps."""

    task: TaskSettings
    steps: int
    """Optimiser steps of every training: protocols differ in the size of their training split."""
    space: str = "published3"
    """Where a beta2 that is never applied has room to matter."""
    configurations: int = 8
    repetitions: int = 3

    def __post_init__(self) -> None:
        _require(self, "steps", lambda value: value >= 1, "at least 1")
        _require(self, "configurations", lambda value: value >= 2, "at least 2")
        _require(self, "repetitions", lambda value: value >= 1, "at least 1")


@dataclass(frozen=True)
class LayerSettings:
    """The factorial ablation of layers: one set of configurations crossed over all cells."""

    task: TaskSettings
    linear_layers: tuple[int, ...] = (3, 7)
    conv_layers: tuple[int, ...] = (1, 4)
    relu: tuple[bool, ...] = (False, True)
    space: str = "layers_published"
    configurations: int = 16
    """As published. The configuration is the replicate."""
    repetitions: int = 2
    """The published study trained 24 times a configuration and cell; two separate configuration from repetition."""

    def __post_init__(self) -> None:
        for name in ("linear_layers", "conv_layers", "relu"):
            _require(self, name, lambda value: len(set(value)) == len(value) >= 2, "two or more different levels")
        _require(self, "configurations", lambda value: value >= 2, "at least 2")
        _require(self, "repetitions", lambda value: value >= 1, "at least 1")


@dataclass(frozen=True)
class LadderSettings:
    """One configuration trained longer and longer, and networks that grow block by block, to see what more buys."""

    task: TaskSettings
    """Its network climbs the ladder of epochs; every network on the ladder of sizes trains for its epochs."""
    epochs: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Doubling, so that rungs lie evenly where returns diminish."""
    conv_layers: tuple[int, ...] = (0, 1, 2, 3)
    """Convolutional blocks before the linear layers; 0 is the dense network alone. Every block halves the image."""
    linear_layers: int = 1
    """Of every network on the ladder of sizes: the fewest, so that rungs differ in their blocks alone."""
    learning_rate: float = 1e-3
    """Adam's default (Kingma and Ba 2015)."""
    repetitions: int = 8

    def __post_init__(self) -> None:
        for name in ("epochs", "conv_layers"):
            _require(self, name, lambda value: len(set(value)) == len(value) >= 3, "three or more different rungs")
        _require(self, "epochs", lambda value: min(value) >= 1, "at least 1 on every rung")
        _require(self, "conv_layers", lambda value: min(value) >= 0, "zero or more on every rung")
        _require(self, "linear_layers", lambda value: value >= 1, "at least 1")
        _require(self, "learning_rate", lambda value: 0 < value < float("inf"), "a positive number")
        _require(self, "repetitions", lambda value: value >= 2, "at least 2")


@dataclass(frozen=True)
class Profile:
    """The size of the studies and how they are measured.

    Attributes:
        name: The file's name without its ending; names folders under `data`, `figures` and `report`.
        description: For whom and how long.
        recorded: Whether its records come from one machine and ship with the repository: they are read everywhere, and
            added to by `record` alone.
        threads: CPU threads of a training.
    """

    name: str
    description: str
    meter_study: MeterStudySettings
    tuning: TuningSettings
    protocols: ProtocolSettings
    layers: LayerSettings
    ladders: LadderSettings
    meter: MeterSettings = field(default_factory=MeterSettings)
    meter_comparison: MeterComparisonSettings = field(default_factory=MeterComparisonSettings)
    carbon: CarbonSettings = field(default_factory=CarbonSettings)
    recorded: bool = False
    threads: int = 1
    """Networks this small take longer, and more CPU time, on two threads than on one."""
    seed: int = 0
    """Every random choice of the studies derives from it."""

    def __post_init__(self) -> None:
        _require(self, "threads", lambda value: value >= 1, "at least 1")
        _require(self, "seed", lambda value: value >= 0, "zero or more")


def profile_names() -> list[str]:
    """The profiles that ship with the repository."""
    return sorted(file.stem for file in paths.PROFILES.glob("*.yaml"))


def load_profile(name: str) -> Profile:
    """Read a profile by its name.

    Raises:
        InputError: There is no such profile, or a setting in it is unknown, missing or out of range.
    """
    if name not in profile_names():
        raise InputError(
            f"a profile is one of {', '.join(profile_names())}",
            repr(name),
            f"name one of these, or write {paths.PROFILES.relative_to(paths.ROOT)}/{name}.yaml",
        )
    return read_profile(paths.profile_file(name))


def read_profile(file: Path) -> Profile:
    """Read a profile from a YAML file.

    Raises:
        InputError: A setting is unknown, missing or out of range.
    """
    try:
        content = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{file.name} is YAML", str(error), "mend the line it names") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{file.name} holds settings by name", type(content).__name__, "start from quick.yaml")
    return _build(Profile, {"name": file.stem, **content}, file.name)


NOT_MEASURED = ("description", "recorded", "carbon")
"""Settings of a profile that change no record."""


def stated_settings(profile: Profile) -> dict[str, Any]:
    """The settings that decide what is recorded and how, as a profile states them: those that are not the default.

    So a setting that a later version of the package adds changes nothing for profiles that do not use it.
    """
    settings = _stated(profile)
    return {name: value for name, value in settings.items() if name not in NOT_MEASURED}


def settings_sha256(profile: Profile) -> str:
    """The first 20 hexadecimal digits of the SHA-256 of `stated_settings`."""
    return hashlib.sha256(canonical(stated_settings(profile)).encode()).hexdigest()[:20]


def differing_settings(there: Mapping[str, Any], here: Mapping[str, Any], within: str = "") -> list[str]:
    """What differs between two results of `stated_settings`, setting by setting, in words."""
    found: list[str] = []
    for name in sorted({*there, *here}):
        old, new = there.get(name), here.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differing_settings(old, new, f"{within}{name}.")
        elif old != new:
            shown = ["the default" if value is None else repr(value) for value in (old, new)]
            found.append(f"{within}{name}: {shown[0]} there, {shown[1]} here")
    return found


def _stated(settings: Any) -> dict[str, Any]:
    """The fields of a settings dataclass that differ from their defaults, nested ones likewise, ready for JSON."""
    stated: dict[str, Any] = {}
    for item in fields(settings):
        value = getattr(settings, item.name)
        default = item.default if item.default_factory is MISSING else item.default_factory()
        if value != default:
            plain = list(value) if isinstance(value, tuple) else value
            stated[item.name] = _stated(value) if is_dataclass(value) else plain
    return stated


def _require(settings: Any, name: str, holds: typing.Callable[[Any], bool], rule: str) -> None:
    value = getattr(settings, name)
    if not holds(value):
        raise InputError(f"{name} is {rule}", repr(value), f"change {name} in the profile")


def _build(cls: type, content: Any, where: str) -> Any:
    """Make a settings dataclass from a mapping, strictly: every name known, every type as annotated."""
    if not isinstance(content, Mapping):
        raise InputError(
            f"{where} holds settings by name", repr(content), f"write one line for each setting of {where}"
        )
    known = {item.name: item for item in fields(cls)}
    unknown = [str(name) for name in content if name not in known]
    if unknown:
        raise InputError(
            f"the settings of {where} are {', '.join(known)}", ", ".join(unknown), "correct or remove what is unknown"
        )
    missing = [
        name
        for name, item in known.items()
        if name not in content and item.default is MISSING and item.default_factory is MISSING
    ]
    if missing:
        raise InputError(f"{where} sets everything that has no default", f"no {', '.join(missing)}", "add it")
    hints = typing.get_type_hints(cls)
    return cls(**{name: _convert(hints[name], value, f"{where}: {name}") for name, value in content.items()})


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin is typing.Literal:  # the settings class itself says which names there are
        kind, origin = str, None
    if origin in (types.UnionType, typing.Union):
        kinds = typing.get_args(kind)
        if value is None and type(None) in kinds:
            return None
        return _convert(next(option for option in kinds if option is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where} is a list", repr(value), "write it as [a, b]")
        return tuple(_convert(typing.get_args(kind)[0], item, where) for item in value)
    if is_dataclass(kind):
        return _build(typing.cast(type, kind), value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{where} is of type {kind.__name__}", repr(value), f"write a {kind.__name__}")
    return value
