"""How a flow's submitted tasks are executed: on threads (the default), one after the other, and elsewhere."""
