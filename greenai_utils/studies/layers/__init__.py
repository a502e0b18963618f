"""Chapter 2: how much energy convolutional, linear and ReLU layers take."""

from greenai_utils.recording.study import FigureSpec, Measurements, Study, Trainings
from greenai_utils.studies.layers.settings import (
    AttributionSettings,
    LayerSettings,
    MicrobenchmarkSettings,
    PredictionSettings,
)

HERE = "greenai_utils.studies.layers"
PLAN, MEASURE, FIGURES = f"{HERE}.plan", f"{HERE}.measure", f"{HERE}.figures"
ABLATION = ("layer_cells", "layer_anova", "layer_posthoc", "layer_differences")
COSTS = (
    *("layer_attribution", "layer_closure", "layer_microbenchmarks", "layer_cost_drivers"),
    *("energy_model", "energy_prediction", "energy_prediction_errors"),
)

STUDY = Study(
    "layers",
    "02-layer-types",
    settings={
        "layers": LayerSettings,
        "attribution": AttributionSettings,
        "microbenchmarks": MicrobenchmarkSettings,
        "prediction": PredictionSettings,
    },
    series=(
        # Layers cost what they cost users, whose networks torch runs as modules.
        Trainings("layers", f"{PLAN}:plan_layers", "layers", priority=0, stacked=False),
        Measurements(
            "attribution",
            f"{PLAN}:plan_attribution",
            "attribution to layers",
            priority=1,
            measure=f"{MEASURE}:measure_attribution",
        ),
        Measurements(
            "microbenchmarks",
            f"{PLAN}:plan_microbenchmarks",
            "micro-benchmarks",
            priority=2,
            measure=f"{MEASURE}:measure_microbenchmarks",
        ),
        Measurements(
            "prediction",
            f"{PLAN}:plan_prediction",
            "trainings to predict",
            measure=f"{MEASURE}:measure_prediction",
        ),
    ),
    tables={
        **{name: f"{HERE}.tables:{name}" for name in ABLATION},
        **{name: f"{HERE}.cost_tables:{name}" for name in COSTS},
    },
    figures={
        "02-interactions": FigureSpec(
            f"{FIGURES}:energy_of_cells",
            ("layer_cells",),
            "Parallel lines mean that what a layer adds does not depend on the others; a steep line means that "
            "convolutional blocks are dear.",
            "Gross energy of a training against the number of convolutional blocks, a line for each number of linear "
            "layers, in a panel without and a panel with ReLU.",
        ),
        "02-effect-sizes": FigureSpec(
            f"{FIGURES}:effect_sizes",
            ("layer_anova",),
            "Which factor explains the energy of a training, by four analyses that take different things for "
            "independent: where they agree, the answer does not hang on that choice.",
            "For each factor and interaction, partial eta squared with its interval on the left and F on the right, a "
            "mark for each of four analyses.",
        ),
        "02-naive-and-robust": FigureSpec(
            f"{FIGURES}:robust_intervals",
            ("layer_differences",),
            "What each factor costs in joules, with an interval that takes trainings for independent and one that "
            "takes configurations for it.",
            "For each factor the difference in net energy between two of its levels, with a naive and a robust "
            "interval, and the ratio of the two errors beside them.",
        ),
        "02-attribution": FigureSpec(
            f"{FIGURES}:step_by_type",
            ("layer_attribution",),
            "Where the joules of one training step go, every type of layer measured by itself.",
            "One panel a network: a bar for each type of layer, stacked by forward pass, backward pass, optimiser and "
            "the rest of the step.",
        ),
        "02-attribution-by-layer": FigureSpec(
            f"{FIGURES}:step_by_layer",
            ("layer_attribution",),
            "The same layer by layer, in their order, for the network whose step takes the most.",
            "A bar for each layer from the first to the last, stacked by forward pass, backward pass, optimiser and "
            "the rest of the step.",
        ),
        "02-closure": FigureSpec(
            f"{FIGURES}:sum_against_whole",
            ("layer_closure",),
            "Whether what was measured by itself adds up to what was measured whole; the band is the goal.",
            "For each network the difference in per cent between the sum of its step's parts and whole steps, and the "
            "same against steps of recorded trainings, with error bars around a band at zero.",
        ),
        "02-microbenchmarks": FigureSpec(
            f"{FIGURES}:energy_against_work",
            ("layer_microbenchmarks",),
            "Large layers fall on a line, where work decides; small ones lie on a floor, where launching them does.",
            "Joules of a pass on logarithmic axes, against its FLOPs on the left and the bytes it moves on the right, "
            "a colour for each kind of layer.",
        ),
        "02-roofline": FigureSpec(
            f"{FIGURES}:under_the_roof",
            ("layer_microbenchmarks",),
            "How far each pass stays below what arithmetic and memory allow: the closer to the roof, the less is lost "
            "to launching and waiting.",
            "Left, FLOPs a second against FLOPs for every byte, under a roof that rises and then is flat. Right, the "
            "share of the roof that each pass reaches, against the time that it took.",
        ),
        "02-cost-drivers": FigureSpec(
            f"{FIGURES}:cost_drivers",
            ("layer_cost_drivers",),
            "What the model holds each type of layer to be dear for.",
            "For each type of layer a bar divided into the shares of FLOPs, bytes and launches in its modelled joules, "
            "by attribution on the left and by micro-benchmarks on the right.",
        ),
        "02-prediction": FigureSpec(
            f"{FIGURES}:predicted_and_measured",
            ("energy_prediction", "energy_prediction_errors"),
            "What a training of a network never seen was predicted to cost, by five methods; on the diagonal a "
            "prediction is right.",
            "Left, predicted against measured joules on logarithmic axes with a diagonal. Right, the absolute errors "
            "of each method with their median and its interval.",
        ),
    },
)
