"""The command line on the controller's machine: the control socket, its client, and commands that need neither."""
