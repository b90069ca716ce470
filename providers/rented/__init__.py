"""What all clouds that rent out machines share: names and tags, which ports are closed, and what a machine does when it boots."""
