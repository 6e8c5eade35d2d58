"""Pieces of HTML pages that need nothing else: text that is never markup, tables, figures, pictures."""
