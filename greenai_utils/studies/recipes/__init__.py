"""Chapter 5: which change of the training loop saves how many joules."""

from greenai_utils.recording.study import FigureSpec, Measurements, Study
from greenai_utils.studies.recipes.settings import RecipeSettings

HERE = "greenai_utils.studies.recipes"

STUDY = Study(
    "recipes",
    "05-greener-training",
    settings={"levers": RecipeSettings},
    series=(Measurements("levers", f"{HERE}.plan:plan_recipes", "recipes", measure=f"{HERE}.measure:measure_recipe"),),
    tables={
        "greener_levers": f"{HERE}.tables:recipe_costs",
        "greener_waterfall": f"{HERE}.tables:stepwise_costs",
        "greener_break_even": f"{HERE}.tables:break_even",
        "compendium_cost": f"{HERE}.tables:compendium_cost",
    },
    figures={
        "05-levers": FigureSpec(
            f"{HERE}.figures:joules_by_change",
            ("greener_levers",),
            "Left of the dotted line a change saves joules, right of it it costs more; trainings that missed the "
            "target are paid for by those that reached it.",
            "For the published loop and each change by itself, a mark at the joules to a network of the target "
            "accuracy with its interval, coloured by whether it saves; beside it the share of trainings at the target.",
        ),
        "05-waterfall": FigureSpec(
            f"{HERE}.figures:change_after_change",
            ("greener_waterfall",),
            "What each further change takes off, or adds to, the joules of those before it.",
            "One bar a step, from the published loop to all changes together, of the joules to the target with their "
            "interval; a pale block shows the difference from the bar before.",
        ),
        "05-break-even": FigureSpec(
            f"{HERE}.figures:paying_off",
            ("greener_break_even",),
            "Compiling and choosing a learning rate cost joules before the first network is there; where a curve "
            "crosses one, they have paid.",
            "For each recipe with a preparation, a falling curve of the joules in all over the number of networks "
            "trained, as a multiple of the published loop's; a dot where it crosses one.",
        ),
        "05-compendium-cost": FigureSpec(
            f"{HERE}.figures:spent_by_study",
            ("compendium_cost",),
            "The bill of this compendium by study; joules of different sources are not added up.",
            "One horizontal bar a study, of the joules of all its records, coloured by where they come from.",
        ),
    },
)
