"""A profile: the size of the studies and how they are measured, read from YAML and validated."""

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import yaml

from greenai_utils import paths
from greenai_utils.energy.counters import WATTS_PER_CORE
from greenai_utils.errors import InputError
from greenai_utils.identity import hashed, identity
from greenai_utils.networks.specification import KINDS, Kind
from greenai_utils.search.budgets import Budget
from greenai_utils.search.spaces import SPACES, Space, get_space
from greenai_utils.training.trial import protocol
from greenai_utils.validation import LARGEST, as_path, is_number, is_whole, shown


@dataclass(frozen=True)
class MeterSettings:
    """How energy is counted."""

    name: str = "auto"
    """Everything that Zeus can count here; without a counter, an estimate."""
    watts_per_core: float = WATTS_PER_CORE
    """Scales every estimate alike and changes no comparison."""
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

    ALWAYS: ClassVar = ("network", "side", "epochs", "batch_size", "protocol")

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
class OtherSearches:
    """Searches of another space, to see what the space changes, or what a strategy does in it."""

    space: str
    strategies: tuple[str, ...] = ("random",)
    seeds: int | None = None
    """Searches of each strategy; empty for as many as in the first space."""

    def __post_init__(self) -> None:
        _require(self, "strategies", lambda value: len(set(value)) == len(value) > 0, "one or more different names")
        _require(self, "seeds", lambda value: value is None or value >= 1, "empty or at least 1")


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
    others: tuple[OtherSearches, ...] = ()
    """Searches of other spaces."""
    other_datasets: tuple[str, ...] = ()
    """Data sets on which all of it is done as well."""
    population: int = 1
    """How many trials of different searches are trained in one step; 1 trains and reads each alone. Searches in which
    what a training costs is at stake train alone in any case."""
    alone: int = 20
    """Configurations of each space trained alone, to measure what the members of a population are charged; the mean of
    20 has an error of 22 % of what they scatter by (1 / sqrt(n))."""
    trials: int = 64
    """As published; the budget of a search in trainings of full length."""
    joules: float | None = None
    """Budget of a search in joules of its trainings; empty for none. It stops at whichever budget it reaches first."""
    seconds: float | None = None
    """Budget of a search in seconds of its trainings; empty for none."""
    seeds: int = 20
    """Searches of each strategy; the published study ran one."""
    startup_trials: int = 20
    """Random trials before a model-based strategy trusts its model; hyperopt's default."""
    paired_seeds: bool = False
    """Whether the seed of a trial follows from the search's seed and the trial's number alone, whatever the strategy:
    strategies that propose the same then begin with the same weights, and what still tells them apart is what they
    propose."""
    targets: tuple[float, ...] = (0.90, 0.95, 0.99)
    """Shares of the best accuracy that any search reached."""

    def __post_init__(self) -> None:
        _require(self, "trials", lambda value: value >= 1, "at least 1")
        _require(self, "seeds", lambda value: value >= 1, "at least 1")
        _require(self, "population", lambda value: value >= 1, "at least 1")
        _require(self, "alone", lambda value: value >= 2, "at least 2")
        _require(self, "other_datasets", lambda value: len({self.task.dataset, *value}) == len(value) + 1, "different")
        spaces = [self.space, *(other.space for other in self.others)]
        _require(self, "others", lambda _: len(set(spaces)) == len(spaces), "one entry for each space but the first")
        _require(self, "startup_trials", lambda value: value >= 1, "at least 1")
        _require(self, "strategies", lambda value: len(set(value)) == len(value) > 0, "one or more different names")
        _require(
            self,
            "targets",
            lambda value: len(set(value)) == len(value) > 0 and all(0 < share <= 1 for share in value),
            "one or more different shares in (0, 1]",
        )
        self.budget  # noqa: B018 (a wrong budget is an error here, not later)

    @property
    def budget(self) -> Budget:
        """What a search may spend.

        Raises:
            InputError: A limit is not a positive finite number.
        """
        return Budget(self.trials, self.joules, self.seconds)


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
    design: typing.Literal["crossed", "published"] = "crossed"
    """`published` trains one set of configurations without ReLU and another with it, so that ReLU cannot be told from
    its configurations."""
    other_datasets: tuple[str, ...] = ()
    """The same study on these data sets too, each analysed by itself."""

    def __post_init__(self) -> None:
        for name in ("linear_layers", "conv_layers", "relu"):
            _require(self, name, lambda value: len(set(value)) == len(value) >= 2, "two or more different levels")
        _require(self, "design", lambda value: value in ("crossed", "published"), "crossed or published")
        own = self.task.dataset
        _require(
            self, "other_datasets", lambda value: len({own, *value}) == len(value) + 1, "other data sets, each once"
        )
        _require(self, "configurations", lambda value: value >= 2, "at least 2")
        _require(self, "repetitions", lambda value: value >= 1, "at least 1")


