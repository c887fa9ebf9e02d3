"""The demo: the whole main job on embedded defaults, without a token, in under a minute."""
