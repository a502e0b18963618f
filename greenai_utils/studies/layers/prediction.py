"""What a training will cost before it runs: its work counted without storage, and priced by a machine model."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import nn

from greenai_utils.costs.machine_model import MachineModel, Prediction
from greenai_utils.costs.step import Loss
from greenai_utils.costs.workload import training_counts
from greenai_utils.studies import load_profile
from greenai_utils.studies.data import StudyData
from greenai_utils.studies.layers.cost_tables import machine_model
from greenai_utils.validation import check_type


def predict_energy(
    model: nn.Module,
    input_shape: Sequence[int],
    batch: int,
    epochs: int,
    machine: MachineModel | str,
    loss: Loss = F.cross_entropy,
) -> Prediction:
    """What a training of a network with Adam will cost, before it runs.

    The work of a step is counted on a copy without storage (torch's meta device), so that nothing is computed here and
    the machine need not be at hand.

    Args:
        model: The network; it stays as it is. It takes one tensor.
        input_shape: Of the training images: how many there are, then the shape of one, such as (1078, 1, 32, 32).
        batch: Images in a step; a last smaller batch is trained on too.
        epochs: Passes over the images.
        machine: What work costs: the name of a profile, on whose machine it was recorded, or what `fit_machine` gave.
        loss: Takes the network's output and labels in classes.

    Returns:
        The energy and its terms, of the source and boundary that the machine was fitted on.

    Raises:
        InputError: A number below 1, a batch larger than the images, a network that does not take such images, or a
            profile that is unknown or has nothing to fit on.
    """
    check_type("a machine", machine, (MachineModel, str), "name a profile, or pass what fit_machine returned")
    counts, steps = training_counts(model, input_shape, batch, epochs, loss)
    if isinstance(machine, str):
        machine = machine_model(StudyData.read(load_profile(machine)))
    return machine.predict(counts, steps)
