"""Chapter 1: what tuning by different strategies costs in joules."""

from greenai_utils.recording.study import FigureSpec, Study, Trainings
from greenai_utils.studies.tuning.series import Searches
from greenai_utils.studies.tuning.settings import ProtocolSettings, TuningSettings

HERE = "greenai_utils.studies.tuning"

STUDY = Study(
    "tuning",
    "01-tuning-strategies",
    settings={"tuning": TuningSettings, "protocols": ProtocolSettings},
    series=(
        # What members of a population are charged is measured first.
        Trainings("alone", f"{HERE}.plan:plan_reference", "configurations trained alone", priority=5),
        Searches("tuning", f"{HERE}.plan:plan_searches", "searches", priority=6),
        # The published loop knows no other form, so that a fault of it is compared with the same loop without it.
        Trainings("protocols", f"{HERE}.plan:plan_protocols", "protocols", priority=8, stacked=False),
    ),
    tables={
        "tuning_summary": f"{HERE}.tables:tuning_summary",
        "tuning_anytime": f"{HERE}.tables:tuning_anytime",
        "tuning_energy_to_target": f"{HERE}.tables:tuning_energy_to_target",
        "tuning_pairwise": f"{HERE}.tables:tuning_pairwise",
        "tuning_costs": f"{HERE}.tables:tuning_costs",
        "tuning_alone": f"{HERE}.tables:reference_trainings",
        "tuning_protocol_effects": f"{HERE}.protocol_effects:tuning_protocol_effects",
    },
    figures={
        "01-best-so-far": FigureSpec(
            f"{HERE}.figures:best_so_far",
            ("tuning_anytime", "tuning_energy_to_target"),
            "What a joule of tuning buys: a strategy is the better the further left and the higher its curve. Where "
            "bands overlap much, the searches differ more among themselves than by strategy.",
            "A panel for each strategy with the median of its searches' best validation accuracy so far against the "
            "joules spent, as a staircase with a 95 % band, over the grey medians of the others, that of random search "
            "dotted; a dashed line marks the target.",
        ),
        "01-reaching-target": FigureSpec(
            f"{HERE}.figures:share_at_target",
            ("tuning_anytime", "tuning_energy_to_target"),
            "How soon, and how surely, searches get there. A curve that ends low belongs to a strategy that often "
            "misses the target whatever it spends.",
            "A panel for each strategy with the share of its searches that have reached the target against joules, as "
            "a rising staircase with a 95 % band, over the grey curves of the others, that of random search dotted. "
            "Ticks mark searches that ended before; a corner tells how many got there.",
        ),
        "01-energy-to-target": FigureSpec(
            f"{HERE}.figures:energy_to_target",
            ("tuning_anytime", "tuning_energy_to_target"),
            "The joules to three targets, failures counted. An interval left of the dotted line of random search saves "
            "energy; the higher the target, the more it matters who gets there at all.",
            "A panel for each target and a row for each strategy: its mean joules to the target with a 95 % interval, "
            "the single searches as small dots behind it, hollow where they never got there, and at the right edge "
            "the share that did.",
        ),
        "01-pairwise": FigureSpec(
            f"{HERE}.figures:probability_of_beating",
            ("tuning_pairwise", "tuning_energy_to_target"),
            "Whom a strategy beats, and how often. A starred pair differs by more than luck after correction for how "
            "many pairs are compared.",
            "Two heat maps of strategies by strategies, for the best accuracy and for the joules to the target; a cell "
            "is the probability that a search by the row beats one by the column, with a star where that is "
            "significant.",
        ),
        "01-protocol-effects": FigureSpec(
            f"{HERE}.protocol_figures:protocol_differences",
            ("tuning_protocol_effects",),
            "What each fault of the published protocol does to accuracy, to its optimism and to energy, and what "
            "choosing by test accuracy or another search space adds. Filled marks are clear of zero.",
            "Above, three panels with a row for each fault of the published protocol: its difference from the "
            "corrected one, with a 95 % interval, in test accuracy, in optimism and in energy. Below, differences of "
            "the accuracy that searches report, by strategy.",
        ),
        "01-costs": FigureSpec(
            f"{HERE}.figures:search_costs",
            ("tuning_costs", "tuning_energy_to_target"),
            "Where a search's joules go. What diverged bought nothing; what the tuner itself computes stands apart, on "
            "an axis of its own.",
            "A bar for each strategy of the joules of a search's trainings, split into finished trainings, idle power "
            "within them where it was read, and diverged trainings; beside it a bar of the joules of proposing.",
        ),
        "01-energy-aware": FigureSpec(
            f"{HERE}.figures:energy_aware",
            ("tuning_anytime", "tuning_energy_to_target"),
            "Where hyperparameters decide how much work a training is, a strategy that weighs joules can save some.",
            "Left, the median best accuracy so far against joules with its 95 % band, a colour for each strategy, the "
            "target dashed. Right, the mean joules to the target with 95 % intervals, and the share of searches that "
            "reach it.",
        ),
    },
)
