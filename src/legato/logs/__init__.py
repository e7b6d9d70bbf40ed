"""What people read while a run runs. `console` writes lines to standard error; the sdk sends the same lines to the store."""
