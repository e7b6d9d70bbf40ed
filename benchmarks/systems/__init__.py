"""The systems that are compared, one module each, imported only in an environment that has it. Each offers `open_system(home)`."""
