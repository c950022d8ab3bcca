"""Columns to rows: each module keeps the state of one kind of thing and turns it into one table."""