@dataclass(frozen=True)
class AttributionSettings:
    """The joules of a training step attributed to its layers, for networks of the layer study."""

    networks: typing.Literal["all", "extremes"] = "all"
    """`extremes`: only the network with the fewest and the one with the most of everything."""
    seconds: float = 5.0
    """Of windows for each network: some hundred runs of each of its parts. A slow counter takes longer by itself."""

    def __post_init__(self) -> None:
        _require(self, "networks", lambda value: value in ("all", "extremes"), "all or extremes")
        _require(self, "seconds", lambda value: 0 < value < float("inf"), "a positive number of seconds")


@dataclass(frozen=True)
class MicrobenchmarkSettings:
    """Single layers over a grid of shapes: spatial layers over channels and sizes, linear layers over features."""

    batches: tuple[int, ...] = (64, 512)
    """512 as published, and one where launches weigh more."""
    channels: tuple[int, ...] = (3, 27, 81)
    """Those of the study's convolutional blocks."""
    sizes: tuple[int, ...] = (4, 16, 32)
    """Pixels a side."""
    features: tuple[int, ...] = (64, 512, 2048)
    """Of linear layers, as many in as out: the study's lie between."""
    pass_s: float = 0.2
    """Of windows for each forward and backward pass."""
    ceiling_s: float = 0.5
    """For the fastest matrix product and the fastest copy, each, beside every kind of layer."""

    def __post_init__(self) -> None:
        for name in ("batches", "channels", "sizes", "features"):
            _require(self, name, lambda value: len(set(value)) == len(value) > 0, "one or more different numbers")
            _require(self, name, lambda value: min(value) >= 1, "at least 1 each")
        _require(self, "sizes", lambda value: min(value) >= 2, "at least 2 each, for the pool")
        for name in ("pass_s", "ceiling_s"):
            _require(self, name, lambda value: 0 < value < float("inf"), "a positive number of seconds")


