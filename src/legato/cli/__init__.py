"""The command line: `legato NOUN VERB`, one module a noun. Parse, call, print; what is decided is decided below."""
