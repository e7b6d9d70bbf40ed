"""What happens by itself: each service is `tick(store, now) -> Report`, and one loop calls them. Any number of copies may run at once."""