@dataclass(frozen=True)
class PredictionSettings:
    """Trainings to be predicted before they run, of networks that no attribution has seen; data of the layer study."""

    conv_layers: tuple[int, ...] = (0, 2, 3)
    """Convolutional blocks, crossed with the linear layers; 0 is the dense network alone."""
    linear_layers: tuple[int, ...] = (2, 5)
    side: int | None = None
    """Images are upsampled to this many pixels a side; empty takes the layer study's."""
    epochs: int = 20
    """STEP sees the first 15 and must have some to predict."""
    learning_rate: float = 1e-3
    """Adam's default (Kingma and Ba 2015)."""
    step_first: int = 10
    """Epochs that STEP takes for unstable (del Rey et al., arXiv 2307.05520)."""
    step_window: int = 5
    """Epochs that STEP averages (del Rey et al.)."""
    tdp_w: float | None = None
    """Thermal design power of what the meter counts, in watts. Empty leaves its method out, but for an estimate: there
    it is the watts per core times the threads, which is how an estimate is made."""

    def __post_init__(self) -> None:
        for name in ("conv_layers", "linear_layers"):
            _require(self, name, lambda value: len(set(value)) == len(value) > 0, "one or more different numbers")
        _require(self, "conv_layers", lambda value: min(value) >= 0, "zero or more each")
        _require(self, "linear_layers", lambda value: min(value) >= 1, "at least 1 each")
        _require(self, "side", lambda value: value is None or value >= 1, "empty or at least 1")
        _require(self, "epochs", lambda value: value >= 1, "at least 1")
        _require(self, "learning_rate", lambda value: 0 < value < float("inf"), "a positive number")
        _require(self, "step_first", lambda value: value >= 0, "zero or more")
        _require(self, "step_window", lambda value: value >= 1, "at least 1")
        _require(self, "tdp_w", lambda value: value is None or 0 < value < float("inf"), "empty or a positive number")


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
class LeverSettings:
    """One lever at a time from the published loop, then several together, all to one target accuracy."""

    task: TaskSettings
    """The published loop trains its network for its epochs; its protocol's other faults are left out."""
    target: float
    """Validation accuracy that a training has to end with. The published loop should reach it from most seeds: a target
    that it misses would credit other levers with its failures."""
    learning_rate: float = 1e-3
    """Adam's default (Kingma and Ba 2015)."""
    batch_size: int = 2048
    """The larger batch."""
    epochs: int = 8
    """A third of the published 25, with a one-cycle schedule."""
    train_share: float = 0.5
    """The part of the data."""
    rate_factors: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Learning rates tried where batch or schedule change, as multiples of `learning_rate`. For a batch four times as
    large they hold the same rate, the square root (Malladi et al. 2022) and the linear rule."""
    members: int = 16
    """Networks trained at once."""
    compilations: int = 3
    """Blocks in which compiling is measured: it takes longer than hundreds of small trainings. 0 leaves it out."""
    together: tuple[str, ...] = ("resident", "stacked", "batch_size", "one_cycle", "population")
    """Levers that are combined, in this order. Early stopping is not among them, since a one-cycle training is good at
    its end alone."""
    repetitions: int = 10
    """Blocks: every combination once, from the same seed."""

    def __post_init__(self) -> None:
        for name in ("target", "train_share"):
            _require(self, name, lambda value: 0 < value <= 1, "a share in (0, 1]")
        for name in ("batch_size", "epochs", "members"):
            _require(self, name, lambda value: value >= 1, "at least 1")
        _require(self, "learning_rate", lambda value: 0 < value < float("inf"), "a positive number")
        _require(
            self,
            "rate_factors",
            lambda value: len(set(value)) == len(value) > 0 and min(value) > 0,
            "one or more different positive numbers",
        )
        _require(self, "repetitions", lambda value: value >= 2, "at least 2")
        _require(self, "compilations", lambda value: value >= 0, "zero or more")
        _require(self, "together", lambda value: len(set(value)) == len(value) >= 2, "two or more different levers")
        _require(self, "together", lambda value: set(value) <= set(COMBINED), f"some of {', '.join(COMBINED)}")

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates tried where batch or schedule change."""
        return tuple(self.learning_rate * factor for factor in self.rate_factors)


COMBINED = ("resident", "stacked", "bfloat16", "batch_size", "one_cycle", "subset", "early_stopping", "population")
"""Levers that can be combined; the others replace the loop or the stacked form."""


@dataclass(frozen=True)
class Profile:
    """The size of the studies and how they are measured.

    Attributes:
        name: The file's name without its ending; names folders under `data`, `figures` and `report`.
        description: For whom and how long.
        recorded: Whether its records come from one machine and ship with the repository: they are read everywhere, and
            added to by `record` alone.
        threads: CPU threads of a training.
        spaces: Search spaces of the reader's own, beside those of `spaces.SPACES`; in YAML each by its name.
    """

    name: str
    description: str
    meter_study: MeterStudySettings
    tuning: TuningSettings
    protocols: ProtocolSettings
    layers: LayerSettings
    ladders: LadderSettings
    levers: LeverSettings
    attribution: AttributionSettings = field(default_factory=AttributionSettings)
    microbenchmarks: MicrobenchmarkSettings = field(default_factory=MicrobenchmarkSettings)
    prediction: PredictionSettings = field(default_factory=PredictionSettings)
    meter: MeterSettings = field(default_factory=MeterSettings)
    meter_comparison: MeterComparisonSettings = field(default_factory=MeterComparisonSettings)
    carbon: CarbonSettings = field(default_factory=CarbonSettings)
    recorded: bool = False
    threads: int = 1
    """Networks this small take longer, and more CPU time, on two threads than on one."""
    seed: int = 0
    """Every random choice of the studies derives from it."""
    spaces: tuple[Space, ...] = ()

    def __post_init__(self) -> None:
        _require(self, "threads", lambda value: value >= 1, "at least 1")
        _require(self, "seed", lambda value: value >= 0, "zero or more")
        for space in self.spaces:
            if space.name in SPACES:
                raise InputError(
                    f"a space of your own has a name other than {', '.join(SPACES)}", repr(space.name), "rename it"
                )
        tuned = (self.tuning.space, *(other.space for other in self.tuning.others))
        for name in (*tuned, self.protocols.space, self.layers.space):
            self.space(name)

    def space(self, name: str) -> Space:
        """A search space by its name: one of the profile's own, or one of `spaces.SPACES`.

        Raises:
            InputError: There is no such space.
        """
        return get_space(name, self.spaces)


