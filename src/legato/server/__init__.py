"""The server: the store's verbs over HTTP, waits and streams on top of them, and the web UI. Routes translate; they decide nothing."""
