"""A profile: the size of the studies and how they are measured, read from YAML and validated."""

import json
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import yaml
from pydantic import AfterValidator, ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from greenai_utils import paths
from greenai_utils.energy.counters import WATTS_PER_CORE
from greenai_utils.energy.meter import METERS, is_meter
from greenai_utils.errors import InputError
from greenai_utils.identity import canonical, hashed, identity
from greenai_utils.networks.specification import NETWORKS
from greenai_utils.search.spaces import SPACES, Space, get_space
from greenai_utils.training.trial import protocol
from greenai_utils.validation import check_name, check_type, shown

STRICT = ConfigDict(strict=True, extra="forbid")
"""Every setting known, every type as annotated."""

T = TypeVar("T")


def _different(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise InputError("each is listed once", ", ".join(map(str, values)), "remove what is repeated")
    return values


def _known_meter(name: str) -> str:
    if not is_meter(name):
        known = f"a meter is auto, or one or several of {', '.join(METERS)} joined by +"
        raise InputError(known, shown(name), "name one of these")
    return name


def _known_network(kind: str) -> str:
    check_name("a network", kind, NETWORKS)
    return kind


Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Different = AfterValidator(_different)
Some = Field(min_length=1)


@dataclass(frozen=True, config=STRICT)
class MeterSettings:
    """How energy is counted."""

    name: Annotated[str, AfterValidator(_known_meter)] = "auto"
    """Everything that Zeus can count here; without a counter, an estimate."""
    watts_per_core: Positive = WATTS_PER_CORE
    """Scales every estimate alike and changes no comparison."""
    idle_s: Positive = 10.0
    """A quiet window of a hundred updates of NVML's counter; an estimate needs none, since idling takes no CPU time."""
    warmup_s: NotNegative = 60.0
    """At most this long to reach steady power; a GPU's temperature settles within a minute."""


@dataclass(frozen=True, config=STRICT)
class CarbonSettings:
    """What a kilowatt-hour weighs in greenhouse gases."""

    grams_per_kwh: NotNegative = 473.0
    """The world's electricity in 2024."""
    source: str = "world average of 2024, Ember, Global Electricity Review 2025"


@dataclass(frozen=True, config=STRICT)
class TaskSettings:
    """The data, network and length of the trainings of a study."""

    ALWAYS: ClassVar = ("network", "side", "epochs", "batch_size", "protocol")

    dataset: str
    network: Annotated[str, AfterValidator(_known_network)] = "dense_poly"
    side: Count | None = None
    """Images are upsampled to this many pixels a side; four pools need 16 or more."""
    epochs: Count = 25
    """As published."""
    batch_size: Count = 512
    """As published."""
    protocol: str = "corrected"

    def __post_init__(self) -> None:
        protocol(self.protocol)


def _spaces(value: Any) -> tuple[Space, ...]:
    """Search spaces as YAML holds them, by name."""
    if isinstance(value, tuple):
        return value
    if not isinstance(value, Mapping):
        raise InputError("spaces are search spaces by name", shown(value), "write `spaces: {name: {dimension: ...}}`")
    return tuple(Space.from_mapping(name, dimensions) for name, dimensions in value.items())


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Profile:
    """The size of the studies and how they are measured; each study's settings are a field of their own.

    Attributes:
        name: The file's name without its ending; names folders under `data`, `figures` and `report`.
        description: For whom and how long.
        origin: The name or path that it was read from.
        changes: The settings that were changed after that, as JSON; empty for none.
        recorded: Whether its records come from one machine and ship with the repository: they are read everywhere, and
            added to by `record` alone.
        threads: CPU threads of a training.
        spaces: Search spaces of the reader's own, beside those of `spaces.SPACES`; in YAML each by its name.
    """

    name: str
    description: str
    origin: str = ""
    changes: str = ""
    meter: MeterSettings = field(default_factory=MeterSettings)
    carbon: CarbonSettings = field(default_factory=CarbonSettings)
    recorded: bool = False
    threads: Count = 1
    """Networks this small take longer, and more CPU time, on two threads than on one."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Every random choice of the studies derives from it."""
    spaces: Annotated[tuple[Space, ...], PlainValidator(_spaces)] = ()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __post_init__(self) -> None:
        for space in self.spaces:
            if space.name in SPACES:
                raise InputError(
                    f"a space of your own has a name other than {', '.join(SPACES)}", repr(space.name), "rename it"
                )
        for section in vars(self).values():
            for name in getattr(section, "space_names", ()):
                self.space(name)

    def space(self, name: str) -> Space:
        """A search space by its name: one of the profile's own, or one of `spaces.SPACES`.

        Raises:
            InputError: There is no such space.
        """
        return get_space(name, self.spaces)


def profile_class(sections: Mapping[str, type]) -> type[Profile]:
    """The class of profiles with the settings of studies as fields.

    Args:
        sections: Classes of settings by name. One whose every setting has a default may be left out of a profile.
    """
    defaults = {name: field(default_factory=kind) for name, kind in sections.items() if _has_defaults(kind)}
    body = {"__annotations__": dict(sections), "__module__": __name__, "__doc__": Profile.__doc__, **defaults}
    return dataclass(frozen=True, config=STRICT, kw_only=True)(type("Profile", (Profile,), body))  # type: ignore[return-value]


def profile_names() -> list[str]:
    """The profiles that ship with the repository."""
    return sorted(file.stem for file in paths.PROFILES.glob("*.yaml"))


def read_profile(name: str | Path, kind: type[Profile] = Profile, settings: Mapping[str, Any] | None = None) -> Profile:
    """Read a profile.

    Args:
        name: Of a file in `notebooks/profiles`, or the path of another that ends in `.yaml`, absolute or from the
            repository, its notebooks or its profiles. One that says `base:
            other` starts from that profile, and changes in it what it names.
        kind: The class that `profile_class` made.
        settings: Changes to it, nested as in YAML. A changed profile is another: its name ends in their hash, and it is
            recorded here whatever the first says.

    Raises:
        InputError: There is no such profile, the file cannot be read, or a setting is unknown, missing, set twice or
            out of range.
    """
    content = _content(name, ())
    if settings:
        check_type("settings", settings, Mapping, "give them as in a profile: {tuning: {seeds: 3}}")
        content = _changed(content, settings)
        content |= {
            "name": f"{content['name']}-{hashed(settings, 8)}",
            "recorded": False,
            "changes": canonical(settings),
        }
    content["origin"] = str(name)
    return _validated(kind, content, f"profile {content['name']}")


def _content(name: str | Path, above: tuple[str | Path, ...]) -> dict[str, Any]:
    """The settings that a profile states, on top of those that it starts from."""
    file = _file(name)
    content = _read(file)
    base = content.pop("base", None)
    if base is None:
        return {"name": file.stem, **content}
    if base in above:
        raise InputError("a profile starts from another that does not start from it", shown(base), "change its base")
    return _changed(_content(base, (*above, name)), content) | {"name": file.stem}


def _file(name: str | Path) -> Path:
    if isinstance(name, str | Path) and str(name).endswith(".yaml"):
        places = [folder / name for folder in (paths.ROOT, paths.NOTEBOOKS, paths.PROFILES)]
        if found := next((place for place in places if place.exists()), None):
            return found
    if not isinstance(name, str) or name not in profile_names():
        raise InputError(
            f"a profile is one of {', '.join(profile_names())}, or a file that ends in .yaml",
            shown(name),
            f"name one of these, or write {paths.PROFILES.relative_to(paths.ROOT)}/<name>.yaml",
        )
    return paths.profile_file(name)


def _read(file: Path) -> dict[str, Any]:
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
    return dict(content)


def _changed(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others in place of some, nested ones likewise."""
    merged = dict(content)
    for name, value in changes.items():
        old = merged.get(name)
        merged[name] = _changed(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _validated(kind: type[Profile], content: Mapping[str, Any], where: str) -> Profile:
    try:
        text = json.dumps(content)  # its lists may stand for tuples, and whole numbers for others
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{where} holds plain values", str(error), "write numbers, texts, lists and names") from error
    try:
        return TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        raise _in_words(error, where) from error


PLAINER = {
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "a valid integer": "a whole number",
    "Tuple should have": "a list with",
    " after validation": "",
}


def _in_words(error: ValidationError, where: str) -> InputError:
    """The first of pydantic's complaints, in our form."""
    first = error.errors(include_url=False)[0]
    own = first.get("ctx", {}).get("error")
    place = ".".join(str(part) for part in first["loc"])
    if isinstance(own, InputError):
        return InputError(f"{where}{': ' + place if place else ''}: {own.rule}", own.got, own.remedy)
    if first["type"] == "missing":
        return InputError(f"{where} sets everything that has no default", f"no {place}", "add it")
    if first["type"] == "unexpected_keyword_argument":
        return InputError(f"{where} sets what there is to set", f"{place}, which is unknown", "correct or remove it")
    rule = first["msg"].removeprefix("Input should be ")
    for theirs, ours in PLAINER.items():
        rule = rule.replace(theirs, ours)
    return InputError(f"{where}: {place} is {rule}", shown(first["input"]), f"change {place} in the profile")


def _has_defaults(kind: type) -> bool:
    try:
        kind()
    except ValidationError:
        return False
    return True


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


NOT_MEASURED = ("description", "origin", "changes", "recorded", "carbon")
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