def profile_names() -> list[str]:
    """The profiles that ship with the repository."""
    return sorted(file.stem for file in paths.PROFILES.glob("*.yaml"))


def load_profile(name: str) -> Profile:
    """Read a profile by its name.

    Raises:
        InputError: There is no such profile, or a setting in it is unknown, missing or out of range.
    """
    if not isinstance(name, str) or name not in profile_names():
        raise InputError(
            f"a profile is one of {', '.join(profile_names())}",
            shown(name),
            f"name one of these, or write {paths.PROFILES.relative_to(paths.ROOT)}/{name}.yaml",
        )
    return read_profile(paths.profile_file(name))


def read_profile(file: Path) -> Profile:
    """Read a profile from a YAML file.

    Raises:
        InputError: The file cannot be read, or a setting is unknown, missing, set twice or out of range.
    """
    file = as_path("a profile's file", file)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("a profile is a text file in UTF-8", f"{file}: {error}", "name another file") from error
    try:
        content = yaml.load(text, _Loader)
    # What a tag such as !!int promises and its text does not keep ends in any of the others.
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{file.name} is YAML", f"{error}", "mend the line it names") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{file.name} holds settings by name", shown(content), "start from quick.yaml")
    if "name" in content:
        raise InputError("a profile is named by its file", f"name: {shown(content['name'])}", "remove that line")
    return _build(Profile, {"name": file.stem, **content}, file.name)


class _Loader(yaml.SafeLoader):
    """Plain YAML in which no name is set twice, and 1e-4 is the number that it looks like: YAML 1.1 wants 1.0e-4."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [name.value for name, _ in node.value if isinstance(name, yaml.ScalarNode)]
        for name in names:
            if names.count(name) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} is set twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(  # YAML 1.2's numbers with an exponent
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)[eE][-+]?\d+$"), list("-+.0123456789")
)


NOT_MEASURED = ("description", "recorded", "carbon")
"""Settings of a profile that change no record."""


def stated_settings(profile: Profile) -> dict[str, Any]:
    """The settings that decide what is recorded and how, as a profile states them: those that are not the default.

    So a setting that a later version of the package adds changes nothing for profiles that do not use it.
    """
    settings = identity(profile, stated=True)
    return {name: value for name, value in settings.items() if name not in NOT_MEASURED}


def settings_sha256(profile: Profile) -> str:
    """The first 20 hexadecimal digits of the SHA-256 of `stated_settings`."""
    return hashed(stated_settings(profile))


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


def _require(settings: Any, name: str, holds: typing.Callable[[Any], bool], rule: str) -> None:
    value = getattr(settings, name)
    if not holds(value):
        raise InputError(f"{name} is {rule}", shown(value), f"change {name} in the profile")


def _build(cls: type, content: Any, where: str) -> Any:
    """Make a settings dataclass from a mapping, strictly: every name known, every type as annotated."""
    if not isinstance(content, Mapping):
        raise InputError(
            f"{where} holds settings by name", shown(content), f"write one line for each setting of {where}"
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
    made = {}
    for name, value in content.items():
        convert = _spaces if hints[name] == tuple[Space, ...] else partial(_convert, hints[name])
        made[name] = convert(value, f"{where}: {name}")
    return cls(**made)


IN_WORDS = {
    bool: "true or false (type bool)",
    int: "a whole number (type int)",
    float: "a finite number (type float)",
    str: "a text (type str)",
}


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
            raise InputError(f"{where} is a list", shown(value), "write it as [a, b]")
        return tuple(_convert(typing.get_args(kind)[0], item, where) for item in value)
    if is_dataclass(kind):
        return _build(typing.cast(type, kind), value, where)
    if kind is float and is_number(value):
        return float(value)
    fits = is_whole(value, -LARGEST) if kind is int else isinstance(value, kind)
    if not fits or kind is float:
        raise InputError(f"{where} is {IN_WORDS[kind]}", shown(value), f"write {IN_WORDS[kind]}")
    return value


def _spaces(value: Any, where: str) -> tuple[Space, ...]:
    """Search spaces as YAML holds them, by name."""
    if not isinstance(value, Mapping):
        raise InputError(f"{where} holds search spaces by name", shown(value), "write `name: {dimension: ...}`")
    return tuple(Space.from_mapping(name, dimensions) for name, dimensions in value.items())
