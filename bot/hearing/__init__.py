"""What people say: from a chat's update to a command's effect, once, in the order of its chat."""
