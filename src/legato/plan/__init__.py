"""`flow.plan()`: the flow's graph, read from its source. Nothing of the user's is called: not the flow, no task, no helper, no property.

The source is gone through statement by statement (`statements`, `expressions`, `calls`, `tasks`) with what is known of each value (`values`) and
what the code changes (`world`). A branch is followed alone when its condition depends on parameters and constants only, a loop is unrolled
when its length is known; everything else is in the plan as conditional, repeated, or among what is not known. Helper functions and classes
of the user's project are read as well. What is not followed is not known, unless it is proven harmless (`reach`): a plan that says it is
whole names the calls that a run makes. Odd code makes the plan vaguer, never wrong on purpose, and never an error.

It knows nothing of the SDK: `words` tells it what tasks and flows are.
"""

from legato.plan.reader import plan_of
from legato.plan.words import Words

__all__ = ["Words", "plan_of"]
