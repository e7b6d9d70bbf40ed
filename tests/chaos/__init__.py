"""Processes killed at named points, and what is left of them."""
