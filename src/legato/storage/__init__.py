"""Where bundles and large results lie: write once, found again by the hash of what they hold."""
