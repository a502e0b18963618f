"""Chapter 3: which accuracy is bought for which energy."""

from greenai_utils.recording.study import FigureSpec, Study, Trainings
from greenai_utils.studies.fronts.settings import LadderSettings

HERE = "greenai_utils.studies.fronts"

STUDY = Study(
    "fronts",
    "03-accuracy-vs-energy",
    settings={"ladders": LadderSettings},
    series=(Trainings("ladders", f"{HERE}.plan:plan_ladders", "ladders", priority=7),),
    tables={
        "front_trials": f"{HERE}.tables:front_trials",
        "pareto_front": f"{HERE}.tables:pareto_table",
        "front_summary": f"{HERE}.tables:front_summary",
        "front_knees": f"{HERE}.tables:knees_table",
        "marginal_cost": f"{HERE}.tables:marginal_table",
        "network_fronts": f"{HERE}.tables:network_fronts",
        "attainment": f"{HERE}.tables:attainment_table",
        "ladder_rungs": f"{HERE}.tables:ladder_rungs",
        "ladder_returns": f"{HERE}.tables:ladder_returns",
    },
    figures={
        "03-pareto-front": FigureSpec(
            f"{HERE}.figures:pareto_fronts",
            ("front_trials", "pareto_front", "front_summary"),
            "Most trials are dominated: another one was at least as accurate for no more energy. Beyond the knee the "
            "next joule begins to buy noticeably less.",
            "For each study, the accuracy of every trial against its joules on a logarithmic axis, with the staircase "
            "of the Pareto front, its standard errors, the dominated region in grey and a ring around the knee.",
        ),
        "03-marginal-cost": FigureSpec(
            f"{HERE}.figures:price_of_a_point",
            ("marginal_cost", "ladder_rungs"),
            "The next percentage point of accuracy becomes dearer the more accurate a network is already.",
            "Joules for one percentage point more, on a logarithmic axis, against the accuracy reached: a mark for "
            "each step along the front of a study, and a line through the rungs of each ladder.",
        ),
        "03-attainment": FigureSpec(
            f"{HERE}.figures:attained_by_half",
            ("attainment",),
            "What half of the searches have reached for how many joules: less luck than in the front of all of them.",
            "For each strategy and for the ladders, a staircase of accuracy against joules that half of the runs "
            "attain, in a band between what a quarter and what three quarters of them attain.",
        ),
        "03-training-and-prediction": FigureSpec(
            f"{HERE}.figures:training_and_prediction",
            ("network_fronts",),
            "The networks that are worth their joules in training need not be those that are worth them in use.",
            "Mean accuracy of each network with intervals, left against the joules of a training, right against those "
            "of 1,000 predictions, with a staircase through the networks on either front.",
        ),
        "03-ladders": FigureSpec(
            f"{HERE}.figures:curve_and_line",
            ("front_trials", "ladder_rungs", "ladder_returns"),
            "Where the saturating curve follows the means of the rungs and the straight line does not, returns "
            "diminish.",
            "For the ladder of epochs and that of convolutional blocks, accuracy against joules of every training and "
            "the mean of every rung, with a saturating curve and a straight line fitted to the trainings.",
        ),
    },
)
