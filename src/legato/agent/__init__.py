"""The agent: a process that claims runs from work queues, starts them, says that they live, and tells when they died."""
