"""Chapter 4: what the authors' own data say, and what they were not asked."""

from greenai_utils.recording.study import FigureSpec, Study

HERE = "greenai_utils.studies.published"
NOTE = f"{HERE}.figures:authors_note"

STUDY = Study(
    "published",
    "04-published-data",
    tables={
        "published_reproduction": f"{HERE}.tables:reproduction",
        "published_trials": f"{HERE}.tables:trials",
        "published_tuning_energy_to_target": f"{HERE}.tables:tuning_energy_to_target",
        "published_tuning_cells_won": f"{HERE}.tables:tuning_cells_won",
        "published_tuning_wasted_energy": f"{HERE}.tables:tuning_wasted_energy",
        "published_tuning_energy_spread": f"{HERE}.tables:tuning_energy_spread",
        "published_tuning_front": f"{HERE}.tables:tuning_front",
        "published_tuning_hypervolume": f"{HERE}.tables:tuning_hypervolume",
        "published_study_energy": f"{HERE}.tables:study_energy",
        "published_layer_anova": f"{HERE}.tables:layer_anova",
        "published_layer_posthoc": f"{HERE}.tables:layer_posthoc",
        "published_kruskal": f"{HERE}.tables:kruskal",
        "published_layer_front": f"{HERE}.tables:layer_front",
        "published_configuration_variance": f"{HERE}.tables:configuration_variance",
    },
    figures={
        "04-effect-sizes": FigureSpec(
            f"{HERE}.figures:effect_sizes",
            ("published_layer_anova",),
            "Convolutions explain nearly all variance whichever way trainings are counted; what was taken for the "
            "replicate decides how far F stands above 1.",
            "For each data set and each term of the layer study, above the share of variance that it explains, below "
            "its F, on logarithmic axes: as published, and with the configuration as the replicate in three ways.",
            NOTE,
        ),
        "04-energy-to-target": FigureSpec(
            f"{HERE}.figures:energy_to_target",
            ("published_tuning_energy_to_target",),
            "What each of the authors' searches spent until it came close to the best accuracy known in its cell.",
            "For each data set, network and number of hyperparameters, the joules of a grid, a random and a Bayesian "
            "search on a logarithmic axis; hollow marks, at all that was spent, where a search never reached the "
            "target.",
            NOTE,
        ),
        "04-fronts": FigureSpec(
            f"{HERE}.figures:trials_and_fronts",
            ("published_trials", "published_tuning_front"),
            "Each point is a trial; the fronts are narrow, since all trainings in a panel have the same network and "
            "length.",
            "Test accuracy against joules of a training in a panel for each data set and network, coloured by "
            "strategy, with the front of three and of five hyperparameters as steps and its knee as a circle.",
            NOTE,
        ),
        "04-waste": FigureSpec(
            f"{HERE}.figures:wasted_energy",
            ("published_tuning_wasted_energy",),
            "What share of a search's joules taught nothing, under three meanings of that; a mark is a search, a line "
            "the mean of a strategy.",
            "Three panels, each with a row for the grid, the random and the Bayesian searches: the shares of joules "
            "that brought no new best, that came after the last new best, and that went to networks which learned "
            "nothing.",
            NOTE,
        ),
        "04-total-energy": FigureSpec(
            f"{HERE}.figures:study_energy",
            ("published_study_energy",),
            "Every training counted, the tuning study took more than the layer study.",
            "A bar for each study and data set: the kilowatt-hours of all its trainings.",
            NOTE,
        ),
    },
)
