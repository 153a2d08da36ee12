"""What the processes of one machine share: the cache, locks, signals, files whole or absent, and its name."""
