"""The main job, and the pieces of it that the command line uses one by one."""

from recprune.pipeline.budget import Budget
from recprune.pipeline.comparison import Comparison, Contender, compare
from recprune.pipeline.config import RunConfig
from recprune.pipeline.effort import Effort
from recprune.pipeline.equal_bytes import Baseline, Baselines, baselines
from recprune.pipeline.evaluating import evaluate
from recprune.pipeline.first_config import Described, config_text, describe
from recprune.pipeline.host_profile import HostProfile
from recprune.pipeline.job import prune_to_budget, run
from recprune.pipeline.minimisation import Minimisation
from recprune.pipeline.minimising import minimise
from recprune.pipeline.procedures import compare_procedures
from recprune.pipeline.pruned import prune, search
from recprune.pipeline.run_folder import train_model
from recprune.pipeline.saving import save_model, ship
from recprune.pipeline.search_result import Search
from recprune.pipeline.tuning import Tuned, tune

__all__ = [
    "Baseline",
    "Baselines",
    "Budget",
    "Comparison",
    "Contender",
    "Described",
    "Effort",
    "HostProfile",
    "Minimisation",
    "RunConfig",
    "Search",
    "Tuned",
    "baselines",
    "compare",
    "compare_procedures",
    "config_text",
    "describe",
    "evaluate",
    "minimise",
    "prune",
    "prune_to_budget",
    "run",
    "save_model",
    "search",
    "ship",
    "train_model",
    "tune",
]
