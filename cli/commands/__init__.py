"""One module per command, with the members of `cli.main.Command`. Each is imported only when its command runs."""
