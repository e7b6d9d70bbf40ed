"""What users touch: flows, tasks, futures, logs, deployments. All of it is offered by `legato` itself; where it lives here is ours to change."""
