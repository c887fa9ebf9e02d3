"""The way in on the controller's own machine: the socket, its two sides, and the commands that need neither."""
