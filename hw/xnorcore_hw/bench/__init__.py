"""The command ``bench``: what the documentation claims, measured again."""
