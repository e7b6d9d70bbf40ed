"""Runs one flow run: `script` says what happens, as pure generators; `drive` moves them, for sync and async code; `shell` does what they ask."""
