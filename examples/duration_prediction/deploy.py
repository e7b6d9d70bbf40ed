"""Deploy the pipeline: once a minute, by any agent that serves a queue it fits.

legato deployment create examples/duration_prediction/deploy.py
"""

from __future__ import annotations

import pathlib
import sys
from datetime import timedelta

from legato import Deployment, IntervalSchedule, SubprocessFlowRunner

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from train import duration_prediction

Deployment(
    duration_prediction,
    name="every-minute",
    schedule=IntervalSchedule(interval=timedelta(minutes=1)),
    flow_runner=SubprocessFlowRunner(),
    tags=["ml"],
)
