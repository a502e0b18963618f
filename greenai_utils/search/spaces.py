"""Search spaces as data: the hyperparameters that a search may change, their bounds and their scale."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from greenai_utils.errors import InputError
from greenai_utils.validation import check_name, check_switch, is_number, shown

Configuration = dict[str, float | int]
"""A value for every dimension of a space, by name; whole numbers are `int`, all others `float`."""

Scale = Literal["linear", "log"]
NumberType = Literal["real", "integer"]


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter that a search may change.

    A strategy that knows nothing about values works on the unit interval: 0 is `low`, 1 is `high`, and between them the
    dimension's own scale is even. Each whole number of an integer dimension owns an interval that reaches half a step
    to either side, so that the first and the last are as likely as the others.

    Attributes:
        name: A field of the hyperparameters, the network or the trial.
        low: The lowest value.
        high: The highest value.
        scale: `linear`, or `log` where ratios matter rather than differences.
        kind: `real` or `integer`.
        include_high: Whether `high` itself may be proposed. Adam is not defined for a beta of 1, the published upper
            bound; numpy's uniform numbers, which the published study drew, exclude it as well.

    Raises:
        InputError: A bound is not finite, not below the other, not positive on a log scale, or not whole where the
            dimension is.
    """

    ALWAYS: ClassVar = ("scale", "kind", "include_high")

    name: str
    low: float
    high: float
    scale: Scale = "linear"
    kind: NumberType = "real"
    include_high: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise InputError("a dimension is named like a field", repr(self.name), "name a hyperparameter")
        check_name(f"{self.name}: scale", self.scale, get_args(Scale))
        check_name(f"{self.name}: kind", self.kind, get_args(NumberType))
        check_switch(f"{self.name}: include_high", self.include_high)
        integer, both = self.kind == "integer", (self.low, self.high)
        rules: tuple[tuple[str, Callable[[], bool], str], ...] = (
            ("a bound is a finite number", lambda: all(map(is_number, both)), "give numbers"),
            (
                "a bound of an integer is whole",
                lambda: not integer or all(float(bound).is_integer() for bound in both),
                "round it or write kind: real",
            ),
            ("low lies below high", lambda: self.low < self.high, "change the bounds"),
            ("the range from low to high is finite", lambda: is_number(self.high - self.low), "change the bounds"),
            (
                "a log-scaled bound is positive",
                lambda: self.scale == "linear" or self.low > 0,
                "give a positive low or write scale: linear",
            ),
            (
                "an integer's upper bound belongs to its range",
                lambda: self.include_high or not integer,
                "lower the bound by one instead",
            ),
        )
        for rule, holds, remedy in rules:
            if not holds():
                raise InputError(f"{self.name}: {rule}", f"[{shown(self.low)}, {shown(self.high)}]", remedy)

    @property
    def scaled_bounds(self) -> tuple[float, float]:
        """The bounds of the interval that the unit interval stands for, on the dimension's scale."""
        half = 0.5 if self.kind == "integer" else 0.0
        low, high = self.low - half, self.high + half
        return (math.log(low), math.log(high)) if self.scale == "log" else (float(low), float(high))

    @property
    def distinct(self) -> float:
        """How many values there are to propose; infinite for a real dimension."""
        return math.inf if self.kind == "real" else self.high - self.low + 1

    def native(self, value: float) -> float | int:
        """The nearest value that may be proposed, as a plain Python number."""
        if self.kind == "integer":
            return int(min(max(round(value), self.low), self.high))
        high = self.high if self.include_high else math.nextafter(self.high, self.low)
        return float(min(max(value, self.low), high))

    def to_unit(self, value: float) -> float:
        """Where a value lies in the unit interval."""
        low, high = self.scaled_bounds
        return ((math.log(value) if self.scale == "log" else value) - low) / (high - low)

    def from_unit(self, share: float) -> float | int:
        """The value at a place in the unit interval; places outside it give the nearest bound."""
        low, high = self.scaled_bounds
        scaled = low + (high - low) * min(max(share, 0.0), 1.0)
        return self.native(math.exp(scaled) if self.scale == "log" else scaled)

    def snap(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Move places of the unit interval to the nearest whole numbers' places; a real dimension leaves them."""
        if self.kind == "real":
            return shares
        low, high = self.scaled_bounds
        scaled = low + (high - low) * shares
        whole = np.clip(np.round(np.exp(scaled) if self.scale == "log" else scaled), self.low, self.high)
        return ((np.log(whole) if self.scale == "log" else whole) - low) / (high - low)

    def levels(self, count: int) -> tuple[float | int, ...]:
        """Evenly spaced values on the dimension's scale: the centre alone, or from bound to bound.

        The upper bound is left out where it may not be proposed. Whole numbers that round to the same value count once,
        so that there can be fewer levels than asked for.
        """
        if count == 1:
            return (self.from_unit(0.5),)
        transform, inverse = (math.log, math.exp) if self.scale == "log" else (float, float)
        inner = np.linspace(transform(self.low), transform(self.high), count, endpoint=self.include_high)[1:]
        ends = {self.native(self.low), *([self.native(self.high)] if self.include_high else [])}
        return tuple(sorted(ends | {self.native(inverse(value)) for value in inner[: count - len(ends)]}))


@dataclass(frozen=True)
class Space:
    """The dimensions that a search may change together.

    Attributes:
        name: What messages and records call it.
        dimensions: One or more, each with a name of its own.

    Raises:
        InputError: There is no dimension, or two have the same name.
    """

    name: str
    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InputError("a search space has a name", shown(self.name), "give it one")
        if not self.dimensions:
            raise InputError(
                "a search space has at least one dimension", f"none in {self.name!r}", "add a hyperparameter"
            )
        if len(set(self.names)) < len(self.names):
            raise InputError("each dimension has a name of its own", ", ".join(self.names), "remove the repeated one")

    @classmethod
    def from_mapping(cls, name: str, mapping: Mapping[str, Any]) -> Self:
        """A space from plain data, as YAML gives it.

        Args:
            name: What messages and records call it.
            mapping: For each dimension its `low` and `high`, and where they differ from the default `scale`, `kind` and
                `include_high`. YAML reads `1e-5` as text, so text that spells a number counts as that number.

        Raises:
            InputError: A dimension or a bound is missing, unknown or breaks a rule of `Dimension`.
        """
        if not isinstance(mapping, Mapping):
            rule = f"space {name!r} holds dimensions by name"
            raise InputError(rule, shown(mapping), "write one line for each dimension")
        known = {item.name for item in fields(Dimension)} - {"name"}
        dimensions = []
        for label, settings in mapping.items():
            if not isinstance(settings, Mapping) or not {"low", "high"} <= set(settings) <= known:
                rule = f"{label} has a low and a high, and may have scale, kind and include_high"
                raise InputError(rule, shown(settings), "write {low: ..., high: ...}")
            bounds = {key: _number(settings[key]) for key in ("low", "high")}
            dimensions.append(Dimension(label, **{**settings, **bounds}))
        return cls(name, tuple(dimensions))

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions' names, in order."""
        return tuple(dimension.name for dimension in self.dimensions)

    def to_unit(self, configuration: Mapping[str, float | int]) -> NDArray[np.float64]:
        """Where a configuration lies in the unit cube, shape (dimensions,)."""
        return np.array([dimension.to_unit(configuration[dimension.name]) for dimension in self.dimensions])

    def snap(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Move points of the unit cube, shape (n, dimensions), to those of the configurations they stand for."""
        return np.stack([each.snap(column) for each, column in zip(self.dimensions, points.T, strict=True)], axis=1)

    def from_unit(self, point: ArrayLike) -> Configuration:
        """The configuration at a point of the unit cube, shape (dimensions,)."""
        shares = zip(self.dimensions, np.asarray(point, dtype=float), strict=True)
        return {dimension.name: dimension.from_unit(float(share)) for dimension, share in shares}


def _number(value: Any) -> Any:
    """The number that a text spells; anything else as it came, for `Dimension` to judge."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


_RATE = Dimension("learning_rate", 1e-5, 1e-1)
_LOG_RATE = Dimension("learning_rate", 1e-5, 1e-1, scale="log")
_BETA1 = Dimension("beta1", 0.1, 1.0, include_high=False)
_BETA2 = Dimension("beta2", 0.8, 1.0, include_high=False)
_CORRECTED_BETAS = (Dimension("beta1", 0.1, 0.999), Dimension("beta2", 0.8, 0.999))

SPACES: Mapping[str, Space] = {
    space.name: space
    for space in (
        Space("published3", (_RATE, _BETA1, _BETA2)),
        Space(
            "published5",
            (_RATE, _BETA1, _BETA2, Dimension("epsilon", 1e-9, 1e-7), Dimension("weight_decay", 0.0, 0.1)),
        ),
        Space(
            "layers_published",
            (Dimension("learning_rate", 1e-5, 1e-3), Dimension("beta1", 0.5, 1.0, include_high=False), _BETA2),
        ),
        Space("corrected3", (_LOG_RATE, *_CORRECTED_BETAS)),
        Space(
            "corrected5",
            (
                _LOG_RATE,
                *_CORRECTED_BETAS,
                Dimension("epsilon", 1e-9, 1e-7, scale="log"),
                Dimension("weight_decay", 1e-6, 0.1, scale="log"),
            ),
        ),
        Space(
            "costly",
            (
                Dimension("batch_size", 16, 512, scale="log", kind="integer"),
                Dimension("epochs", 2, 25, scale="log", kind="integer"),
                Dimension("linear_layers", 2, 7, kind="integer"),
                _LOG_RATE,
            ),
        ),
    )
}
"""The published spaces with their published bounds; the corrected ones, where Adam is defined everywhere and what spans
decades is on a log scale; and `costly`, whose hyperparameters decide how much work a training is."""


def get_space(name: str, own: Iterable[Space] = ()) -> Space:
    """A space by its name: one of `SPACES`, or of the reader's own.

    Raises:
        InputError: There is no such space.
    """
    known = {**SPACES, **{space.name: space for space in own}}
    check_name("a search space", name, known)
    return known[name]
