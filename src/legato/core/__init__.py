"""The pure core: what Legato knows and decides, without clock, randomness, disk, network, threads or logging.

Everything here is a function of its arguments, so a decision can be tested without a fixture and replayed from a seed.
"""
