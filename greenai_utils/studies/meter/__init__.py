"""Chapter 0: what can be measured, and how far a reading can be trusted."""

from greenai_utils.recording.study import FigureSpec, Measurements, Study, Trainings
from greenai_utils.studies.meter.settings import MeterComparisonSettings, MeterStudySettings

HERE = "greenai_utils.studies.meter"

STUDY = Study(
    "meter",
    "00-energy-meter",
    settings={"meter_study": MeterStudySettings, "meter_comparison": MeterComparisonSettings},
    series=(
        Trainings("meter", f"{HERE}.plan:plan_meter", "the meter's repetitions", priority=3),
        Measurements(
            "meter_comparison",
            f"{HERE}.plan:plan_meter_comparison",
            "the meter against itself",
            priority=4,
            measure=f"{HERE}.measure:measure_comparison",
        ),
    ),
    tables={
        "trials": f"{HERE}.tables:all_trials",
        "meter_trainings": f"{HERE}.tables:meter_trainings",
        "meter_repeatability": f"{HERE}.tables:meter_repeatability",
        "meter_flags": f"{HERE}.tables:meter_flags",
        "meter_comparison": f"{HERE}.tables:meter_comparison",
    },
    figures={
        "00-repeatability": FigureSpec(
            f"{HERE}.figures:repeated_trainings",
            ("meter_trainings", "meter_repeatability"),
            "The same configuration trained again and again: what the joules scatter by is the noise that every later "
            "comparison has to beat.",
            "Left, the joules of each training in the order of training, scattered about their mean with a band of one "
            "standard deviation. Right, the same joules against the seconds that each training took.",
        ),
        "00-meter-comparison": FigureSpec(
            f"{HERE}.figures:sampled_power_bias",
            ("meter_comparison",),
            "Energy made of sampled power misses what happens between two samples; its distance from the counter's, "
            "over the same windows.",
            "For each load, the difference in per cent between joules by polled power or by nvidia-smi and the "
            "counter's, a mark a window and a bar for the mean.",
            f"{HERE}.figures:comparison_note",
        ),
    },
)
