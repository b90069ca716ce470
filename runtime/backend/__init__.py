"""State that several machines share: pulled before a command works on a deployment, pushed after, under a lease. `sync.py` begins."""
