"""Two revisions of a repository, compiled and compared: what `skyc diff` does. Asks nobody but git, and changes nothing."""
