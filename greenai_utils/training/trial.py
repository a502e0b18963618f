"""What defines one training: its network, hyperparameters, protocol, seed and length, and the key made of them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

from greenai_utils.errors import InputError
from greenai_utils.identity import from_identity, hashed, identity
from greenai_utils.networks.specification import NetworkSpec
from greenai_utils.validation import check_count, check_name, check_switch, check_type, is_number, is_whole, shown

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
Schedule = Literal["constant", "one_cycle"]
SCHEDULES: tuple[Schedule, ...] = ("constant", "one_cycle")


@dataclass(frozen=True)
class Hyperparameters:
    """The settings of Adam (Kingma and Ba 2015) that the study tunes.

    Raises:
        InputError: A value lies where Adam is not defined.
    """

    ALWAYS: ClassVar = ("beta1", "beta2", "epsilon", "weight_decay")

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("learning_rate", 0.0, float("inf")),
            ("beta1", 0.0, 1.0),
            ("beta2", 0.0, 1.0),
            ("epsilon", 0.0, float("inf")),
            ("weight_decay", 0.0, float("inf")),
        ):
            value = getattr(self, name)
            if not is_number(value) or not isinstance(value, int | float) or not low <= value < high:
                raise InputError(
                    f"{name} lies in [{low:g}, {high:g})", shown(value), f"give a number in that range for {name}"
                )


@dataclass(frozen=True)
class Protocol:
    """How a training is carried out and judged; each fault of the published code is a switch of its own.

    The faults that lie in the search (the lattice, the Gaussian process, the bounds) belong to its strategy and space,
    and the missing activation of the dense networks to `NetworkSpec.dense_relu`.
    """

    FAULTS: ClassVar = ("reshuffle", "apply_beta2", "hold_out_validation", "evaluate_in_eval_mode", "stay_on_device")
    ALWAYS: ClassVar = FAULTS

    reshuffle: bool = True
    """New batches every epoch. The published code built its batches once."""
    apply_beta2: bool = True
    """Give Adam the sampled beta2. The published code read it from the wrong dictionary and always used 0.999."""
    hold_out_validation: bool = True
    """Choose by accuracy on a validation split. The published code trained on it and chose by test accuracy."""
    evaluate_in_eval_mode: bool = True
    """Evaluate with batch norm's running statistics. The published code left the network in training mode, so that
    batch norm normalised by the test set itself."""
    stay_on_device: bool = True
    """Keep data and losses on the device. The published code copied every batch and read every loss back."""

    def __post_init__(self) -> None:
        for name in self.FAULTS:
            check_switch(name, getattr(self, name))


PROTOCOLS: Mapping[str, Protocol] = {
    "corrected": Protocol(),
    "published": Protocol(
        reshuffle=False,
        apply_beta2=False,
        hold_out_validation=False,
        evaluate_in_eval_mode=False,
        stay_on_device=False,
    ),
}


def protocol_names() -> list[str]:
    """The names that `protocol` knows: both protocols, and `fault:` with each switch of `Protocol.FAULTS`."""
    return [*PROTOCOLS, *(f"fault:{name}" for name in Protocol.FAULTS)]


def protocol(name: str) -> Protocol:
    """A protocol by name: `corrected`, `published`, or `corrected` with one published fault (`fault:reshuffle`, ...).

    Raises:
        InputError: There is no such protocol.
    """
    check_name("a protocol", name, protocol_names())
    return PROTOCOLS[name] if name in PROTOCOLS else replace(Protocol(), **{name.removeprefix("fault:"): False})


def protocol_name(value: Protocol) -> str:
    """The name that `protocol` knows a protocol by, or the list of its faults joined by `+`."""
    for name, known in PROTOCOLS.items():
        if value == known:
            return name
    return "fault:" + "+".join(name for name in Protocol.FAULTS if not getattr(value, name))


@dataclass(frozen=True)
class Trial:
    """One training of one configuration: everything that defines it, and nothing about where or why it ran.

    Attributes:
        dataset: A name that `datasets.load` knows.
        network: The network.
        hyperparameters: Adam's settings.
        protocol: How to train and judge.
        seed: Decides initial weights and batch order, together with `repetition`.
        repetition: Which of several independent trainings of the same configuration this is, from 0.
        epochs: Passes over the training split, at least 1.
        batch_size: Images in an optimiser step, at least 1.
        side: Images are upsampled to `side` x `side` pixels; None leaves them as they are.
        precision: Of the forward and backward pass; weights and optimiser stay in float32.
        flush_denormal: Whether the CPU flushes subnormal numbers to zero.
        max_steps: Stop after this many optimiser steps, to compare protocols at equal steps; None trains all epochs.
        schedule: How the learning rate goes: `constant`, or `one_cycle` (Smith and Topin 2018), whose peak it then is.
        train_share: The first images of the training split that make up this share of it are trained on. They are in
            hash order, so that this is a random subset, the same for every trial.
        stop_at: Stop after the first epoch with this validation accuracy; None never looks. Looking is part of what
            the training costs.
        search: The search that it belongs to, where several train the same from the same seed: it tells their records
            apart and changes nothing in the training. None where seeds tell them apart.

    Raises:
        InputError: A value lies outside its range, or a trial would stop by a validation split that it trains on.
    """

    ALWAYS: ClassVar = (
        *("protocol", "seed", "repetition", "epochs", "batch_size"),
        *("side", "precision", "flush_denormal", "max_steps"),
    )

    dataset: str
    network: NetworkSpec
    hyperparameters: Hyperparameters
    protocol: Protocol = field(default_factory=Protocol)
    seed: int = 0
    repetition: int = 0
    epochs: int = 1
    batch_size: int = 512
    side: int | None = None
    precision: Precision = "float32"
    flush_denormal: bool = True
    max_steps: int | None = None
    schedule: Schedule = "constant"
    train_share: float = 1.0
    stop_at: float | None = None
    search: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.dataset, str) or not self.dataset:
            raise InputError("a data set is named", shown(self.dataset), "name one that datasets.load knows")
        for name, kind in (("network", NetworkSpec), ("hyperparameters", Hyperparameters), ("protocol", Protocol)):
            check_type(f"the {name} of a trial", getattr(self, name), kind, f"make it with trials.{kind.__name__}(...)")
        check_switch("flush_denormal", self.flush_denormal)
        for name, lowest in (("seed", 0), ("repetition", 0), ("epochs", 1), ("batch_size", 1)):
            check_count(name, getattr(self, name), lowest)
        for name in ("side", "max_steps"):
            value = getattr(self, name)
            if value is not None and not is_whole(value, 1):
                raise InputError(f"{name} is empty or a whole number of at least 1", shown(value), f"change {name}")
        if self.search is not None and (not isinstance(self.search, str) or not self.search):
            raise InputError("search is empty or names a search", shown(self.search), "give its identity")
        check_name("precision", self.precision, PRECISIONS)
        check_name("schedule", self.schedule, SCHEDULES)
        for name, value in (
            ("train_share", self.train_share),
            ("stop_at", 1.0 if self.stop_at is None else self.stop_at),
        ):
            if not is_number(value) or not isinstance(value, int | float) or not 0 < value <= 1:
                raise InputError(f"{name} lies in (0, 1]", shown(value), f"give a share for {name}")
        if self.stop_at is not None and not self.protocol.hold_out_validation:
            raise InputError(
                "a training stops by the accuracy on a split that it does not learn from",
                f"stop_at = {self.stop_at} under a protocol that trains on the validation split",
                "leave stop_at out, or hold the validation split out",
            )

    @property
    def key(self) -> str:
        """The first 20 hexadecimal digits of the SHA-256 of everything above."""
        return hashed(self.as_record())

    @property
    def generator_seed(self) -> int:
        """The seed of the training's generators, different for every seed and repetition."""
        digest = hashlib.sha256(f"{self.seed}/{self.repetition}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def as_record(self) -> dict[str, Any]:
        """What identifies the trial, ready for JSON."""
        return dict(identity(self))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The trial that `as_record` wrote.

        Raises:
            UnknownFieldError: A later version of the package wrote it.
            InputError: A field is missing, or a value out of range.
        """
        return from_identity(cls, record)
